"""Where the links of all pages lead: to something that is there, also to its part that they name."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from playwright.sync_api import BrowserContext

from tests.web.site import BROWSER, Site, cookies

pytestmark = pytest.mark.xdist_group("pages")


class Found(HTMLParser):
    """What a page links to and loads, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.twice: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links |= {value for name in ("href", "src") if (value := given.get(name))}
        if (name := given.get("id")) is not None:
            self.twice |= {name} & self.ids
            self.ids.add(name)


@pytest.mark.parametrize("mode", ["signed_in", "opened"])
def test_links_lead_somewhere(mode: str, request: pytest.FixtureRequest) -> None:
    site: Site
    context: BrowserContext
    site, context = request.getfixturevalue(mode)
    headers = cookies(context, site.server)
    read: dict[str, Found] = {}
    wrong, other = set(), set()

    def at(address: str) -> Found | None:
        if address not in read:
            answer = site.server.get(address, headers={**BROWSER, **headers})
            read[address] = page = Found()
            if answer.status_code >= 400:
                return None
            if answer.headers["content-type"].startswith("text/html"):
                page.feed(answer.text)
        return read[address]

    pages, _ = site.pages(headers)
    for path in pages:
        address = site.server.url + path
        page = Found()
        page.feed(site.server.get(address, headers={**BROWSER, **headers}).text)
        assert not page.twice, (path, page.twice)
        for link in page.links:
            target, fragment = urldefrag(urljoin(address, link))
            if not target.startswith(site.server.url + "/") or "/login/" in target:
                other.add(target)
                continue
            there = page if target == address else at(target)
            if there is None or (fragment and unquote(fragment) not in there.ids):
                wrong.add((path, link))
    assert not wrong
    assert len(read) > 40
    assert all(one.startswith(("https://", "data:image/png;")) or "/login/" in one for one in other), other
