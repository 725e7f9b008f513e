"""Part 1: json, html and oas30, and what OpenAPI 3.1 adds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from tests.conformance.ogc.iut import MESSAGE, Iut

OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture(scope="module")
def resources(iut: Iut) -> list[str]:
    """A path for every resource of Part 1."""
    job = iut.ended("echo", MESSAGE)["jobID"]
    return ["/", "/conformance", "/processes", "/processes/echo", "/jobs", f"/jobs/{job}", f"/jobs/{job}/results"]


def test_req_json_definition(iut: Iut, resources: list[str]) -> None:
    for path in resources:
        answer = iut.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        answer.json()


def page(iut: Iut, path: str) -> str:
    answer = iut.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def test_req_html_definition(iut: Iut, resources: list[str]) -> None:
    for path in (*resources, "/api"):
        page(iut, path)
        assert iut.get(path, params={"f": "html"}).headers["content-type"].startswith("text/html")


def test_req_html_content(iut: Iut, resources: list[str]) -> None:
    for path in resources:
        text = page(iut, path)
        assert text.lower().startswith("<!doctype html>")
        body = text.partition("<body")[2]
        assert "<a " in body
        document = iut.get(path, headers={"Accept": "application/json"}).json()
        for value in told(document):
            assert value in body, (path, value)


def told(document: dict[str, Any]) -> list[str]:
    """What a page has to say: names and messages of the document and of what it lists."""
    words = [document.get(name) for name in ("title", "id", "jobID", "status", "message", "version")]
    words += [one["id"] for one in document.get("processes", ())] + [one["jobID"] for one in document.get("jobs", ())]
    words += [*document.get("inputs", ()), *document.get("conformsTo", ())]
    return [str(word) for word in words if word and word.isalnum()]


def test_req_oas30_oas_definition_1(iut: Iut) -> None:
    assert iut.get("/api", headers={"Accept": OPENAPI}).headers["content-type"] == OPENAPI
    page(iut, "/api")


@pytest.mark.parametrize("path", ["/api", "/processes/echo/api", "/processes/outputs/api"])
def test_req_oas30_oas_definition_2(iut: Iut, path: str) -> None:
    document = iut.json(path)
    assert document["openapi"].startswith("3.0.")
    assert [str(error)[:500] for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("path", ["/api", "/processes/echo/api", "/processes/outputs/api"])
def test_the_definition_in_3_1(iut: Iut, path: str) -> None:
    answer = iut.get(path, headers={"Accept": OPENAPI.replace("3.0", "3.1")})
    assert answer.headers["content-type"].endswith("version=3.1")
    assert answer.json()["openapi"].startswith("3.1.")
    assert '"nullable"' not in answer.text
    assert [str(error)[:500] for error in OpenAPIV31SpecValidator(answer.json()).iter_errors()] == []


def test_req_oas30_oas_impl(iut: Iut) -> None:
    """Every path and method of the definition is served, and nothing says that it is not possible."""
    for path, operations in iut.json("/api")["paths"].items():
        address = re.sub(r"\{\w+\}", "none", path)
        for method in METHODS:
            if method in operations and "text/event-stream" not in str(operations[method]["responses"]):
                answer = iut.request(method.upper(), address)
                assert answer.status_code != 405, (method, path)
                assert not answer.text.startswith("{") or "nothing at this path" not in answer.text, (method, path)


def test_req_oas30_completeness(iut: Iut) -> None:
    """Every answer that is got here is declared with its status and media type."""
    paths = iut.json("/api")["paths"]
    job = iut.ended("echo", MESSAGE)["jobID"]
    given = {"{process_id}": "echo", "{job_id}": job, "{output}": "message", "{name}": "local", "{path}": "said.txt"}
    wrong: list[str] = []
    for path, operations in paths.items():
        address = re.sub(r"\{\w+\}", lambda found: given.get(found.group(), "none"), path)
        for query in ("", "?f=html", "?f=json"):
            answer = iut.get(address + query, stream=True) if "get" in operations else None
            if answer is not None:
                declared(operations["get"], answer.status_code, answer.headers.get("content-type", ""), address + query)
                paged = "text/html" in operations["get"]["responses"].get("200", {}).get("content", {})
                refused = answer.status_code == 400 and "no representation" in answer.text
                if query == "?f=html" and refused and paged:
                    wrong.append(f"{operations['get']['operationId']} is said to have a page")
                answer.close()
    assert not wrong, "; ".join(wrong)


def declared(operation: dict[str, Any], status: int, kind: str, told: str) -> None:
    assert str(status) in operation["responses"], (told, status)
    if "$ref" in operation["responses"][str(status)]:
        assert kind in ("application/problem+json", "application/json", "text/html; charset=utf-8"), (told, kind)
        return
    content = {one.partition(";")[0] for one in operation["responses"][str(status)].get("content", {})}
    assert not kind or kind.partition(";")[0] in content or "*/*" in content, (told, kind)


def test_req_oas30_exceptions_codes(iut: Iut) -> None:
    paths = iut.json("/api")["paths"]
    deploy, execute = paths["/processes"]["post"], paths["/processes/{process_id}/execution"]["post"]
    assert {"400", "403", "409", "413", "415", "422"} <= set(deploy["responses"])
    assert {"400", "401", "404", "429", "500"} <= set(execute["responses"])
    for method, path, body in (("POST", "/processes", "x"), ("POST", "/processes/echo/execution", "[]")):
        answer = iut.request(method, path, data=body, headers={"Content-Type": "text/plain"})
        assert str(answer.status_code) in deploy["responses"], answer.status_code


def test_req_oas30_security(iut: Iut) -> None:
    document = iut.json("/api")
    schemes = document["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"http"}
    for operation in ("/processes", "/jobs"):
        (named,) = (set(one) for one in document["paths"][operation]["get"]["security"])
        assert named <= set(schemes)
