"""Landing page, conformance, API definition, health, and what every route does with odd requests."""

from __future__ import annotations

import pytest

from broker.api.openapi import MEDIA_TYPE
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem, validate
from tests.api.server import Server

PART1 = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"


def test_landing_page_links_to_everything_that_core_demands(still: Server) -> None:
    document = still.get("/").json()
    validate(document, "landingPage")
    rels = {link["rel"]: link for link in document["links"]}
    assert rels["service-desc"]["type"] == MEDIA_TYPE
    for name in ("conformance", "processes", "job-list"):
        assert still.get(rels[f"http://www.opengis.net/def/rel/ogc/1.0/{name}"]["href"]).status_code == 200


def test_conformance_sums_the_classes(still: Server) -> None:
    document = still.get("/conformance").json()
    validate(document, "confClasses")
    assert PART1 + "core" in document["conformsTo"]
    assert PART1 + "html" in document["conformsTo"]
    assert len(set(document["conformsTo"])) == len(document["conformsTo"])


@pytest.mark.parametrize("accept", ["*/*", None, "application/json", "text/plain", "nonsense"])
def test_json_is_what_there_is(still: Server, accept: str | None) -> None:
    answer = still.get("/processes", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code == 200


def test_f_names_the_representation(still: Server) -> None:
    assert still.get("/?f=json").status_code == 200
    problem = valid_problem(still.get("/?f=xml"), 400)
    assert problem["errors"][0]["pointer"] == "?f"


def test_health_needs_nothing(still: Server) -> None:
    assert still.get("/health/live").json() == {"status": "ok"}
    assert still.get("/health/ready").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "path", ["/nothing", "/processes/", "/jobs/x/nothing", "/%00", "/jobs/%00", "/jobs/..%2f..%2fetc", "/%ff%fe"]
)
def test_unknown_paths(still: Server, path: str) -> None:
    valid_problem(still.get(path), 404)


def test_nul_in_a_query(still: Server) -> None:
    valid_problem(still.get("/jobs?processID=%00"), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/jobs"), ("POST", "/"), ("PATCH", "/processes/x"), ("TRACE", "/")]
)
def test_wrong_methods(still: Server, method: str, path: str) -> None:
    valid_problem(still.request(method, path), 405)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/processes?limit=0", "?limit"),
        ("/processes?limit=-1", "?limit"),
        ("/processes?limit=ten", "?limit"),
        ("/processes?limit=1.5", "?limit"),
        ("/jobs?limit=", "?limit"),
        ("/jobs?status=done", "?status"),
        ("/jobs?type=collection", "?type"),
        ("/jobs?minDuration=-1", "?minDuration"),
        ("/jobs?maxDuration=nan", "?maxDuration"),
        ("/jobs?datetime=yesterday", "?datetime"),
        ("/jobs?datetime=2026-13-01", "?datetime"),
        ("/jobs?datetime=2026-01-01/2026-01-02/2026-01-03", "?datetime"),
        ("/processes/x?revision=0", "?revision"),
        ("/processes/x?revision=99999999999999999999", "?revision"),
        ("/jobs/x/logs?after=-1", "?after"),
    ],
)
def test_parameters_are_checked(still: Server, path: str, pointer: str) -> None:
    problem = valid_problem(still.get(path), 400)
    assert problem["errors"][0]["pointer"] == pointer


def test_a_limit_over_the_maximum_gives_what_there_is(still: Server) -> None:
    assert still.get("/processes?limit=99999999999999999999").status_code == 200


def test_public_url_is_where_clients_called_or_what_is_configured(with_settings: MakeServer) -> None:
    server = with_settings(url="https://broker.example/ogc/")
    hrefs = [link["href"] for link in server.get("/", headers={"Host": "localhost"}).json()["links"]]
    assert all(href.startswith("https://broker.example/ogc/") for href in hrefs)


def test_forwarded_headers_are_not_believed(still: Server) -> None:
    answer = still.get("/", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    assert all(link["href"].startswith(still.url) for link in answer.json()["links"])
