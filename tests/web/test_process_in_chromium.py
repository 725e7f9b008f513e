"""A browser fills in the form of a process, with and without scripts; a whole broker runs what it sends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import expect as see

from broker.store import jobs
from tests.api.server import Server
from tests.peers.broker import broker_peer

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("scripts", [False, True])
def test_a_browser_fills_in_and_executes(chrome: Browser, every: Server, scripts: bool, tmp_path: Path) -> None:
    context = chrome.new_context(java_script_enabled=scripts)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{every.url}/processes?f=html")
    page.get_by_role("link", name="Every kind").click()
    fill(page, tmp_path)
    if scripts:
        page.get_by_text("The same from the command line, and with curl").click()
        see(page.locator("#twin pre").first).to_contain_text("-i count=7")
    page.get_by_role("button", name="Execute").click()
    see(page.get_by_role("heading", level=1)).to_be_visible()
    assert "/jobs/" in page.url
    with every.database.read() as tx:
        (job,) = jobs.page(tx, jobs.Filter(), limit=5)
        inputs = jobs.get(tx, job.id).request["inputs"]
    assert inputs["count"] == 7
    assert inputs["flag"] is True
    assert inputs["kind"] == '"><b>'
    assert inputs["area"]["bbox"] == [1, 2, 3, 4]
    assert inputs["names"] == ["x", "y"]
    assert inputs["bands"] == ["green"]
    assert every.get(inputs["scene"]["href"]).json()["name"] == "scene.tif"
    assert said == []
    context.close()


def fill(page: Page, folder: Path) -> None:
    (folder / "scene.tif").write_bytes(b"II*")
    page.get_by_label("Text needed", exact=True).fill("hello")
    page.get_by_label("Flag needed").select_option("yes")
    page.get_by_role("textbox", name="Count").fill("7")
    page.get_by_label("Kind", exact=True).select_option('"><b>')
    for side, value in (("West", "1"), ("South", "2"), ("East", "3"), ("North", "4")):
        page.get_by_label(side).fill(value)
    page.get_by_role("textbox", name="Names").fill("x\ny")
    page.get_by_label("green").check()
    page.get_by_role("group", name="Scene").get_by_label("or a file from this computer").set_input_files(
        folder / "scene.tif"
    )


@pytest.mark.xdist_group("broker")
def test_echo_by_form_in_a_whole_broker_without_scripts(chrome: Browser, tmp_path: Path) -> None:
    with broker_peer(tmp_path / "state") as peer:
        context = chrome.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{peer.url}/processes/echo?f=html")
        message = json.loads((REPOSITORY / "workflows/echo/inputs.json").read_text()).get("message", "hello")
        page.get_by_label("Message").fill(str(message))
        page.get_by_role("button", name="Execute").click()
        job = re.search(r"/jobs/([\w-]+)", page.url)[1]  # type: ignore[index]
        assert peer.ended(job)["status"] == "successful"
        context.close()
