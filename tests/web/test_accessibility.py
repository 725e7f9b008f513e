"""Every page by the rules of axe, in the light and in the dark, on a screen and on a phone, signed in and open."""

from __future__ import annotations

from typing import cast

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.peers import axe
from tests.web.site import Site, cookies

pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(300)]
PHONE = {"width": 360, "height": 740}
SCREEN = {"width": 1280, "height": 900}
# what is folded away is read too; the menu would lie above what is below it
UNFOLD = "document.querySelectorAll('details:not(.menu)').forEach(one => { one.open = true })"
WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
  [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll, pre'))
    .map(one => one.outerHTML.slice(0, 120)).slice(0, 3).concat('is wider than the page')"""


@pytest.mark.parametrize("mode", ["signed_in", "opened"])
def test_every_page(mode: str, request: pytest.FixtureRequest) -> None:
    site: Site
    context: BrowserContext
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
    if page.locator("#map").count():
        page.wait_for_selector("#map[data-drawn=all]")
    wrong = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=cast("object", scheme), reduced_motion="reduce")  # type: ignore[arg-type]
        wrong += [f"({scheme}) {one}" for one in axe.violations(page)]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    return wrong + [f"(phone) {one}" for one in page.evaluate(WIDE)]


def test_the_menu_of_the_person(signed_in: tuple[Site, BrowserContext]) -> None:
    """It lies above the page, so that it is looked at by itself."""
    site, context = signed_in
    page = context.new_page()
    page.goto(f"{site.server.url}/quota")
    page.locator("details.menu summary").click()
    assert page.get_by_role("link", name="Quotas of all").is_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=cast("object", scheme))  # type: ignore[arg-type]
        assert axe.violations(page) == []
    page.close()


def test_what_is_wrong_is_seen(signed_in: tuple[Site, BrowserContext]) -> None:
    """The rules are really asked: a page of ours that somebody has spoilt."""
    site, context = signed_in
    page = context.new_page()
    page.goto(f"{site.server.url}/tokens")
    page.evaluate("document.querySelector('label[for=name]').remove()")
    page.evaluate("document.querySelectorAll('h2').forEach(one => { one.style.color = '#ccc' })")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=/static/mark.svg>')")
    rules = {one.partition(":")[0] for one in axe.violations(page)}
    assert {"label", "color-contrast", "image-alt"} <= rules
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<b>' + 'x'.repeat(900))")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate(WIDE)
    page.close()
