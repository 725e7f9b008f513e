"""The API definition: OpenAPI 3.0, complete, and without references that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from broker.api.openapi import ANSWERS, BODIES, HEADERS, MEDIA_TYPE
from tests.api.server import Server


def every(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a document."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from every(one)
    elif isinstance(value, list):
        for one in value:
            yield from every(one)


def test_the_definition(still: Server) -> None:
    answer = still.get("/api")
    assert answer.headers["content-type"] == MEDIA_TYPE
    document = answer.json()
    assert document["openapi"].startswith("3.0.")
    assert document["servers"] == [{"url": still.url}]
    for one in every(document):
        assert one.get("type") != "null", "that is OpenAPI 3.1"
        assert not isinstance(one.get("type"), list), "that is OpenAPI 3.1"
        if isinstance(one.get("$ref"), str):
            _, _, kind, name = one["$ref"].split("/")
            assert name in document["components"][kind]
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(set(names)) == len(names)
    assert {*ANSWERS, *BODIES, *HEADERS} <= set(names), "tables name operations that are not there"
    for one in operations:
        assert {"default", "500"} <= set(one["responses"])
        assert any(status.startswith("2") for status in one["responses"])
    assert still.get("/api?f=json").headers["content-type"] == "application/json"


def test_public_operations_ask_for_no_token(still: Server) -> None:
    paths = still.get("/api").json()["paths"]
    free = {path for path, operations in paths.items() if all("security" not in one for one in operations.values())}
    told = "/notices/{job_id}/{token}"  # by platforms, at an address that is itself the secret
    assert free == {"/", "/conformance", "/api", "/health/live", "/health/ready", "/login", told}
