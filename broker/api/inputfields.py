"""The fields of the form of a process: one for each input of its description, of a kind that a browser can show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.packages.types import CRS84

PLACES = {"File": "file", "Directory": "directory"}
SCALARS = ("string", "number", "integer", "boolean")
MOST_BOXES = 12  # of a choice of many that are shown as boxes to tick
LONG = 120  # characters of a default that wants more than one line
UNIT = "x-ogc-unit"  # OGC API - Features - Part 5: the unit of a number, as UCUM writes it
_WORDS = {
    "text": "text", "long": "text", "number": "number", "integer": "whole number", "boolean": "yes or no",
    "enum": "choice", "date": "date", "date-time": "date and time", "bbox": "bounding box", "json": "JSON",
    "file": "file", "directory": "STAC item, collection or catalog",
}  # fmt: skip
_MANY = {
    "text": "texts", "number": "numbers", "integer": "whole numbers", "enum": "choices", "date": "dates",
    "date-time": "dates and times", "file": "files", "directory": "STAC items, collections or catalogs",
}  # fmt: skip
_FORMATS = {
    "date-time": "such as 2026-01-31T12:00:00Z", "time": "such as 12:00:00Z", "duration": "such as P1DT12H",
    "uri": "an address (URL)", "email": "an e-mail address", "uuid": "a UUID",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """An input as a field. `kind`: text, long, password, date, date-time, number, integer, boolean, enum, bbox, file,
    directory, json; `many`: an array of these. `start`: the texts that it starts with (the default); `notes`: what
    there is to know besides its description. `number` tells the fields of a page apart."""

    id: str
    number: int
    kind: str
    many: bool
    title: str
    description: str
    must: bool
    start: tuple[str, ...]
    options: tuple[str, ...]
    notes: tuple[str, ...]
    schema: Mapping[str, Any]

    @property
    def words(self) -> str:
        """Its type in words."""
        return _MANY.get(self.kind, "texts") if self.many else _WORDS.get(self.kind, "text")

    @property
    def boxes(self) -> bool:
        """Whether it is shown as boxes to tick."""
        return self.many and self.kind == "enum" and len(self.options) <= MOST_BOXES

    @property
    def crs(self) -> Mapping[str, Any]:
        """Of a bounding box: the schema of its reference system."""
        found = self.schema.get("properties", {}).get("crs", {})
        return found if isinstance(found, Mapping) else {}


def fields(description: Mapping[str, Any]) -> list[Field]:
    """The fields of a description, those that must be filled in first."""
    found = [_field(number, name, one) for number, (name, one) in enumerate(description.get("inputs", {}).items())]
    return sorted(found, key=lambda field: not field.must)


def _field(number: int, name: str, described: Mapping[str, Any]) -> Field:
    schema: Mapping[str, Any] = described.get("schema") or {}
    kind, many = _kind(schema, described.get("x-cwl", {}).get("type"))
    inner = schema.get("items", {}) if many else schema
    default = schema.get("default")
    return Field(
        id=name,
        number=number,
        kind=kind,
        many=many,
        title=str(described.get("title") or name),
        description=str(described.get("description") or ""),
        must=described.get("minOccurs", 1) != 0 and "default" not in schema,
        start=() if default is None else texts(default, kind, many),
        options=tuple(str(one) for one in inner.get("enum", ())) if kind == "enum" else (),
        notes=tuple(_notes(schema, inner, kind, described)),
        schema=schema,
    )


def _kind(schema: Mapping[str, Any], cwl: Any) -> tuple[str, bool]:
    """(kind, whether an array of it)."""
    if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
        kind, many = _kind(schema["items"], cwl)
        return ("json", False) if many or kind in ("json", "bbox", "long", "boolean") else (kind, True)
    if cwl in PLACES and schema.get("type") not in SCALARS[1:]:
        return PLACES[cwl], False
    if schema.get("format") == "ogc-bbox":
        return "bbox", False
    if any(key in schema for key in ("oneOf", "anyOf", "allOf")) or schema.get("type") not in SCALARS:
        return "json", False
    if isinstance(schema.get("enum"), list) and schema["type"] == "string":
        return "enum", False
    if schema["type"] != "string":
        return str(schema["type"]), False
    known = schema.get("format") in ("date", "date-time", "password")
    return (str(schema["format"]) if known else "long" if _long(schema) else "text"), False


def _long(schema: Mapping[str, Any]) -> bool:
    default = schema.get("default")
    several = isinstance(default, str) and ("\n" in default or len(default) > LONG)
    return several or "contentMediaType" in schema


def texts(value: Any, kind: str, many: bool) -> tuple[str, ...]:
    """What the fields hold that stand for a value: as they are filled in, and as forms send them."""
    if many:
        values = value if isinstance(value, list) else [value]
        lines = tuple(text for one in values for text in texts(one, kind, False))
        plain = all(line.strip() == line != "" and "\n" not in line and line[0] != "[" for line in lines)
        return lines if plain and lines else (json.dumps(value, ensure_ascii=False),)
    if kind == "bbox" and isinstance(value, Mapping) and len(value.get("bbox") or ()) == 4:
        return (*(json.dumps(one) for one in value["bbox"]), str(value.get("crs") or CRS84))
    if kind in PLACES.values() and isinstance(value, Mapping) and isinstance(value.get("href"), str):
        return (value["href"],)
    if isinstance(value, str) and kind != "json":
        return (value,)
    return (json.dumps(value, ensure_ascii=False, indent=2 if kind == "json" else None),)


def _notes(
    schema: Mapping[str, Any], inner: Mapping[str, Any], kind: str, described: Mapping[str, Any]
) -> Sequence[str]:
    found = []
    if isinstance(inner.get(UNIT), str):
        found.append(f"in {inner[UNIT]}")
    for key, words in (("minimum", "at least"), ("maximum", "at most"), ("exclusiveMinimum", "more than"),
                       ("exclusiveMaximum", "less than"), ("multipleOf", "a multiple of")):  # fmt: skip
        if isinstance(inner.get(key), int | float) and not isinstance(inner[key], bool):
            found.append(f"{words} {inner[key]}")
    if isinstance(inner.get("maxLength"), int):
        found.append(f"at most {inner['maxLength']} characters")
    if kind in ("text", "date-time") and (form := _FORMATS.get(str(inner.get("format")))):
        found.append(form)
    for key, words in (("minItems", "at least"), ("maxItems", "at most")):
        if isinstance(schema.get(key), int):
            found.append(f"{words} {schema[key]} of them")
    if media := _media(inner):
        found.append(media)
    patterns = described.get("x-cwl", {}).get("secondaryFiles")
    if patterns:
        found.append(f"with files beside it: {', '.join(map(str, patterns))} (give links then: they are fetched too)")
    return found


def _media(schema: Mapping[str, Any]) -> str | None:
    for one in (schema, *(one for one in schema.get("oneOf", ()) if isinstance(one, Mapping))):
        if isinstance(one.get("contentMediaType"), str):
            return str(one["contentMediaType"])
    return None
