"""Projects in a real browser with scripts switched off, on a wide screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.api.accounts import ACCESS, Account, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server
from tests.peers.chromium import chromium

PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def site(with_settings: MakeServer) -> Server:
    return with_settings(access=ACCESS)


def opened(chrome: Browser, who: Account, *, scripts: bool = False) -> BrowserContext:
    """A browser in which somebody is logged in."""
    made = chrome.new_context(java_script_enabled=scripts)
    made.set_default_timeout(15_000)
    name, _, value = who.headers["Cookie"].partition("=")
    made.add_cookies([{"name": name, "value": value, "url": who.server.url, "httpOnly": True, "sameSite": "Lax"}])
    return made


def wrong(page: Page) -> list[str]:
    """What the browser's console says from now on: refused styles and scripts are told there."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def test_two_people_meet_in_a_project_without_scripts(chrome: Browser, site: Server) -> None:
    anna, bert = browser(site, "a", "Anna"), browser(site, "b", "Bert")
    with opened(chrome, anna) as hers, opened(chrome, bert) as his:
        page, other = hers.new_page(), his.new_page()
        said = [wrong(page), wrong(other)]
        page.goto(f"{site.url}/projects")
        page.get_by_label("Id", exact=True).fill("water")
        page.get_by_label("Title").fill("Water & ice")
        page.get_by_role("button", name="Make the project").click()
        assert page.url == f"{site.url}/projects/water"
        page.get_by_label("Note").fill("welcome")
        page.get_by_role("button", name="Make an invitation").click()
        link = page.locator("pre.copy").inner_text().strip()
        other.goto(link)
        assert other.get_by_text("welcome").is_visible()
        other.get_by_role("button", name="Accept").click()
        assert other.url == f"{site.url}/projects/water"
        assert other.get_by_role("button", name="Delete the project").count() == 0
        page.goto(f"{site.url}/projects/water")
        page.get_by_label("Part of Bert").select_option("viewer")
        page.get_by_role("row", name="Bert").get_by_role("button", name="Change").click()
        page.get_by_role("button", name="Remove Bert").click()
        other.reload()
        assert other.get_by_role("heading", name="No such project").is_visible()
        page.get_by_label("Write water to delete the project").fill("water")
        page.get_by_role("button", name="Delete the project").click()
        assert page.url == f"{site.url}/projects"
        # a page with status 404 is told too; nothing else may be
        assert [one for lines in said for one in lines if "404" not in one] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_and_the_keyboard_reaches_it(chrome: Browser, site: Server, scheme: str) -> None:
    anna = browser(site, "a", "Anna " + "long" * 20)
    anna.form("/projects", id="water", title="Water " + "quality" * 10)
    with opened(chrome, anna, scripts=True) as context:
        page = context.new_page()
        said = wrong(page)
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for path in ("/projects", "/projects/water"):
            page.goto(site.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
            assert page.evaluate(SMALLEST_CONTRAST) >= 4.5, path
        assert said == []


# WCAG 2.2, 1.4.3: the ratio of luminances of each text and of what is behind it; the smallest of the page
SMALLEST_CONTRAST = """() => {
  const parts = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = one => {
    for (let it = one; it; it = it.parentElement) {
      const found = parts(getComputedStyle(it).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let smallest = 21;
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(behind(one))];
    smallest = Math.min(smallest, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return smallest;
}"""
