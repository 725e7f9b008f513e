"""Platforms that come, hang and go while the broker runs: without a restart, and none waits for one that is dead."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.broker import BrokerPeer, as_operator, broker_peer, command, wait_for
from tests.peers.runner import ECHO

pytestmark = pytest.mark.xdist_group("delegation")
SOON = 20.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerPeer, BrokerPeer]]:
    """A broker with its own machine only, whose operator asks; and another broker, which it knows nothing of."""
    folder = tmp_path_factory.mktemp("platforms")
    with (
        broker_peer(folder / "far", EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]') as far,
        broker_peer(folder / "near", public=True) as near,
    ):
        as_operator(near)
        yield near, far


def add_far(near: BrokerPeer, far: BrokerPeer) -> None:
    given = ("--set", f"url={far.url}", "--set", "seconds=4", "--set", "terms.core_hour=2", "--secret", "token")
    command(near, "platforms", "add", "far", "--adapter", "ogcapi", *given, typed="s3cret-of-the-platform\n")


def one(near: BrokerPeer, name: str) -> dict[str, Any]:
    return dict(near.get(f"/platforms/{name}").json())


def test_a_platform_is_added_and_tried_without_a_restart(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    assert near.get("/platforms/far").status_code == 404
    add_far(near, far)
    found = one(near, "far")
    assert (found["kind"], found["available"], found["prices"]["core_hour"]) == ("ogcapi", True, 2.0), found
    command(near, "platforms", "check", "far")
    [job] = near.get("/jobs").json()["jobs"]
    assert (job["platform"], job["status"], job["placement"]["rule"]) == ("far", "successful", "named")
    [spent] = near.get("/usage?by=platform,job&platform=far").json()["usage"]
    assert spent["job"] == job["jobID"]
    kept = b"".join(file.read_bytes() for file in Path(near.state).glob("broker.db*"))
    assert b"s3cret-of-the-platform" not in kept
    assert "s3cret-of-the-platform" not in near.get("/platforms").text
    on_its_page(near)


def on_its_page(near: BrokerPeer) -> None:
    """The same check as a browser asks for it, and what its page says then."""
    form, page = {"data": {"do": "check"}, "allow_redirects": False}, {"Accept": "text/html"}
    assert near.post("/platforms/far", **form).headers["location"].endswith("/platforms/far?f=html#checks")
    job = near.get("/jobs?limit=1").json()["jobs"][0]
    assert (job["platform"], near.ended(job["jobID"], 60)["status"]) == ("far", "successful")
    text = near.get("/platforms/far", headers=page).text
    assert text.count("It ran there, and its results are here.") == 2
    assert job["jobID"] in text
    listed = near.get("/processes").json()["processes"]
    assert job["processID"] not in {one["id"] for one in listed}  # what was deployed for it is gone


def test_one_that_hangs_delays_no_other(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    """All processes of the other broker are stopped: it takes connections, and says nothing."""
    near, far = pair
    add_far(near, far)
    process = near.deploy("id: hello\n" + ECHO)
    local = next(found["name"] for found in near.get("/platforms").json()["platforms"] if found["kind"] == "local")
    near.ended(near.execute(process, {"message": "warm"}, platform=local))
    stopped = [*far.pids(), far.process.pid if far.process else 0]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        waiting = [near.execute(process, {"message": "far"}, platform="far") for _ in range(8)]
        near.reaches(waiting[0], "submitting")
        began = time.monotonic()
        for number in range(6):
            job = near.execute(process, {"message": str(number)}, platform=local)
            assert near.ended(job, SOON)["status"] == "successful"
        assert time.monotonic() - began < SOON
        assert {near.status(job)["phase"] for job in waiting} <= {"accepted", "submitting"}
        free = near.execute(process, {"message": "whichever"})
        assert not near.post("/platforms/far/check").json()["available"]
        placed = near.status(near.execute(process, {"message": "whichever"}))
        assert (placed["platform"], placed["placement"]["rule"]) == (local, "health")
        assert near.ended(free, 60)["platform"] == local
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert near.post("/platforms/far/check").json()["available"]
    for job in waiting:
        assert near.ended(job, 120)["status"] == "successful"
    assert {found["status"] for found in far.get("/jobs").json()["jobs"]} == {"successful"}


def test_one_that_is_removed_is_gone(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    add_far(near, far)
    command(near, "platforms", "pause", "far")
    assert one(near, "far")["paused"]
    wait_for(lambda: near.delete("/platforms/far").status_code == 204, 60, lambda: near.delete("/platforms/far").text)
    assert near.get("/platforms/far").status_code == 404
    told = near.post("/processes/echo/execution", json={"inputs": {"message": "x"}, "platform": "far"})
    assert told.status_code == 400, told.text
    assert "there is no platform 'far'" in told.text
