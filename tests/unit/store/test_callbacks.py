"""Callbacks as rows: written with the change they tell of, one after the other, claimed and finished once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import select, update

from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase, Progress
from broker.store import callbacks, claims, ended, jobs
from broker.store.callbacks import (
    DELIVERED,
    GIVEN_UP,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    QUEUED,
    SUCCESS,
    SUPERSEDED,
    Callback,
)
from broker.store.database import Database
from broker.store.tables import callbacks as table
from broker.store.tables import jobs as jobs_table
from tests.unit.store.plans import plan
from tests.unit.store.rows import job_row

ALL = {
    "base": "https://broker.example",
    "success": "https://a.example/s",
    "inProgress": "https://a.example/p",
    "failed": "https://b.example/f",
}
RUNNING = Change("running", Phase.RUNNING, message="Running.", started=1.0)


def job_of(database: Database, owner: str = "local", subscriber: Mapping[str, str] | None = ALL) -> Job:
    return job_row(database, owner, subscriber=subscriber)


def save(database: Database, job: Job, *changes: Change) -> None:
    with database.write() as tx:
        (held,) = claims.claim(tx, [job.id], list(Phase), "test")
        for change in changes:
            held = claims.save(tx, held, change, hold=change is not changes[-1])


def start(database: Database, job: Job) -> None:
    save(database, job, Change("submitting", Phase.SUBMITTING), Change("submitted", Phase.SUBMITTED), RUNNING)


def end(database: Database, job: Job) -> None:
    save(database, job, Change("finished", Phase.COLLECTING), Change("successful", Phase.SUCCESSFUL, message=""))


def progress(done: int) -> Change:
    return Change("observed", message="Running.", progress=Progress(done, 9))


def told(database: Database, job: Job) -> list[tuple[str, str]]:
    with database.read() as tx:
        return [(one.kind, one.state) for one in callbacks.of_job(tx, job.id)]


def claim(database: Database, most: int = 9, **limits: int) -> list[Callback]:
    bounds = {"each_origin": 9, "each_owner": 9} | limits
    with database.write() as tx:
        return callbacks.claim(tx, 30.0, most, origins={}, owners={}, **bounds)


def finish(database: Database, one: Callback, state: str = DELIVERED) -> bool:
    with database.write() as tx:
        return callbacks.finish(tx, one, state, status=200, message="")


def later(database: Database) -> None:
    """As if the time of all leases and waits had passed."""
    with database.write() as tx:
        tx.execute(update(table).values(due_at=0.0, lease_until=None))


def test_who_wants_nothing_is_told_nothing(database: Database) -> None:
    silent, partly = job_of(database, subscriber=None), job_of(database, subscriber={"success": ALL["success"]})
    for job in (silent, partly):
        start(database, job)
        end(database, job)
    assert told(database, silent) == []
    assert told(database, partly) == [(SUCCESS, PENDING)]


def test_one_after_the_other(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    end(database, job)
    assert told(database, job) == [(IN_PROGRESS, PENDING), (SUCCESS, QUEUED)]
    (first,) = claim(database)
    assert (first.kind, first.tries, first.seen and first.seen["phase"]) == (IN_PROGRESS, 1, "running")
    assert claim(database) == [], "one is under way, and nothing overtakes it"
    assert finish(database, first)
    (second,) = claim(database)
    assert (second.kind, second.uri, second.seen) == (SUCCESS, ALL["success"], None)
    assert finish(database, second)
    assert told(database, job) == [(IN_PROGRESS, DELIVERED), (SUCCESS, DELIVERED)]
    assert claim(database) == []


def test_a_change_that_is_rolled_back_tells_nothing(database: Database) -> None:
    job = job_of(database)
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        (held,) = claims.claim(tx, [job.id], list(Phase), "test")
        claims.save(tx, held, Change("failed", Phase.FAILED, message="no"))
        raise ZeroDivisionError
    assert told(database, job) == []


def test_a_dead_deliverer_is_followed_by_another_one_and_cannot_finish(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    (dead,) = claim(database)
    later(database)
    (alive,) = claim(database)
    assert (alive.id, alive.tries) == (dead.id, 2)
    assert not finish(database, dead, GIVEN_UP)
    assert finish(database, alive)
    assert told(database, job) == [(IN_PROGRESS, DELIVERED)]


def test_progress_is_told_in_the_newest_state_and_not_too_often(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    for done in (1, 2, 3):
        save(database, job, progress(done))
    (one,) = claim(database)
    assert one.seen is not None
    assert one.seen["progress_done"] == 3
    save(database, job, progress(4))
    save(database, job, progress(4))
    assert told(database, job) == [(IN_PROGRESS, PENDING), (IN_PROGRESS, QUEUED)]
    finish(database, one)
    assert claim(database) == [], "the next report waits for some seconds"
    end(database, job)
    assert told(database, job) == [(IN_PROGRESS, DELIVERED), (IN_PROGRESS, SUPERSEDED), (SUCCESS, PENDING)]


def test_old_progress_holds_up_the_end_for_some_tries_only(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    end(database, job)
    for number in range(1, PATIENCE + 1):
        (one,) = claim(database)
        assert (one.kind, one.tries) == (IN_PROGRESS, number)
        finish(database, one, PENDING)
        later(database)
    assert told(database, job) == [(IN_PROGRESS, SUPERSEDED), (SUCCESS, PENDING)]


def test_progress_that_fails_for_long_gives_way_when_the_job_ends(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    for _ in range(PATIENCE + 1):
        (one,) = claim(database)
        finish(database, one, PENDING)
        later(database)
    save(database, job, progress(1))
    assert told(database, job) == [(IN_PROGRESS, PENDING), (IN_PROGRESS, QUEUED)]
    end(database, job)
    assert told(database, job) == [(IN_PROGRESS, SUPERSEDED), (IN_PROGRESS, SUPERSEDED), (SUCCESS, PENDING)]


def test_no_receiver_and_no_person_has_all_deliverers(database: Database) -> None:
    for owner in ("alice", "alice", "alice", "bob"):
        start(database, job_of(database, owner, {"inProgress": "https://a.example/p"}))
    start(database, job_of(database, "alice", {"inProgress": "https://c.example/p"}))
    by_origin = claim(database, each_origin=2)
    assert sorted((one.owner, one.origin) for one in by_origin) == [
        ("alice", "https://a.example"),
        ("alice", "https://a.example"),
        ("alice", "https://c.example"),
    ]
    with database.write() as tx:
        full = {"https://a.example": 2}
        rest = callbacks.claim(tx, 30.0, 9, origins=full, owners={}, each_origin=2, each_owner=9)
    assert rest == []
    later(database)
    assert sorted(one.owner for one in claim(database, each_owner=1)) == ["alice", "bob"]


def test_what_was_given_up_is_tried_again_when_asked(database: Database) -> None:
    job = job_of(database)
    start(database, job)
    end(database, job)
    (first,) = claim(database)
    finish(database, first, GIVEN_UP)
    (second,) = claim(database)
    finish(database, second, GIVEN_UP)
    with database.write() as tx:
        assert callbacks.again(tx, job.id) == 2
        assert callbacks.again(tx, job.id) == 0
    assert told(database, job) == [(IN_PROGRESS, PENDING), (SUCCESS, QUEUED)]
    assert [one.tries for one in claim(database)] == [1]


def test_a_job_is_not_forgotten_before_its_subscriber_is_told(database: Database) -> None:
    job = job_of(database, subscriber={"success": ALL["success"]})
    start(database, job)
    end(database, job)
    with database.write() as tx:
        tx.execute(update(jobs_table).where(jobs.c.id == job.id).values(due_at=None))
        assert not ended.forget(tx, job.id)
    (one,) = claim(database)
    finish(database, one)
    with database.write() as tx:
        assert ended.forget(tx, job.id)
        assert tx.execute(select(table.c.id)).all() == []


def test_what_is_due_is_found_by_its_index(database: Database) -> None:
    found = plan(database, callbacks.due)
    assert "ix_callbacks_due" in found, found
    assert "TEMP B-TREE" not in found, found
    assert "Sort" not in found, found
