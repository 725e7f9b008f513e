"""The schemas of the Open Science Catalog (data in `schemas/`), and what of a document breaks them.

The library that checks takes 2 MB of memory, which only who publishes has to spare: it is loaded with the first check.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft7Validator, FormatChecker
    from referencing import Registry

_CATALOG = "https://esa-earthcode.github.io/open-science-catalog-validation/schemas/"
_STAC = "https://stac-extensions.github.io/"
EXTENSIONS = {
    name: f"{_STAC}{name}/{version}/schema.json"
    for name, version in {"osc": "v1.0.0", "themes": "v1.0.0", "contacts": "v0.1.1", "cf": "v0.2.0"}.items()
}


def broken(document: Any, schema: str) -> Iterator[str]:
    """What of a document breaks a schema of the catalog (`products/children.json`), or a STAC extension by its address;
    an extension that is not among ours breaks nothing."""
    uri = schema if schema.startswith(_STAC) else _CATALOG + schema
    if uri.startswith(_STAC) and uri not in EXTENSIONS.values():
        return
    for error in _validator(uri).iter_errors(document):
        where = "".join(f"/{part}" for part in error.absolute_path)
        deepest = min(error.context or [error], key=lambda one: -len(one.absolute_path))
        yield f"{where or '/'}: {_short(deepest.message)}"


def _is_moment(value: Any) -> bool:
    """Whether a text is a date and time of RFC 3339; what is no text is not looked at. May raise ValueError."""
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


@cache
def _formats() -> FormatChecker:
    from jsonschema import FormatChecker  # noqa: PLC0415

    formats = FormatChecker(("email",))
    formats.checks("date-time", ValueError)(_is_moment)
    return formats


@cache
def licences() -> frozenset[str]:
    """The licences that a record may name."""
    text = (files(__package__) / "schemas" / "catalog" / "license.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text)["enum"])


@cache
def _validator(uri: str) -> Draft7Validator:
    from jsonschema import Draft7Validator  # noqa: PLC0415

    return Draft7Validator({"$ref": uri}, registry=_registry(), format_checker=_formats())


@cache
def _registry() -> Registry[Any]:
    from referencing import Registry, Resource  # noqa: PLC0415
    from referencing.jsonschema import DRAFT7  # noqa: PLC0415

    root = files(__package__) / "schemas"
    found = []
    for folder, base in (("catalog", _CATALOG), ("stac", _STAC)):
        waiting = [(root / folder, base)]
        while waiting:
            place, uri = waiting.pop()
            for one in place.iterdir():
                if one.is_dir():
                    waiting.append((one, f"{uri}{one.name}/"))
                elif one.name.endswith(".json"):
                    content = json.loads(one.read_text(encoding="utf-8"))
                    found.append((uri + one.name, Resource.from_contents(content, default_specification=DRAFT7)))
    return Registry().with_resources(found)


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} ... {message[-90:]}"
