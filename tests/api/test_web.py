"""Pages as such: their headers, the style sheet, errors for people, and forms."""

from __future__ import annotations

import re

import pytest

from tests.api.schemas import valid_problem
from tests.api.server import Server

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_an_error_is_a_page_for_a_browser_and_a_document_for_everybody_else(still: Server) -> None:
    for path in ("/nothing", "/jobs/none", "/jobs?limit=no", "/jobs/none?f=html"):
        page = still.get(path, headers=BROWSER)
        assert page.headers["content-type"].startswith("text/html"), path
        assert "What to do" in page.text
        document = still.get(path.replace("?f=html", ""))
        valid_problem(document, page.status_code)
    page = still.request("DELETE", "/processes/echo%3Cb%3E", headers=BROWSER)
    assert page.status_code == 404
    assert "<b>" not in page.text
    assert "echo&lt;b&gt;" in page.text


ACCEPTS = ["application/problem+json", "*/*", "text/html;q=0.5,application/json", "text/plain"]


@pytest.mark.parametrize("accept", ACCEPTS)
def test_who_does_not_ask_for_html_gets_none(still: Server, accept: str) -> None:
    valid_problem(still.get("/jobs/none", headers={"Accept": accept}), 404)


def test_pages_load_nothing_from_elsewhere_and_nothing_inline(still: Server) -> None:
    page = still.get("/nothing", headers=BROWSER)
    policy = page.headers["content-security-policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert " on" not in re.sub(r">[^<]*<", "><", page.text)


def test_the_style_sheet_is_kept_for_good_under_the_name_of_its_content(still: Server) -> None:
    found = re.search(r'href="(/static/style.css\?v=\w+)"', still.get("/nothing", headers=BROWSER).text)
    assert found
    sheet = still.get(found[1])
    assert (sheet.status_code, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in sheet.headers["cache-control"]
    again = still.get(found[1], headers={"If-None-Match": sheet.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert still.get("/static/style.css").headers["cache-control"] == "no-cache"
    assert still.get("/static/style.css?v=old").headers["cache-control"] == "no-cache"
    for path in ("/static/none.css", "/static/..%2Fpages.py", "/static/"):
        assert still.get(path).status_code == 404
