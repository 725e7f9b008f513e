"""Status documents of other servers: each spelling means one state, and no word of theirs breaks ours."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.ogcapi import status
from broker.jobs.model import Failure, Fault, Progress, Reason
from broker.jobs.observation import LONGEST_LOOK, State

NOW = 1_800_000_000.0


def seen(**document: Any) -> Any:
    return status.observation("eb-j-1", document, NOW)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("accepted", State.QUEUED), ("created", State.QUEUED), ("queued", State.QUEUED),
        ("running", State.RUNNING), ("ProcessStarted".lower(), State.RUNNING), ("no-word-of-ours", State.RUNNING),
        ("successful", State.SUCCEEDED), ("Succeeded", State.SUCCEEDED), ("finished", State.SUCCEEDED),
        ("failed", State.FAILED), ("exception", State.FAILED), ("error", State.FAILED),
        ("dismissed", State.CANCELLED), ("canceled", State.CANCELLED),
    ],
)  # fmt: skip
def test_words_of_states(word: str, state: State) -> None:
    assert seen(status=word).state is state


@pytest.mark.parametrize(
    ("document", "job"),
    [({"jobID": "a"}, "a"), ({"id": 7}, "7"), ({"identifier": "c"}, "c"), ({}, None), (None, None), ([], None)],
)
def test_names_of_a_job(document: Any, job: str | None) -> None:
    assert status.job_id(document) == job
    assert status.is_status(document) is False
    assert job is None or status.is_status({**document, "status": "accepted"})


def test_times() -> None:
    found = seen(status="successful", started="2026-01-01T00:00:00", finished="2026-01-01T00:00:01.5Z")
    assert (found.started, found.finished) == (1767225600.0, 1767225601.5)
    assert seen(status="running", created="2026-01-01T01:00:00+01:00").started == 1767225600.0
    assert seen(status="running", created="yesterday", started=5).started is None


@pytest.mark.parametrize(
    ("percent", "progress"),
    [(40, Progress(40, 100)), (99.6, Progress(99, 100)), (100, Progress(99, 100)), (None, None), ("5", None),
     (True, None), (-1, None), (1e9, None)],
)  # fmt: skip
def test_progress_is_not_done_before_it_is(percent: Any, progress: Progress | None) -> None:
    assert seen(status="running", progress=percent).progress == progress


def test_looks_become_rarer_with_age() -> None:
    def after(seconds: float) -> float | None:
        found: float | None = status.observation(
            "n", {"status": "running", "created": "2027-01-15T08:00:00Z"}, 1_800_000_000.0 + seconds
        ).next_look
        return found

    assert [after(seconds) for seconds in (-5, 0, 50, 10_000)] == [1.0, 1.0, 5.0, LONGEST_LOOK]
    assert seen(status="failed").next_look is None


def test_results_that_were_deleted_are_lost() -> None:
    assert seen(status="successful", resultsDeleted="2026-01-01T00:00:00Z").state is State.LOST


def test_a_failure_of_a_broker_is_taken_over() -> None:
    theirs = Failure(Fault.BROKER, Reason.OUT_OF_MEMORY, "too much", "step", 137, "Killed token=abc")
    found = seen(status="failed", failure=theirs.to_json()).failure
    assert (found.fault, found.reason, found.exit_code) == (Fault.PLATFORM, Reason.OUT_OF_MEMORY, 137)
    assert found.message == "too much"


@pytest.mark.parametrize(
    "document",
    [
        {"failure": {"fault": "aliens", "reason": "x", "message": "y"}, "message": "wrong band"},
        {"failure": "wrong", "message": "wrong band"},
        {"exception": {"title": "wrong", "detail": "wrong band"}},
        {"message": "see https://u:secret@h/x?sig=abc for the wrong band"},
    ],
)
def test_whatever_else_it_says_is_the_reason(document: Any) -> None:
    found = seen(status="failed", **document).failure
    assert (found.fault, found.reason) == (Fault.PACKAGE, Reason.TOOL_FAILED)
    assert "wrong band" in found.message
    assert "secret" not in found.message
    assert "abc" not in found.message


def test_a_failure_without_a_word() -> None:
    assert seen(status="failed").failure.message.endswith("does not say why.")
