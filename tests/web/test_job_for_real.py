"""A whole broker, a real package on a real scene, and what its page shows in a browser; and how the broker stops."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.peers.broker import BrokerPeer, broker_peer

HERE = Path(__file__).parents[2]
SOFTWARE = HERE / ".software" / "eo"
PACKAGE = HERE / "workflows" / "water-bodies"
BROKEN = """cwlVersion: v1.2
class: CommandLineTool
id: broken
baseCommand: [sh, -c]
arguments: ['echo "ERROR: band <8> is missing" >&2; exit 3']
inputs: {}
outputs: {}
"""
NAP = """cwlVersion: v1.2
class: CommandLineTool
id: nap
baseCommand: [sleep, "600"]
inputs: {}
outputs: {}
"""

pytestmark = [pytest.mark.xdist_group("broker"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path_factory.mktemp("real") / "state", PLATFORMS__LOCAL__SOFTWARE=str(SOFTWARE)) as running:
        yield running


@pytest.mark.skipif(not SOFTWARE.exists(), reason="numpy and rasterio: make .software/eo")
def test_the_water_bodies_are_on_the_map(chrome: Browser, peer: BrokerPeer, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-m", "broker.cli", "run"]
    command += [PACKAGE / "package.cwl", PACKAGE / "inputs.yml"]
    ran = subprocess.run(
        [*command, "--server", peer.url, "--outdir", tmp_path], capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    (job,) = (one["jobID"] for one in peer.get("/jobs?processID=water-bodies").json()["jobs"])
    page = chrome.new_context().new_page()
    page.set_default_timeout(30_000)
    said: list[str] = []
    page.on("console", lambda told: said.append(told.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{peer.url}/jobs?f=html")
    page.get_by_role("link", name="water-bodies", exact=False).first.click()
    page.wait_for_selector("#map[data-drawn=all]")
    assert page.url == f"{peer.url}/jobs/{job}"
    assert page.locator("#layers > li").count() == 5
    for box in page.locator("#layers input").all():
        box.check()
    expect(page.locator(".leaflet-rasters-pane img")).to_have_count(3)
    expect(page.locator("#layers")).not_to_contain_text("cannot be drawn")
    picture = page.locator(".pictures img")
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 100
    expect(picture).to_have_attribute("alt", re.compile("^False colour; what is above the threshold outlined"))
    expect(page.get_by_role("row", name="polygons")).to_contain_text("142 kB")
    expect(page.locator("#steps tbody tr")).to_have_count(8)
    assert said == []
    page.context.close()


@pytest.mark.skipif(not SOFTWARE.exists(), reason="numpy and rasterio: make .software/eo")
def test_water_bodies_from_folders_without_scripts(chrome: Browser, peer: BrokerPeer) -> None:
    """The package and its scene are chosen as folders, as they lie on a computer."""
    page = chrome.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{peer.url}/deploy")
    page.get_by_label("or a folder").set_input_files(PACKAGE)
    page.get_by_text("Its id, and which process of several").click()
    page.get_by_label("Id", exact=True).fill("by-folder")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#diagnosis")).to_contain_text("EOAP.CONTAINER.HINT")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("link", name="Go to by-folder").click()
    page.get_by_role("group", name="Scene").get_by_label("or a folder").set_input_files(PACKAGE / "data")
    page.get_by_role("button", name="Execute").click()
    job = page.url.rpartition("/")[2].partition("?")[0]
    assert peer.ended(job, 120)["status"] == "successful"
    page.reload()
    expect(page.get_by_role("row", name="quicklook")).to_be_visible()
    page.context.close()


def test_a_broken_package_is_told_to_be_the_package_s_fault(chrome: Browser, peer: BrokerPeer) -> None:
    peer.deploy(BROKEN)
    job = peer.execute("broken", {})
    page = chrome.new_context().new_page()
    page.goto(f"{peer.url}/jobs/{job}?f=html")
    expect(page.locator("#failure")).to_contain_text("the package's (tool-failed)", timeout=30_000)
    expect(page.locator("#failure")).to_contain_text("ERROR: band <8> is missing")
    expect(page.locator("#failure")).to_contain_text("What to do")
    page.context.close()


def test_a_page_that_is_open_does_not_hold_up_the_stop(chrome: Browser, tmp_path: Path) -> None:
    with broker_peer(tmp_path / "state") as broker:
        broker.deploy(NAP)
        job = broker.execute("nap", {})
        broker.reaches(job, "running")
        page = chrome.new_context().new_page()
        with page.expect_response(lambda answer: "f=sse" in answer.url):
            page.goto(f"{broker.url}/jobs/{job}?f=html")
        started = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - started < 10
        assert "did not stop" not in broker.log.read_text()
        page.context.close()
