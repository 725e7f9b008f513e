"""Synchronous requests: made when their result is read, never longer than allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.observation import State
from broker.platform import Attempt
from tests.faults.openeo.looking import NDVI, look, read
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, submitted

pytestmark = pytest.mark.xdist_group("openeo")


@pytest.fixture
def synchronous(back_end: OpenEoPeer, faults: Faults) -> OpenEoPlatform:
    return back_end.platform(faults.url, mode="sync", sync_seconds=5)


def test_a_synchronous_request_is_made_when_its_result_is_read(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, synchronous: OpenEoPlatform, computed: Attempt
) -> None:
    attempt = submitted(synchronous, back_end.spec(NDVI))
    assert look(synchronous, attempt).state == State.SUCCEEDED
    collected = synchronous.collect(attempt)
    assert faults.count("POST", "/result$") == 0
    [asset] = collected.outputs["assets"]
    assert asset["location"] == "stac/result.tif"
    assert read(synchronous, attempt, asset["location"]) == read(platform, computed)  # the same pixels as by batch job
    item = json.loads(read(synchronous, attempt, "stac/result.json"))
    assert item["assets"]["result"]["href"] == "./result.tif"
    synchronous.cancel(attempt)
    synchronous.release(attempt)
    assert faults.count("POST", "/result$") == 1


def test_a_back_end_without_jobs_is_used_synchronously(back_end: OpenEoPeer, faults: Faults) -> None:
    def without(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"endpoints": [one for one in page["endpoints"] if not one["path"].startswith("/jobs")]}

    faults.change("GET", "/openeo/1.2/$", without)
    platform = back_end.platform(faults.url)
    attempt = submitted(platform, back_end.spec(one("say", "at once")))
    assert platform.check().available
    assert read(platform, attempt, "stac/result.tif") == b"at once\n"


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (408, "RequestTimeout", "time-limit"),
        (400, "ProcessGraphComplexity", "invalid-package"),
        (500, "Internal", "tool-failed"),
        (503, "InfrastructureBusy", None),
        (429, "", None),
    ],
)
def test_what_a_synchronous_request_may_be_answered(
    back_end: OpenEoPeer, faults: Faults, synchronous: OpenEoPlatform, status: int, code: str, refused: str | None
) -> None:
    attempt = submitted(synchronous, back_end.spec(one("say", "answer")))
    faults.answer("POST", "/result$", status, code)
    with pytest.raises(PlatformRefused if refused else PlatformUnavailable) as told:
        read(synchronous, attempt, "stac/result.tif")
    assert getattr(told.value, "code", None) == refused
    assert read(synchronous, attempt, "stac/result.tif") == b"answer\n"


def test_a_synchronous_request_ends_in_time(back_end: OpenEoPeer, faults: Faults) -> None:
    impatient = back_end.platform(faults.url, mode="sync", sync_seconds=0.5)
    attempt = submitted(impatient, back_end.spec(one("slow", 3)))
    with pytest.raises(PlatformRefused, match=r"longer than 0\.5 s") as told:
        read(impatient, attempt, "stac/result.tif")
    assert told.value.code == "time-limit"
