"""A job is made once and started once, whatever becomes of the answers; limits keep it waiting (1 to 3 of the list
in the reference)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformUnavailable
from broker.jobs.observation import State
from tests.faults.openeo.looking import JOB, JOBS, START, ended, look
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, submitted

pytestmark = pytest.mark.xdist_group("openeo")


@pytest.mark.parametrize("happens", ["lost", "refused"])
def test_a_job_whose_making_is_in_doubt_is_made_once(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, happens: str
) -> None:
    spec = back_end.spec(one("say", "once"))
    if happens == "lost":
        faults.lose("POST", JOBS)
    else:
        faults.answer("POST", JOBS, 502)
    with pytest.raises(PlatformUnavailable):
        list(platform.submit(spec))
    assert faults.count("POST", JOBS) == 1  # never again by itself
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED
    [job_id] = back_end.ids(spec)
    assert back_end.starts(job_id) == 1
    assert faults.count("POST", JOBS) == (1 if happens == "lost" else 2)


def test_a_job_is_found_on_later_pages_of_the_list(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    spec = back_end.spec(one("say", "later"))
    first = submitted(platform, spec)

    def paged(page: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [], "links": [{"rel": "next", "href": f"{faults.url}/openeo/1.2/jobs?limit=200"}]}

    faults.change("GET", JOBS, paged)
    assert submitted(platform, spec).handle == first.handle
    assert len(back_end.ids(spec)) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_start_that_did_not_get_through_is_made_later(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    spec = back_end.spec(one("say", "start"))
    faults.answer("POST", START, status)
    with pytest.raises(PlatformUnavailable) as told:
        list(platform.submit(spec))
    assert told.value.retry_after  # a while, in which a start that is late is seen
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED
    assert back_end.starts(back_end.ids(spec)[0]) == 1


def test_a_start_whose_answer_is_lost_is_not_made_again(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    spec = back_end.spec(one("say", "start"))
    faults.lose("POST", START)
    attempt = submitted(platform, spec)  # the job itself says that it was started
    assert ended(platform, attempt).state == State.SUCCEEDED
    assert faults.count("POST", START) == 1


def test_a_state_that_lags_behind_is_waited_for(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "lag")))
    faults.change("GET", JOB, lambda job: job | {"status": "created"})
    assert look(platform, attempt).state == State.QUEUED
    assert ended(platform, attempt).state == State.SUCCEEDED
    faults.change("GET", JOB, lambda job: job | {"status": "created"})
    impatient = back_end.platform(faults.url, visible_seconds=0)
    assert look(impatient, attempt).state == State.LOST


def test_a_new_job_may_be_out_of_sight(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    faults.answer("GET", JOB, 404, "JobNotFound", times=2)
    spec = back_end.spec(one("wait", 600))
    attempt = submitted(platform, spec)
    faults.change("GET", JOBS, lambda page: {"jobs": [], "links": []})
    assert look(platform, attempt).state == State.QUEUED
    assert look(platform, attempt).state in (State.QUEUED, State.RUNNING)
    platform.release(attempt)


@pytest.mark.parametrize(
    ("status", "code", "headers", "wait"),
    [
        (400, "ConcurrentJobLimit", {}, 30.0),
        (429, "", {"Retry-After": "7"}, 7.0),
        (503, "InfrastructureBusy", {}, None),
    ],
)
def test_a_limit_keeps_the_job(
    back_end: OpenEoPeer,
    faults: Faults,
    platform: OpenEoPlatform,
    status: int,
    code: str,
    headers: dict[str, str],
    wait: float | None,
) -> None:
    spec = back_end.spec(one("say", "limit"))
    faults.answer("POST", JOBS, status, code, headers=headers)
    with pytest.raises(PlatformUnavailable) as told:
        list(platform.submit(spec))
    assert told.value.retry_after == wait
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED


def test_many_jobs_are_one_request(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempts = [submitted(platform, back_end.spec(one("wait", 600))) for _ in range(10)]
    before = len(faults.requests)
    assert {seen.state for seen in platform.observe(attempts)} <= {State.QUEUED, State.RUNNING}
    assert len(faults.requests) == before + 1
    faults.change("GET", JOBS, lambda page: {"jobs": page["jobs"][:0], "links": []})
    assert State.LOST not in {seen.state for seen in platform.observe(attempts)}  # a list may lack some
    for attempt in attempts:
        platform.release(attempt)


def test_a_limit_at_the_start_keeps_the_job_that_is_made(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    spec = back_end.spec(one("say", "one too many"))
    faults.answer("POST", START, 400, "ConcurrentJobLimit")
    with pytest.raises(PlatformUnavailable) as told:
        list(platform.submit(spec))
    assert told.value.retry_after == 30.0
    assert told.value.sent  # so that it goes nowhere else
    [job_id] = back_end.ids(spec)
    assert back_end.starts(job_id) == 0
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED
    assert back_end.ids(spec) == [job_id]


def test_what_was_never_tried_is_not_looked_for(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "new"), first=True))
    assert faults.count("GET", JOBS) == faults.count("GET", JOB) == 0
    assert ended(platform, attempt).state == State.SUCCEEDED
