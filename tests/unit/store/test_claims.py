"""Claims: one holder at a time, fenced writes, fair admission within a platform's room."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update

from broker.jobs.lifecycle import Change, IllegalTransition
from broker.jobs.model import Failure, Fault, Needs, Phase, Progress, Reason
from broker.store import claims, deliveries, jobs
from broker.store.database import Database
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.unit.store.rows import PLATFORM, job_row, platform_row


def _expire(database: Database, job_id: str) -> None:
    with database.write() as tx:
        tx.execute(update(table).where(table.c.id == job_id).values(lease_until=now() - 1, due_at=now() - 1))


def test_a_claim_excludes_others_until_its_lease_is_over(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        assert [j.id for j in claims.claim(tx, [job.id], [Phase.ACCEPTED], "a")] == [job.id]
        assert claims.claim(tx, [job.id], [Phase.ACCEPTED], "b") == []
    _expire(database, job.id)
    with database.write() as tx:
        assert [j.fence for j in claims.claim(tx, [job.id], [Phase.ACCEPTED], "b")] == [2]


def test_a_zombie_cannot_write(database: Database) -> None:
    """A worker that slept past its lease has the old fence: its write touches nothing (fault test 7)."""
    job = job_row(database)
    with database.write() as tx:
        (zombie,) = claims.claim(tx, [job.id], [Phase.ACCEPTED], "zombie")
    _expire(database, job.id)
    with database.write() as tx:
        (mine,) = claims.claim(tx, [job.id], [Phase.ACCEPTED], "new")
    with pytest.raises(claims.LostClaim), database.write() as tx:
        claims.save(tx, zombie, Change("submitting", Phase.SUBMITTING))
    with pytest.raises(claims.LostClaim), database.write() as tx:
        claims.confirm(tx, zombie)
    with database.write() as tx:
        assert claims.save(tx, mine, Change("submitting", Phase.SUBMITTING)).phase is Phase.SUBMITTING


def test_an_illegal_move_is_refused_and_leaves_no_event(database: Database) -> None:
    job = job_row(database)
    with pytest.raises(IllegalTransition), database.write() as tx:
        (mine,) = claims.claim(tx, [job.id], [Phase.ACCEPTED], "a")
        claims.save(tx, mine, Change("successful", Phase.SUCCESSFUL))
    with database.read() as tx:
        assert [event["event"] for event in jobs.events(tx, job.id)] == ["accepted"]


def test_a_terminal_job_is_claimed_by_no_verb_but_release(database: Database) -> None:
    platform_row(database)
    job = job_row(database)
    failure = Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "It failed.", step="s", exit_code=3, log_tail="boom")
    with database.write() as tx:
        (mine,) = claims.claim(tx, [job.id], [Phase.ACCEPTED], "a")
        ended = claims.save(tx, mine, Change("failed", Phase.FAILED, failure=failure, progress=Progress(1, 2)))
    assert (ended.failure, ended.progress, ended.finished is not None) == (failure, Progress(1, 2), True)
    with database.write() as tx:
        assert claims.due(tx, PLATFORM) == {"release"}
        claims.released(tx, ended)
        assert claims.due(tx, PLATFORM) == set()


def test_fair_order_and_room(database: Database) -> None:
    """Two cores: the first of each owner goes; the third job waits and says for what."""
    offer = platform_row(database)
    first, second, other = (job_row(database, owner) for owner in ("a", "a", "b"))
    with database.write() as tx:
        assert None not in [claims.claim_next(tx, PLATFORM, offer, "w") for _ in range(2)]
    with database.read() as tx:
        phases = {job.id: jobs.get(tx, job.id).phase for job in (first, second, other)}
    assert phases == {first.id: Phase.SUBMITTING, second.id: Phase.ACCEPTED, other.id: Phase.SUBMITTING}
    with database.write() as tx:
        assert claims.claim_next(tx, PLATFORM, offer, "w") is None
        assert jobs.get(tx, second.id).message == f"Waiting for 1 of 2 cores on {PLATFORM}."


def test_priority_goes_first(database: Database) -> None:
    offer = platform_row(database)
    job_row(database)
    urgent = job_row(database, priority=5)
    with database.write() as tx:
        claimed = claims.claim_next(tx, PLATFORM, offer, "w")
    assert claimed is not None
    assert claimed.id == urgent.id


def test_a_large_job_is_not_overtaken(database: Database) -> None:
    offer = platform_row(database)
    job_row(database)
    job_row(database, needs=Needs(cores=2))
    job_row(database)
    with database.write() as tx:
        assert claims.claim_next(tx, PLATFORM, offer, "w") is not None
        assert claims.claim_next(tx, PLATFORM, offer, "w") is None


def test_an_interrupted_submission_is_taken_up_again(database: Database) -> None:
    offer = platform_row(database)
    job = job_row(database)
    with database.write() as tx:
        claims.claim_next(tx, PLATFORM, offer, "killed")
    _expire(database, job.id)
    with database.write() as tx:
        again = claims.claim_next(tx, PLATFORM, offer, "w")
    assert again is not None
    assert (again.id, again.phase, again.attempt) == (job.id, Phase.SUBMITTING, 1)


def test_two_workers_never_admit_into_the_same_room(database: Database) -> None:
    offer = platform_row(database, cores=3.0)
    for _ in range(12):
        job_row(database)
    taken: list[str] = []

    def work() -> None:
        while True:
            with database.write() as tx:
                job = claims.claim_next(tx, PLATFORM, offer, threading.current_thread().name)
            if job is None:
                return
            taken.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 3


def test_due_verbs(database: Database) -> None:
    platform_row(database)
    job = job_row(database)
    with database.write() as tx:
        assert claims.due(tx, PLATFORM) == {"dispatch"}
        jobs.request_dismiss(tx, job)
        assert "dismiss" in claims.due(tx, PLATFORM)
        assert [j.id for j in claims.claim_dismissed(tx, PLATFORM, "w", 10)] == [job.id]
        assert claims.due(tx, PLATFORM) == set()


def test_how_late_looks_are(database: Database) -> None:
    waits, there, held = (job_row(database) for _ in range(3))
    with database.write() as tx:
        for job, phase, ago in ((waits, Phase.ACCEPTED, 90), (there, Phase.RUNNING, 20), (held, Phase.SUBMITTED, 40)):
            tx.execute(update(table).where(table.c.id == job.id).values(phase=phase.value, due_at=now() - ago))
    with database.write() as tx:
        assert 40 <= claims.late(tx, PLATFORM) < 60
        claims.claim(tx, [held.id], [Phase.SUBMITTED], "a")
        assert 20 <= claims.late(tx, PLATFORM) < 40  # somebody is at it
        claims.claim(tx, [there.id], [Phase.RUNNING], "a")
        assert claims.late(tx, PLATFORM) == 0.0


def test_a_lost_attempt_starts_the_next_one(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        (mine,) = claims.claim(tx, [job.id], [Phase.ACCEPTED], "w")
        mine = claims.save(tx, mine, Change("submitting", Phase.SUBMITTING), hold=True)
        mine = claims.save(tx, mine, Change("handle", Phase.SUBMITTED, handle={"x": 1}), hold=True)
        again = claims.save(tx, mine, Change("lost", Phase.ACCEPTED, next_attempt=True, due_in=0.0))
    assert (again.attempt, again.handle, again.losses, again.phase) == (2, None, 1, Phase.ACCEPTED)


def test_the_outbox_is_written_with_the_job(database: Database) -> None:
    class Crash(Exception):
        pass

    with pytest.raises(Crash), database.write() as tx:
        jobs.insert_jobs(tx, [jobs.NewJob("x", "o", "o", "p", 1, PLATFORM, "", (), {}, {}, (), Needs())])
        raise Crash
    with database.read() as tx:
        assert deliveries.pending(tx) == []
    job = job_row(database)
    with database.write() as tx:
        (delivery,) = deliveries.pending(tx)
        assert (delivery.job_id, delivery.platform, delivery.verb) == (job.id, PLATFORM, "dispatch")
        deliveries.sent(tx, [delivery.id])
        assert deliveries.pending(tx) == []


def test_what_waits_is_found_without_looking_at_what_has_ended(tmp_path: Path, sqlite_migrated: Path) -> None:
    """SQLite takes a partial index only for a query that spells its condition; without it, it reads every job."""
    database = Database(f"sqlite:///{shutil.copyfile(sqlite_migrated, tmp_path / 'b.db')}")
    offer = platform_row(database)
    job_row(database)
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda c, cur, sql, args, *_: asked.append((sql, args)))
    with database.write() as tx:
        assert claims.claim_next(tx, PLATFORM, offer, "w") is not None
        claims.due(tx, PLATFORM)
        claims.late(tx, PLATFORM)
    with database.engine.connect() as connection:
        plans = [
            step.detail
            for sql, args in list(asked)
            if sql.startswith(("SELECT", "UPDATE"))
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", args)
        ]
    database.close()
    assert not [plan for plan in plans if plan == "SCAN jobs"]
    assert any("ix_jobs_live" in plan for plan in plans)
