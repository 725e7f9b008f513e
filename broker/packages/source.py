"""Where a package came from, who wrote it and under which licence: kept with the process, for its catalog record.

A source is JSON: `repository`, `commit`, `committed` (RFC 3339), `path` of a package from git; `href` of one that was
read from a link; `license` (an SPDX identifier, or a link) and `authors` ({"name", "identifier"?}) as far as the
package says them, else the files of its repository: CITATION.cff, codemeta.json, LICENSE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from broker.errors import BrokerError
from broker.packages.cwl import parse

SCHEMA_ORG = ("https://schema.org/", "http://schema.org/")
MOST_AUTHORS = 50
LONGEST = 300
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


def completed(source: Mapping[str, Any], process: Mapping[str, Any]) -> dict[str, Any] | None:
    """The source with what the package's own schema.org metadata say, which count more; None for nothing at all."""
    own = {
        "license": next(filter(None, (_text_of(value) for value in _schema_org(process, "license"))), None),
        "authors": _authors(list(_schema_org(process, "author"))),
    }
    return {**source, **{key: value for key, value in own.items() if value}} or None


def described(source: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """A process description with what its `metadata` do not say yet: repository at its commit, licence, authors."""
    told = [one for one in description.get("metadata") or () if isinstance(one, Mapping)]
    roles = {str(one.get("role")).rpartition("/")[2] for one in told}
    found = list(told)
    if "repository" in source and "codeRepository" not in roles:
        title = f"{source['repository']} at {source['commit']}"
        found.append({"title": title, "role": SCHEMA_ORG[0] + "codeRepository", "href": source["repository"]})
    if "license" in source and "license" not in roles:
        found.append({"title": source["license"], "role": SCHEMA_ORG[0] + "license", **_href(source["license"])})
    for one in source.get("authors") or () if "author" not in roles else ():
        found.append({"title": one["name"], "role": SCHEMA_ORG[0] + "author", **_href(one.get("identifier"))})
    return {**description, "metadata": found} if found else dict(description)


def _href(text: str | None) -> dict[str, str]:
    return {"href": text} if text and text.startswith(("https://", "http://")) else {}


def _schema_org(process: Mapping[str, Any], name: str) -> Iterator[Any]:
    for base in SCHEMA_ORG:
        value = process.get(base + name)
        yield from value if isinstance(value, list) else [value]


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
        "license": _text_of(whole.get("license")),
        "authors": _authors(authors if isinstance(authors, list) else [authors]),
    }
    return {key: value for key, value in found.items() if value}


def _license(text: str) -> dict[str, Any]:
    plain = " ".join(text[:20_000].lower().split())
    for words, name in _LICENSES:
        if re.search(words, plain):
            return {"license": name}
    return {}


def _text_of(value: Any) -> str | None:
    """A licence as text: itself, or the identifier or address of a thing; spdx.org's address gives its identifier."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        plain = _plain(value)
        value = plain.get("identifier") or plain.get("url") or plain.get("id") or plain.get("name")
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()[:LONGEST]
    return re.sub(r"^https?://spdx\.org/licenses/([\w.+-]+?)(\.html|\.json)?$", r"\1", text)


def _authors(values: list[Any]) -> list[dict[str, str]]:
    return [found for value in values[:MOST_AUTHORS] if (found := _author(value))]


def _author(value: Any) -> dict[str, str] | None:
    """A person or organisation: {"name"}, and an `identifier` where it has one that is a link (ORCID, ROR)."""
    if isinstance(value, str):
        return {"name": value.strip()[:LONGEST]} if value.strip() else None
    if not isinstance(value, Mapping):
        return None
    plain = _plain(value)
    parts = [plain.get("given-names") or plain.get("givenName"), plain.get("family-names") or plain.get("familyName")]
    name = plain.get("name") or " ".join(one for one in parts if isinstance(one, str))
    if not isinstance(name, str) or not name.strip():
        return None
    found = {"name": name.strip()[:LONGEST]}
    for key in ("orcid", "identifier", "id", "url", "website"):
        one = plain.get(key)
        if isinstance(one, str) and one.startswith(("https://", "http://")):
            return {**found, "identifier": one[:LONGEST]}
    return found


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Keys without their namespace: `s:name`, `https://schema.org/name` and `@id` are `name` and `id`."""
    return {str(key).rpartition("/")[2].rpartition(":")[2].lstrip("@"): one for key, one in value.items()}
