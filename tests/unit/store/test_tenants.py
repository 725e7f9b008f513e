"""Tenants in the line: fair order, running quotas, and what jobs use is booked once."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from broker.access.quota import NONE, Kind, Quota, Quotas, Tenant
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Capabilities, Failure, Fault, Job, Needs, Phase, Reason, Step
from broker.platform import OutputFile
from broker.store import claims, files, jobs, usage
from broker.store.account_tables import usage as usage_table
from broker.store.database import Database, new_id
from broker.store.files import KeptFile
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.unit.store.rows import PLATFORM, job_row, platform_row

ROOM: dict[str, Any] = {"cores": 1000.0, "ram_mib": 10**8}


def take(database: Database, offer: Capabilities, quotas: Quotas = NONE, platform: str = PLATFORM) -> Job | None:
    with database.write() as tx:
        return claims.claim_next(tx, platform, offer, "w", quotas)


def taken(database: Database, offer: Capabilities, count: int, quotas: Quotas = NONE) -> list[str]:
    """The titles of the jobs that go next."""
    found = [take(database, offer, quotas) for _ in range(count)]
    return [job.title if job else "-" for job in found]


def ended(database: Database, job: Job, *changes: Change) -> Job:
    with database.write() as tx:
        for change in changes or (lifecycle.dismissed(),):
            job = claims.save(tx, job, change, hold=True)
    return job


def message(database: Database, job: Job) -> str:
    with database.read() as tx:
        return jobs.get(tx, job.id).message


def many(database: Database, owner: str, count: int) -> None:
    with database.write() as tx:
        new = [
            jobs.NewJob(new_id(), owner, owner, "p", 1, PLATFORM, owner, (), {}, {}, (), Needs()) for _ in range(count)
        ]
        jobs.insert_jobs(tx, new)


# ---- fair order


def test_neither_many_projects_nor_many_owners_get_more_than_others(database: Database) -> None:
    """Alice works in three projects; bob, carol and dave share one; erin is alone."""
    offer = platform_row(database, **ROOM)
    for _ in range(4):
        for owner, project in (("a", "p1"), ("a", "p2"), ("a", "p3"), ("b", "x"), ("c", "x"), ("d", "x"), ("e", "e")):
            job_row(database, owner, project=project, title=owner if project != "x" else "x")
    order = taken(database, offer, 12)
    assert {one: order.count(one) for one in set(order)} == {"a": 4, "x": 4, "e": 4}


def test_within_a_project_its_members_take_turns(database: Database) -> None:
    offer = platform_row(database, **ROOM)
    for owner in ("b", "b", "b", "c", "d"):
        job_row(database, owner, project="x", title=owner)
    assert sorted(taken(database, offer, 3)) == ["b", "c", "d"]


def test_ten_thousand_waiting_jobs_of_one_neither_delay_nor_slow_down_others(database: Database) -> None:
    offer = platform_row(database, **ROOM)
    many(database, "a", 20)
    for number in range(60):
        many(database, f"other{number}", 1)

    def median(count: int) -> float:
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            assert take(database, offer) is not None
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    few = median(15)
    many(database, "a", 10_000)
    if not database.sqlite:
        with database.write() as tx:
            tx.exec_driver_sql("analyze jobs")  # PostgreSQL does that by itself, within a minute
    lots = median(15)
    assert lots < 3 * few + 0.005, (few, lots)
    job_row(database, "b", title="b")
    following = taken(database, offer, 32)  # of the sixty others 31 are left
    assert following[-1] == "b"
    assert "a" not in following


# ---- quotas of running jobs


def test_who_may_run_no_more_is_passed_and_says_why(database: Database) -> None:
    offer = platform_row(database, **ROOM)
    quotas = Quotas({Kind.PERSON: Quota(running=2)})
    first = [job_row(database, "a", title="a") for _ in range(4)]
    assert taken(database, offer, 3, quotas) == ["a", "a", "-"]
    assert message(database, first[2]) == "Waiting: your quota of 2 running jobs."
    job_row(database, "b", title="b")
    assert taken(database, offer, 2, quotas) == ["b", "-"]
    with database.read() as tx:
        running = jobs.get(tx, first[0].id)
    ended(database, running)
    with database.read() as tx:
        assert "dispatch" in claims.due(tx, PLATFORM), "somebody is told to look"
    assert taken(database, offer, 2, quotas) == ["a", "-"]


def test_the_message_goes_with_its_reason(database: Database) -> None:
    offer = platform_row(database, cores=1.0)
    job_row(database, "a")
    waiting = job_row(database, "a")
    assert taken(database, offer, 2, Quotas({Kind.PERSON: Quota(running=1)}))[1] == "-"
    assert message(database, waiting).startswith("Waiting: your quota")
    assert take(database, offer) is None
    assert message(database, waiting) == f"Waiting for 1 of 1 cores on {PLATFORM}."


def test_projects_and_delegates_have_quotas_of_their_own(database: Database) -> None:
    offer = platform_row(database, **ROOM)
    rows = {Tenant(Kind.PROJECT, "x"): Quota(running=1), Tenant(Kind.DELEGATE, "portal"): Quota(running=1)}
    quotas = Quotas({}, rows)
    job_row(database, "a", project="x", title="x")
    job_row(database, "b", project="x", title="x")
    for _ in range(2):
        job_row(database, "c", delegate="portal", title="portal")
    job_row(database, "c", title="c himself")
    job_row(database, "d", delegate="portal", title="portal")
    assert sorted(taken(database, offer, 4, quotas)) == ["-", "c himself", "portal", "x"]


def test_running_jobs_count_on_all_platforms_and_are_given_away_one_at_a_time(database: Database) -> None:
    offers = {name: platform_row(database, name, **ROOM) for name in ("one", "two")}
    for _ in range(6):
        for name in offers:
            job_row(database, "a", platform=name)
    quotas = Quotas({Kind.PERSON: Quota(running=3)})
    got: list[Job | None] = []
    ready = threading.Barrier(6)

    def work(name: str) -> None:
        ready.wait()
        for _ in range(3):
            got.append(take(database, offers[name], quotas, name))

    threads = [threading.Thread(target=work, args=(name,)) for name in (*offers, *offers, *offers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(job is not None for job in got) == 3


# ---- usage


@pytest.fixture
def running(database: Database) -> Callable[..., Job]:
    """A job of three cores that has been running for some seconds, as the database's clock has it."""

    def make(seconds: float, owner: str = "a", **fields: Any) -> Job:
        offer = platform_row(database, **ROOM)
        job_row(database, owner, needs=Needs(cores=3.0), **fields)
        job = take(database, offer)
        assert job is not None
        job = ended(database, job, Change("submitted", Phase.SUBMITTED), Change("running", Phase.RUNNING))
        with database.write() as tx:
            tx.execute(update(table).where(table.c.id == job.id).values(started=now() - seconds))
        return job

    return make


