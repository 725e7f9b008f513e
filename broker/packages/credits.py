"""What the files at a repository's root say of its authors and licence: CITATION.cff, codemeta.json, LICENSE."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from broker.errors import BrokerError
from broker.packages.cwl import parse
from broker.packages.source import authors_of, text_of

# The first words of licences that people put into LICENSE; texts that share words are told apart by their order here.
_LICENSES = (
    (r"apache license\W+version 2\.0", "Apache-2.0"),
    (r"gnu affero general public license\W+version 3", "AGPL-3.0-only"),
    (r"gnu lesser general public license\W+version 3", "LGPL-3.0-only"),
    (r"gnu general public license\W+version 3", "GPL-3.0-only"),
    (r"gnu general public license\W+version 2", "GPL-2.0-only"),
    (r"mozilla public license version 2\.0", "MPL-2.0"),
    (r"european union public licen[cs]e\W+v?\.? ?1\.2", "EUPL-1.2"),
    (r"mit license|permission is hereby granted, free of charge", "MIT"),
    (r"redistribution and use in source and binary forms.*neither the name", "BSD-3-Clause"),
    (r"redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"cc0 1\.0 universal", "CC0-1.0"),
    (r"attribution-sharealike 4\.0 international", "CC-BY-SA-4.0"),
    (r"attribution 4\.0 international", "CC-BY-4.0"),
)


def of_repository(read: Callable[[str], bytes]) -> dict[str, Any]:
    """`license` and `authors` as the files at a repository's root tell them. `read` raises OSError for what is not
    there."""
    found: dict[str, Any] = {}
    for name, tell in (("CITATION.cff", _citation), ("codemeta.json", _codemeta), ("LICENSE", _license),
                       ("LICENSE.txt", _license), ("LICENSE.md", _license), ("COPYING", _license)):  # fmt: skip
        with suppress(BrokerError, OSError, ValueError, RecursionError):
            for key, value in tell(read(name).decode("utf-8-sig")).items():
                found.setdefault(key, value)
    return found


def _citation(text: str) -> dict[str, Any]:
    """CITATION.cff, version 1.2."""
    whole = parse(text, "CITATION.cff")
    return _told(whole, whole.get("authors") if isinstance(whole, Mapping) else None)


def _codemeta(text: str) -> dict[str, Any]:
    whole = json.loads(text)
    return _told(whole, whole.get("author") if isinstance(whole, Mapping) else None)


def _told(whole: Any, authors: Any) -> dict[str, Any]:
    if not isinstance(whole, Mapping):
        return {}
    found = {
        "license": text_of(whole.get("license")),
        "authors": authors_of(authors if isinstance(authors, list) else [authors]),
    }
    return {key: value for key, value in found.items() if value}


def _license(text: str) -> dict[str, Any]:
    plain = " ".join(text[:20_000].lower().split())
    for words, name in _LICENSES:
        if re.search(words, plain):
            return {"license": name}
    return {}
