"""The landing page, the standards, the reference of the API and the platforms as pages."""

from __future__ import annotations

import re

import pytest

from tests.api.accounts import ACCESS, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server
from tests.web.site import BROWSER

PAGES = ("/", "/conformance", "/api", "/processes", "/processes/say", "/platforms", "/platforms/scripted")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_json_are_one_resource(still: Server, path: str) -> None:
    page = still.get(path, headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"]
    assert still.get(f"{path}?f=html").headers["content-type"] == "text/html; charset=utf-8"
    assert "json" in still.get(path).headers["content-type"]
    alternate = re.search(r'<link rel="alternate" type="application/json" href="([^"]+)"', page.text)
    assert alternate is not None
    assert still.get(alternate[1]).json()
    assert f'<a href="{alternate[1]}"' in page.text
    assert "<h1>" in page.text


def test_every_link_of_these_pages_leads_somewhere(still: Server) -> None:
    dead = {}
    for path in PAGES:
        page = still.get(path, headers=BROWSER).text
        for href in set(re.findall(r'(?:href|src)="(/[^"]*)"', page)):
            answer = still.get(href.replace("&amp;", "&").partition("#")[0], headers=BROWSER)
            if answer.status_code != 200:
                dead[href] = answer.status_code
        inside = set(re.findall(r'href="#([^"]+)"', page))
        assert inside <= set(re.findall(r'id="([^"]+)"', page)), path
    assert dead == {}


def test_the_reference_has_every_operation(still: Server) -> None:
    page = still.get("/api?f=html").text
    document = still.get("/api?f=json").json()
    for path, operations in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for one in operations.values():
            assert f'id="{one["operationId"]}"' in page
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page


def test_the_standards_are_those_declared(still: Server) -> None:
    page = still.get("/conformance?f=html").text
    rows = re.findall(r"<td>([^<]*)</td><td><code>([^<]+)</code>", page)
    assert {uri for _, uri in rows} == set(still.get("/conformance").json()["conformsTo"])
    assert all(words for words, _ in rows), "each is said in words"


def test_the_landing_page_of_somebody_and_of_nobody(with_settings: MakeServer) -> None:
    server = with_settings(access=ACCESS)
    anna = browser(server, "a", "Anna")
    for path in ("/", "/conformance", "/api"):
        nobody = server.get(path, headers=BROWSER).text
        assert 'href="/login"' in nobody
        assert "Anna" not in nobody
        mine = anna.page(path)
        assert "Anna" in mine
        assert 'href="/login"' not in mine
    assert "Some processes" not in server.get("/", headers=BROWSER).text
