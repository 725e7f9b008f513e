"""Part 1, core: landing page, API definition, conformance declaration, HTTP."""

from __future__ import annotations

import http.client

from tests.conformance.ogc.iut import REL, Iut


def test_req_core_landingpage_op(iut: Iut) -> None:
    assert iut.get("/").status_code == 200


def test_req_core_landingpage_success(iut: Iut) -> None:
    document = iut.json("/", "landingPage")
    links = iut.links(document)
    assert links.get("service-desc") or links.get("service-doc")
    for rel in (REL + "conformance", REL + "processes"):
        assert iut.get(links[rel][0]).status_code == 200


def test_req_core_api_definition_op(iut: Iut) -> None:
    links = iut.links(iut.json("/"))
    found = links.get("service-desc", []) + links.get("service-doc", [])
    assert found
    for href in found:
        assert iut.get(href).status_code == 200


def test_req_core_api_definition_success(iut: Iut) -> None:
    (href,) = iut.links(iut.json("/"))["service-desc"]
    document = iut.json(href)
    assert document["openapi"].startswith("3.")
    assert {"/", "/conformance", "/processes", "/jobs/{job_id}"} <= set(document["paths"])


def test_req_core_conformance_op(iut: Iut) -> None:
    assert iut.get("/conformance").status_code == 200


def test_req_core_conformance_success(iut: Iut) -> None:
    document = iut.json("/conformance", "confClasses")
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in document["conformsTo"]


def test_req_core_http(iut: Iut) -> None:
    connection = http.client.HTTPConnection(iut.url.removeprefix("http://"), timeout=10)
    for path in ("/", "/conformance"):  # twice on one connection, as 1.1 has it
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.version, answer.status) == (11, 200)
        answer.read()
    connection.close()
