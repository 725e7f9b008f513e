"""A cancelled job stays cancelled, a finished one is never started again (10), and what it cost is known (11)."""

from __future__ import annotations

import json

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused
from broker.jobs.observation import State
from tests.faults.openeo.looking import JOB, JOBS, START, ended, look, read
from tests.peers.broker import wait_for
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, submitted

pytestmark = pytest.mark.xdist_group("openeo")


def test_a_cancelled_job_that_falls_back_to_created_stays_cancelled(
    back_end: OpenEoPeer, platform: OpenEoPlatform
) -> None:
    busy = [submitted(platform, back_end.spec(one("wait", 600))) for _ in range(4)]
    wait_for(lambda: all(look(platform, one).state == State.RUNNING for one in busy), 20, lambda: "never busy")
    spec = back_end.spec(one("say", "never"))
    queued = submitted(platform, spec)
    assert look(platform, queued).state == State.QUEUED
    platform.cancel(queued)
    assert look(platform, queued).state == State.CANCELLED
    assert look(platform, submitted(platform, spec)).state == State.CANCELLED
    for attempt in (*busy, queued):
        platform.release(attempt)
    assert back_end.ids(spec) == []


def test_a_finished_job_is_not_started_again(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    spec = back_end.spec(one("say", "done"))
    ended(platform, submitted(platform, spec))
    attempt = submitted(platform, spec)
    platform.cancel(attempt)
    assert look(platform, attempt).state == State.SUCCEEDED
    assert faults.count("POST", START) == 1
    assert faults.count("DELETE", START) == 0


def test_of_many_that_ended_the_list_says_enough(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    """Why one failed is asked of that one, afterwards: the ends of all are known by one request."""
    attempts = [
        submitted(platform, back_end.spec(one(*what))) for what in (("say", "done"), ("fail", "wrong band")) * 3
    ]
    for attempt in attempts:
        ended(platform, attempt)
    before = {path: faults.count("GET", path) for path in (JOBS, JOB, r"/logs")}
    seen = list(platform.observe(attempts))
    assert [one.state for one in seen] == [State.SUCCEEDED, State.FAILED] * 3
    assert seen[0].finished is not None
    assert {path: faults.count("GET", path) - count for path, count in before.items()} == {JOBS: 1, JOB: 0, r"/logs": 0}
    failed = look(platform, attempts[1])
    assert failed.failure is not None
    assert "wrong band" in failed.failure.message
    assert failed.facts["costs"]["amount"] == 1.5


def test_the_budget_goes_along_and_the_costs_come_back(back_end: OpenEoPeer, faults: Faults) -> None:
    assert "no budget" in back_end.platform().check().message
    platform = back_end.platform(faults.url, budget=12.5, plan="free", job_options={"driver-memory": "2g"})
    assert platform.check().message == "Account of the platform."
    attempt = submitted(platform, back_end.spec(one("say", "costs") | {"default_job_options": {"driver-memory": "4g"}}))
    ended(platform, attempt)
    [made] = [one for one in faults.requests if one.method == "POST" and one.path.endswith("/jobs")]
    assert b'"budget": 12.5' in made.body
    assert b'"plan": "free"' in made.body
    assert b'"driver-memory": "4g"' in made.body
    facts = platform.collect(attempt).facts
    assert facts["costs"] == {"amount": 1.5, "currency": "credits"}
    assert facts["delegated"]["jobId"] == (attempt.handle or {})["id"]
    assert facts["delegated"]["process"]["process_graph"]["say"]["arguments"] == {"value": "costs"}
    assert facts["delegated"]["version"] == "1.2.3-test"


def test_what_tries_the_platform_runs_there(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(json.loads(platform.trial().package)))
    assert ended(platform, attempt).state == State.SUCCEEDED
    [asset] = platform.collect(attempt).outputs["assets"]
    assert read(platform, attempt, asset["location"]) == b"3"


@pytest.mark.parametrize("status", [402, 400])
def test_an_account_without_credits_ends_the_job(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    faults.answer("POST", START, status, "PaymentRequired")
    with pytest.raises(PlatformRefused, match="credits") as told:
        list(platform.submit(back_end.spec(one("say", "poor"))))
    assert told.value.fault_of == "limit"