def used(database: Database, kind: Kind, subject: str) -> list[tuple[int, float, float]]:
    with database.read() as tx:
        found = usage.months(tx, Tenant(kind, subject))
    return [(row["jobs"], row["core_seconds"], row["cpu_seconds"]) for row in found]


def test_what_a_job_held_is_booked_when_it_ends_and_once(database: Database, running: Callable[..., Job]) -> None:
    job = running(100.0, project="x", delegate="portal")
    assert used(database, Kind.PERSON, "a") == []
    with database.write() as tx:
        files.put_steps(tx, job.id, 1, [Step("s", "successful", cpu_seconds=1.5), Step("t", "successful")])
    job = ended(database, job, Change("finished", Phase.COLLECTING, finished=job.created))
    again = job
    ended(database, job, Change("successful", Phase.SUCCESSFUL))
    with pytest.raises((claims.LostClaim, lifecycle.IllegalTransition)), database.write() as tx:
        claims.save(tx, again, Change("failed", Phase.FAILED))
        raise claims.LostClaim
    for kind, subject in ((Kind.PERSON, "a"), (Kind.PROJECT, "x"), (Kind.DELEGATE, "portal")):
        [(count, core_seconds, cpu)] = used(database, kind, subject)
        assert (count, cpu) == (1, 1.5)
        assert core_seconds == pytest.approx(3 * 100, abs=15), subject
    with database.read() as tx:
        period = tx.execute(usage_table.select()).one().period
    today = datetime.now(UTC)
    assert period == today.year * 100 + today.month


def test_all_attempts_count_and_a_lost_one_until_its_last_sign(database: Database, running: Callable[..., Job]) -> None:
    job = running(1000.0)
    with database.write() as tx:  # nothing was heard of it for most of the time
        tx.execute(update(table).where(table.c.id == job.id).values(updated=now() - 990))
    job = ended(database, job, lifecycle.lost(job, "gone."))
    job = ended(
        database,
        job,
        Change("submitting", Phase.SUBMITTING),
        Change("submitted", Phase.SUBMITTED),
        lifecycle.failed(Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "no"), 50.0, 20.0),
    )
    [(count, core_seconds, _)] = used(database, Kind.PERSON, "a")
    assert count == 1
    assert core_seconds == pytest.approx(3 * 10 + 3 * 30, abs=6)


def test_clocks_that_disagree_book_nothing_negative(database: Database, running: Callable[..., Job]) -> None:
    job = running(10.0)
    ended(database, job, lifecycle.dismissed(finished=1.0))
    assert used(database, Kind.PERSON, "a") == [(1, 0.0, 0.0)]


def test_a_rollback_books_nothing(database: Database, running: Callable[..., Job]) -> None:
    job = running(10.0)
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        claims.save(tx, job, lifecycle.dismissed())
        raise ZeroDivisionError
    assert used(database, Kind.PERSON, "a") == []


def test_kept_bytes_are_counted_until_they_are_freed(database: Database, running: Callable[..., Job]) -> None:
    job = running(1.0, project="x")
    with database.write() as tx:
        files.announce(tx, job.id, 1, [OutputFile("a", "a"), OutputFile("b", "b")])
        files.kept(tx, job.id, [KeptFile("a", 1, "a", True, 70, None, "0")])
    ended(database, job)
    with database.write() as tx:
        for tenant in (Tenant(Kind.PERSON, "a"), Tenant(Kind.PROJECT, "x")):
            assert usage.of(tx, tenant, usage.EVERYTHING, time.time()).storage_bytes == 70
        assert usage.free(tx, job.id, "a", "x", None) == 70
        assert usage.of(tx, tenant, usage.EVERYTHING, time.time()).storage_bytes == 0
