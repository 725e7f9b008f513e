"""The pages by keyboard alone: all that can be used is reached, in the order of the page, and one sees where one is."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.site import Site, cookies

pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(300)]
# lists all that can be used, in the order of the page; of radio buttons of one name one stands for all
NUMBER = """() => {
  const usable = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  const groups = new Set();
  window.numbered = [];
  for (const one of document.querySelectorAll(usable)) {
    if (one.disabled || !one.checkVisibility({visibilityProperty: true})) continue;
    if (one.type === 'radio') {
      if (groups.has(one.name)) continue;
      groups.add(one.name);
    }
    window.numbered.push(one);
  }
}"""
# (number, whether one sees that it is there, what it is)
WHERE = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const named = window.numbered.find(other => other === one || (one.type === 'radio' && other.name === one.name));
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 1;
  return [window.numbered.indexOf(named), outlined, one.outerHTML.slice(0, 150)];
}"""

# what was not reached; what a live page has put in its place is no matter
LEFT_OUT = """numbers => window.numbered.filter((one, number) => one.isConnected && !numbers.includes(number))
  .map(one => one.outerHTML.slice(0, 150))"""


def reached(page: Page) -> list[tuple[int, bool, str]]:
    """Where the tabulator leads from the beginning of the page until it begins again."""
    found: list[tuple[int, bool, str]] = []
    for _ in range(400):
        page.keyboard.press("Tab")
        here = page.evaluate(WHERE)
        if here is None or (found and here[0] == found[0][0]):
            return found
        found.append((here[0], here[1], here[2]))
    raise AssertionError(f"it does not end: {found[-3:]}")


@pytest.mark.parametrize("mode", ["signed_in", "opened"])
def test_all_is_reached_in_order_and_is_seen(mode: str, request: pytest.FixtureRequest) -> None:
    site: Site
    context: BrowserContext
    site, context = request.getfixturevalue(mode)
    page = context.new_page()
    wrong = []
    for path in site.pages(cookies(context, site.server))[0]:
        page.goto(site.server.url + path, wait_until="load")
        if "#" in page.url:
            continue  # a part of a page that is looked at by itself
        page.evaluate(NUMBER)
        found = reached(page)
        numbers = [number for number, _, _ in found if number >= 0]
        assert "Skip to the content" in found[0][2], path
        wrong += [f"{path} is not reached: {one}" for one in page.evaluate(LEFT_OUT, numbers)]
        if numbers != sorted(numbers):
            wrong.append(f"{path} is not in order: {numbers}")
        wrong += [f"{path} is not seen: {what}" for _, seen, what in found if not seen]
    page.close()
    assert not wrong, "\n".join(wrong)


def test_a_token_is_made_by_keyboard_alone(signed_in: tuple[Site, BrowserContext]) -> None:
    site, context = signed_in
    page = context.new_page()
    page.goto(f"{site.server.url}/quota")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skips what every page begins with
    assert page.evaluate("document.activeElement.id") == "content"
    page.locator("details.menu summary").focus()
    page.keyboard.press("Enter")
    for entry in ("Quota", "Usage", "Tokens"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == entry
    page.keyboard.press("Enter")
    page.wait_for_url("**/tokens")
    page.get_by_label("Name").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="The token by keyboard is made").wait_for()
    assert "read, run" in page.get_by_role("row", name="by keyboard").inner_text()
    page.get_by_role("button", name="Revoke by keyboard").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/tokens?f=html")
    assert page.get_by_role("row", name="by keyboard").count() == 0
    page.close()
