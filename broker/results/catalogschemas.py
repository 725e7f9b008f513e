"""The schemas of the Open Science Catalog (data in `schemas/`), and what of a document breaks them.

The library that checks takes 2 MB of memory, which only who publishes has to spare: it is loaded with the first check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft7Validator, FormatChecker
    from referencing import Registry

_CATALOG = "https://esa-earthcode.github.io/open-science-catalog-validation/schemas/"
_STAC = "https://stac-extensions.github.io/"
_CORE = "https://schemas.stacspec.org/"
_SPECIFIED = {"Catalog": "catalog", "Collection": "collection", "Feature": "item"}  # by the type of a document
EXTENSIONS = {
    name: f"{_STAC}{name}/{version}/schema.json"
    for name, version in {"osc": "v1.0.0", "themes": "v1.0.0", "contacts": "v0.1.1", "cf": "v0.2.0"}.items()
}


def broken(document: Any, schema: str) -> Iterator[str]:
    """What of a document breaks a schema of the catalog (`products/children.json`)."""
    yield from _broken(document, _CATALOG + schema)


def broken_extension(document: Any, uri: str) -> Iterator[str]:
    """The same for a STAC extension, by its address; one that is not among ours breaks nothing."""
    if uri in EXTENSIONS.values():
        yield from _broken(document, uri)


def broken_core(document: dict[str, Any]) -> Iterator[str]:
    """What of a STAC document breaks the specification, of the version that it names (1.0.0, 1.1.0)."""
    kind, version = _SPECIFIED.get(str(document.get("type"))), document.get("stac_version")
    if kind is None:
        yield "/type: is none of Catalog, Collection, Feature"
    elif version in ("1.0.0", "1.1.0"):
        yield from _broken(document, f"{_CORE}v{version}/{kind}-spec/json-schema/{kind}.json")


def _broken(document: Any, uri: str) -> Iterator[str]:
    for error in _validator(uri).iter_errors(document):
        where = "".join(f"/{part}" for part in error.absolute_path)
        deepest = min(error.context or [error], key=lambda one: -len(one.absolute_path))
        yield f"{where or '/'}: {_short(deepest.message)}"


# The formats as Ajv understands them, which is what the catalog's own validator asks: a time needs no zone.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt\s]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.A)
_REFERENCE = re.compile(
    r"(?:[\w\-.~!$&'()*+,;=:@/?\[\]]|%[\da-f]{2})*(?:#(?:[\w\-.~!$&'()*+,;=:@/?]|%[\da-f]{2})*)?", re.A | re.I
)
_BEFORE_COLON = re.compile(r"[^/?#]*:")
_SCHEME = re.compile(r"[a-z][a-z\d+.-]*:", re.I)
_URL = re.compile(
    r"(?:https?|ftp)://(?:\S+@)?[^\s/:?#@.]+(?:\.[^\s/:?#@.]+)*\.[^\W\d_]{2,}(?::\d{2,5})?(?:/\S*)?", re.I
)
_IRI = re.compile(r"[a-z][a-z\d+.-]*://[^/?#]+.*|file:.+", re.I | re.S)


def _is_moment(value: str) -> bool:
    """May raise ValueError."""
    found = _MOMENT.fullmatch(value)
    return found is not None and bool(date.fromisoformat(found[1]))


def _is_uri(value: str) -> bool:
    return bool(_SCHEME.match(value)) and _REFERENCE.fullmatch(value) is not None


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_moment,
    "uri": _is_uri,
    "uri-reference": lambda value: _REFERENCE.fullmatch(value) is not None,
    "url": lambda value: _URL.fullmatch(value) is not None,
    "iri": lambda value: _IRI.fullmatch(value) is not None,
    "iri-reference": lambda value: (
        value != "" and (not _BEFORE_COLON.match(value) or _IRI.fullmatch(value) is not None)
    ),
}


@cache
def _formats() -> FormatChecker:
    from jsonschema import FormatChecker  # noqa: PLC0415

    formats = FormatChecker(("email",))
    for name, fits in _FORMATS.items():
        formats.checks(name, ValueError)(lambda value, fits=fits: not isinstance(value, str) or fits(value))
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
    from jsonschema import Draft7Validator  # noqa: PLC0415
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
                    address = _core_address(uri, one.name) if uri.startswith(f"{_STAC}core/") else uri + one.name
                    found.append((address, Resource.from_contents(content, default_specification=DRAFT7)))
    meta = "http://json-schema.org/draft-07/schema"
    found.append((meta, Resource.from_contents(Draft7Validator.META_SCHEMA, default_specification=DRAFT7)))
    return Registry().with_resources(found)


def _core_address(folder: str, name: str) -> str:
    """Where a schema of the specification, or of GeoJSON, is published; here those of one version lie together."""
    version = folder.removesuffix("/").rpartition("/")[2]
    if version == "geojson":
        return f"https://geojson.org/schema/{name}"
    part = name.removesuffix(".json") if name in ("catalog.json", "collection.json") else "item"
    return f"{_CORE}{version}/{part}-spec/json-schema/{name}"


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} ... {message[-90:]}"
