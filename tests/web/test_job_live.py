"""The page of a job while it runs, in a browser: it renews itself, and without scripts it is the same page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from broker.jobs.lifecycle import Change
from broker.jobs.model import Progress
from broker.queue.wakeups import Wake
from tests.api.server import Server

pytestmark = pytest.mark.xdist_group("pages")


@pytest.fixture
def opened(chrome: Browser, lone: Server) -> Iterator[tuple[Page, list[str]]]:
    lone.ready()
    page = chrome.new_context().new_page()
    page.set_default_timeout(20_000)
    said: list[str] = []
    page.on("console", lambda told: said.append(told.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page, said
    page.context.close()


def test_it_renews_itself_from_the_line_to_the_results(lone: Server, opened: tuple[Page, list[str]]) -> None:
    page, said = opened
    job = lone.execute(title="A long one")
    page.goto(f"{lone.url}/jobs/{job}?f=html")
    state, log = page.locator("#state"), page.locator("#log")
    expect(state).to_contain_text("next in line")
    expect(log).to_contain_text("Nothing has been written yet.")
    lone.start(job, Progress(1, 4))
    expect(state).to_contain_text("running")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "25")
    lone.log(job, "reading <b>bands</b>\n", "\x1b[31mred\x1b[0m\n", stream="crop")
    Wake(lone.site.settings.redis)(job)
    expect(log.locator("section[data-step=crop] pre")).to_have_text("reading <b>bands</b>\nred\n", use_inner_text=False)
    expect(log).not_to_contain_text("Nothing has been written yet.")
    page.get_by_role("button", name="Dismiss the job").focus()
    page.locator("#actions summary").click()
    lone.save(job, Change("observed", progress=Progress(2, 4), message="Halfway."))
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "50")
    expect(page.locator("#actions details")).to_have_attribute("open", "")  # what one has opened stays open
    lake = b'{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[1,2]}}'
    lone.finish(job, {"places": {"class": "Directory", "location": "", "basename": "out"}}, {"a.geojson": lake})
    expect(state).to_contain_text("successful")
    page.wait_for_selector("#map[data-drawn=all]")
    expect(page.get_by_role("button", name="Run again with the same inputs")).to_be_visible()
    expect(page.get_by_role("button", name="Dismiss the job")).to_have_count(0)
    assert said == []


def test_the_log_page_goes_on(lone: Server, opened: tuple[Page, list[str]]) -> None:
    page, said = opened
    job = lone.execute()
    lone.start(job)
    lone.log(job, "one\n", stream="crop")
    page.goto(f"{lone.url}/jobs/{job}/logs?f=html&step=crop")
    lone.log(job, "two\n", stream="other")
    lone.log(job, "three\n", stream="crop")
    Wake(lone.site.settings.redis)(job)
    expect(page.locator("#log pre")).to_have_text("one\nthree\n")
    assert said == []


def test_the_list_renews_itself(lone: Server, opened: tuple[Page, list[str]]) -> None:
    page, said = opened
    job = lone.execute()
    page.goto(f"{lone.url}/jobs?f=html")
    expect(page.locator("tbody")).to_contain_text("accepted")
    lone.succeed(job, {})
    expect(page.locator("tbody")).to_contain_text("successful", timeout=20_000)
    assert said == []


def test_without_scripts_and_by_keyboard(chrome: Browser, lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.start(job, Progress(1, 2))
    context = chrome.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{lone.url}/jobs/{job}?f=html")
    expect(page.get_by_text("does not renew itself without JavaScript")).to_be_visible()
    page.get_by_role("button", name="Dismiss the job").press("Enter")
    expect(page.get_by_text("Being dismissed.")).to_be_visible()
    other = lone.execute(title="Done")
    lone.succeed(other, {"number": 7})
    page.goto(f"{lone.url}/jobs?f=html")
    page.get_by_role("link", name="Done").press("Enter")
    expect(page.locator("#results")).to_contain_text("number")
    page.get_by_role("button", name="Run again with the same inputs").press("Enter")
    expect(page.locator("#state")).to_contain_text("accepted")
    assert page.url not in (f"{lone.url}/jobs/{job}?f=html", f"{lone.url}/jobs/{other}?f=html")
    context.close()
