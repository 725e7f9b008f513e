"""Validation against the published schemas of OGC API - Processes 1.0, offline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

FOLDER = Path(__file__).parent.parent / "data" / "ogcapi" / "part1-v1.0"
BASE = "https://schemas.test/"
# An integer is also a number, a string also a base64 string, a link also an object: in these published schemas
# `oneOf` cannot hold for what the standard wants to allow (opengeospatial/ogcapi-processes#350).
NOT_EXCLUSIVE = frozenset({"inputValueNoObject.yaml", "inputValue.yaml", "inlineOrRefData.yaml", "results.yaml"})


@cache
def _registry() -> Registry[Any]:
    resources = []
    for file in FOLDER.glob("*.yaml"):
        schema = yaml.safe_load(file.read_text())
        if file.name in NOT_EXCLUSIVE:
            schema = _any_of(schema)
        resources.append((BASE + file.name, DRAFT7.create_resource(_nullable(schema))))
    return Registry().with_resources(resources)


def _any_of(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
    return [_any_of(one) for one in schema] if isinstance(schema, list) else schema


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON schema's words."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # (a property may be called so too)
    found = {key: _nullable(value) for key, value in schema.items() if not (key == "nullable" and value is True)}
    if schema.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def validate(document: Any, name: str) -> None:
    """Raise AssertionError with every deviation from `<name>.yaml`."""
    validator = Draft7Validator({"$ref": f"{BASE}{name}.yaml"}, registry=_registry())
    problems = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator.iter_errors(document)]
    assert not problems, problems


def valid_problem(answer: Any, status: int, kind: str | None = None) -> dict[str, Any]:
    """Check an answer that is to be a problem document; the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    validate(document, "exception")
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["fault"]
    assert document["reason"]
    assert "Traceback" not in answer.text
    if kind is not None:
        assert document["type"] == kind
    return document
