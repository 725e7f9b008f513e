"""Schemas in the words of OpenAPI 3.0 and of OpenAPI 3.1 (JSON Schema 2020-12)."""

from __future__ import annotations

from typing import Any

_LIMITS = {"ge": "minimum", "le": "maximum"}  # what pydantic leaves where it cannot say it better
_OF_BYTES = {"base64": "byte", "binary": "binary"}


def as_3_0(value: Any) -> Any:
    """FastAPI writes JSON Schema 2020-12: an optional parameter is `anyOf [..., null]` there. Here it is not required,
    and that says all. What 3.0 does not know of OGC's schemas is kept as `x-`."""
    if isinstance(value, list):
        return [as_3_0(one) for one in value]
    if not isinstance(value, dict):
        return value
    kinds = value.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        rest = [one for one in kinds if one != {"type": "null"}]
        if len(rest) == 1:
            return as_3_0({**rest[0], **{key: one for key, one in value.items() if key not in ("anyOf", "title")}})
    return {_LIMITS.get(key, key): as_3_0(one) for key, one in value.items()}


def plain(schema: Any) -> Any:
    """A schema of a process description (schema.yaml) as OpenAPI 3.0 takes it: encodings are formats there."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    full = {key: _properties(one) if key == "properties" else plain(one) for key, one in schema.items()}
    encoding = full.pop("contentEncoding", None)
    for name in ("contentMediaType", "contentSchema", "$id", "const", "examples"):
        if name in full:
            full[f"x-{name.removeprefix('$')}"] = full.pop(name)
    if encoding is not None:
        full.setdefault("format", _OF_BYTES.get(encoding, encoding))
    if full.get("type") == "array":
        full.setdefault("items", {})
    return full


def _properties(members: Any) -> Any:
    return {name: plain(one) for name, one in members.items()} if isinstance(members, dict) else plain(members)


def as_3_1(document: dict[str, Any]) -> dict[str, Any]:
    """A 3.0 document as 3.1: `nullable` becomes a type."""
    return {**_nullable(document), "openapi": "3.1.0"}


def _nullable(value: Any) -> Any:
    if isinstance(value, list):
        return [_nullable(one) for one in value]
    if not isinstance(value, dict):
        return value
    full = {key: _nullable(one) for key, one in value.items() if not (key == "nullable" and one is True)}
    if value.get("nullable") is True:
        if isinstance(full.get("type"), str):
            full["type"] = [full["type"], "null"]
        if isinstance(full.get("enum"), list) and None not in full["enum"]:
            full["enum"] = [*full["enum"], None]
        for choice in ("oneOf", "anyOf"):
            if choice in full and "type" not in full:
                full[choice] = [*full[choice], {"type": "null"}]
    return full
