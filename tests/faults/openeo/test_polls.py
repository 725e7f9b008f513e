"""What polls meet is not a verdict on the job (5 to 8 of the list in the reference)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformUnavailable
from broker.jobs.model import Limits, Reason
from broker.jobs.observation import Observation, State
from tests.faults.openeo.looking import JOB, RESULTS, ended, job_of, look
from tests.peers.broker import wait_for
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, submitted

pytestmark = pytest.mark.xdist_group("openeo")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_poll_that_fails_is_not_a_job_that_failed(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "poll")))
    faults.answer("GET", JOB, status)
    with pytest.raises(PlatformUnavailable):
        look(platform, attempt)
    assert ended(platform, attempt).state == State.SUCCEEDED


@pytest.mark.parametrize("answer", [[], None, "text", 1])
def test_an_answer_that_is_no_object_harms_nothing(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, answer: Any
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "odd")))
    faults.change("GET", JOB, lambda job: answer)
    with pytest.raises(PlatformUnavailable, match="without a JSON object"):
        look(platform, attempt)
    assert ended(platform, attempt).state == State.SUCCEEDED


def test_a_job_that_runs_for_ever_is_cancelled(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    spec = back_end.spec(one("wait", 600), limits=Limits(time=0.0))
    attempt = submitted(platform, spec)
    seen: list[Observation] = []

    def over() -> bool:
        seen.append(look(platform, attempt))
        return seen[-1].state == State.FAILED

    wait_for(over, 20, lambda: str(seen[-1]))
    assert seen[-1].failure is not None
    assert seen[-1].failure.reason == Reason.TIME_LIMIT
    assert look(platform, attempt).state == State.CANCELLED


def test_an_error_without_a_log_gets_a_reason(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("fail", "out of sight")))
    faults.change("GET", "/logs$", lambda page: {"logs": [], "links": []}, times=100)
    seen = ended(platform, attempt)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert "out of memory" in seen.failure.message


def test_results_that_are_said_not_to_be_ready(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "ready")))
    ended(platform, attempt)
    faults.answer("GET", RESULTS, 400, "JobNotFinished")
    with pytest.raises(PlatformUnavailable):
        platform.collect(attempt)
    assert platform.collect(attempt).files


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_results_that_cannot_be_had_now_are_had_later(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "later")))
    ended(platform, attempt)
    faults.answer("GET", RESULTS, status)
    with pytest.raises(PlatformUnavailable):
        platform.collect(attempt)
    assert platform.collect(attempt).files


def test_a_log_that_cannot_be_had_holds_up_a_failed_job_for_a_while_only(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    attempt = submitted(platform, back_end.spec(one("fail", "for a reason")))
    wait_for(lambda: platform.api.get(f"/jobs/{job_of(attempt)}")["status"] == "error", 20, lambda: "it did not fail")
    faults.answer("GET", "/logs$", 500, times=2)
    with pytest.raises(PlatformUnavailable):
        look(platform, attempt)
    long_ago = {"updated": "2026-01-01T00:00:00Z", "created": "2026-01-01T00:00:00Z"}
    faults.change("GET", JOB, lambda job: job | long_ago)
    seen = look(platform, attempt)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert "logged no reason" in seen.failure.message
    told = look(platform, attempt).failure
    assert told is not None
    assert "for a reason" in told.message
