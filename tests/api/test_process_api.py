"""The document of one process: its own inputs and outputs, and what it says is what the execution takes."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.api.schemas import valid_problem
from tests.api.server import Server


@pytest.fixture
def request_schema(still: Server) -> dict[str, Any]:
    document = still.get("/processes/say/api?f=openapi31").json()
    return {"$ref": "#/components/schemas/request", "components": document["components"]}


def test_the_document(still: Server) -> None:
    document = still.get("/processes/say/api").json()
    assert list(document["paths"]) == ["/processes/say/execution"]
    schemas = document["components"]["schemas"]
    assert set(schemas["request"]["properties"]["inputs"]["properties"]) == {"text", "count", "scene"}
    assert schemas["request"]["properties"]["inputs"]["required"] == ["text"]
    assert set(schemas["results"]["properties"]) == {"said", "number", "places"}
    links = [link for link in still.get("/processes/say").json()["links"] if link["rel"] == "service-desc"]
    assert still.get(links[0]["href"]).json() == document


@pytest.mark.parametrize(
    ("inputs", "fits"),
    [
        ({"text": "hi"}, True),
        ({"text": "hi", "count": 2}, True),
        ({"text": {"value": "hi"}}, True),
        ({"text": "hi", "scene": {"href": "https://example.org/a.tif", "type": "image/tiff"}}, True),
        ({}, False),
        ({"text": 1}, False),
        ({"text": "hi", "count": "many"}, False),
        ({"text": "hi", "other": 1}, False),
    ],
)
def test_what_it_says_is_what_is_taken(
    still: Server, request_schema: dict[str, Any], inputs: dict[str, Any], fits: bool
) -> None:
    body = {"inputs": inputs}
    assert Draft202012Validator(request_schema).is_valid(body) is fits
    if "scene" not in inputs:
        answer = still.post("/processes/say/check", json=body)
        assert (answer.status_code == 200) is fits, answer.text


def test_an_unknown_process_has_none(still: Server) -> None:
    valid_problem(still.get("/processes/nothing/api"), 404)
