"""Every page by the rules of axe, in the light and in the dark, on a screen and on a phone, signed in and open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.api.conftest import Around
from tests.api.server import Server
from tests.peers import axe
from tests.security.identity import Known
from tests.security.people import TestIssuer
from tests.security.test_identity_browser import COOKIE, log_in
from tests.web.site import Site

pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(300)]
PHONE = {"width": 360, "height": 740}
SCREEN = {"width": 1280, "height": 900}
# what is folded away is read too; the menu would lie above what is below it
UNFOLD = "document.querySelectorAll('details:not(.menu)').forEach(one => { one.open = true })"
WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
  [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll, pre'))
    .map(one => one.outerHTML.slice(0, 120)).slice(0, 3).concat('is wider than the page')"""


@pytest.fixture(scope="module")
def signed_in(known: Known, chrome: Browser) -> Iterator[tuple[Site, BrowserContext]]:
    """An operator logs in at the real provider; all there is is theirs."""
    site = Site(known.server, cast(TestIssuer, known.idp))
    site.of(known.id_of("olga"))
    context = chrome.new_context()
    context.set_default_timeout(20_000)
    log_in(context.new_page(), known, "olga")
    yield site, context
    context.close()


@pytest.fixture(scope="module")
def opened(
    around: Around, sqlite_migrated: Path, tmp_path_factory: pytest.TempPathFactory, chrome: Browser
) -> Iterator[tuple[Site, BrowserContext]]:
    """Nobody is asked who they are."""
    state = tmp_path_factory.mktemp("opened")
    file = state / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    with around.server(f"sqlite:///{file}", state) as server:
        site = Site(server, cast(TestIssuer, None))
        site.open()
        context = chrome.new_context()
        context.set_default_timeout(20_000)
        yield site, context
        context.close()


def cookies(context: BrowserContext, server: Server) -> dict[str, str]:
    found = [one for one in context.cookies(server.url) if one["name"] == COOKIE]
    return {"Cookie": f"{COOKIE}={found[0]['value']}"} if found else {}


@pytest.mark.parametrize("mode", ["signed_in", "opened"])
def test_every_page(mode: str, request: pytest.FixtureRequest) -> None:
    site, context = request.getfixturevalue(mode)
    pages, bare = site.pages(cookies(context, site.server))
    assert len(pages) > 30
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    wrong = [f"{path} {one}" for path in pages for one in found_wrong(page, site.server.url + path)]
    page.close()
    assert not wrong, "\n".join(wrong)
    # a page whose status says that something is missing is told too; nothing else may be
    assert [one for one in said if "the server responded with a status of 4" not in one] == []
    assert not bare, "write a page, or say in NO_PAGES why there is none"


def found_wrong(page: Page, address: str) -> list[str]:
    """What is wrong with a page: in the light and in the dark, and on a phone."""
    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]
    page.goto(address)
    page.evaluate(UNFOLD)
    wrong = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=cast("object", scheme), reduced_motion="reduce")  # type: ignore[arg-type]
        wrong += [f"({scheme}) {one}" for one in axe.violations(page)]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    return wrong + [f"(phone) {one}" for one in page.evaluate(WIDE)]
