"""Comparisons as rows: asked once, made when the jobs have ended, by one at a time; on both databases."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import update

from broker.access.principal import Reach
from broker.jobs.model import Job
from broker.results.verdict import Tolerance
from broker.store import comparisons, ended
from broker.store.comparisons import COMPARING, DONE, FAILED, MOST_KEPT, WAITING
from broker.store.database import Database
from broker.store.tables import jobs, now
from tests.unit.store.rows import job_row

EXPERIMENT: dict[str, Any] = {"kind": "experiment", "name": "water", "href": None, "outputs": {}}
EXACT = Tolerance().to_json()
REPORT = {"verdict": "identical", "outputs": []}


def end(database: Database, *of: Job, phase: str = "successful") -> None:
    with database.write() as tx:
        tx.execute(
            update(jobs)
            .where(jobs.c.id.in_([job.id for job in of]))
            .values(phase=phase, finished=now(), due_at=None, message="")
        )


def ask(database: Database, job: Job, against: dict[str, Any] = EXPERIMENT, **tolerance: float) -> str:
    with database.write() as tx:
        return comparisons.ask(tx, job.id, against, EXACT | tolerance)


def claim(database: Database, seconds: float = 60.0) -> comparisons.Comparison | None:
    with database.write() as tx:
        return comparisons.claim(tx, seconds)


def held(database: Database, job: Job) -> list[str]:
    with database.read() as tx:
        return ended.held(tx, job.id)


def test_one_is_made_when_both_jobs_have_ended(database: Database) -> None:
    job, other = job_row(database), job_row(database)
    asked = ask(database, job, {"kind": "job", "id": other.id})
    for one in (job, other):
        with database.read() as tx:
            assert not comparisons.due(tx)
        assert claim(database) is None
        end(database, one)
    with database.read() as tx:
        assert comparisons.due(tx)
    taken = claim(database)
    assert taken is not None
    assert (taken.id, taken.state, taken.attempts) == (asked, COMPARING, 1)
    assert claim(database) is None, "a lease keeps others from it"


def test_the_results_of_both_are_held_while_it_is_made(database: Database) -> None:
    job, other, stranger = job_row(database, "a"), job_row(database, "a"), job_row(database, "b")
    against = [{"kind": "job", "id": one.id} for one in (other, stranger)]
    for one in against:
        ask(database, job, one)
    end(database, job, other, stranger)
    assert [held(database, one) for one in (job, other, stranger)] == [[], [], []]
    for holding in ([1, 1, 0], [1, 0, 0]):
        made = claim(database)
        assert made is not None
        assert [len(held(database, one)) for one in (job, other, stranger)] == holding
        with database.write() as tx:
            assert comparisons.finish(tx, made, DONE, "", REPORT)
        assert [held(database, one) for one in (job, other, stranger)] == [[], [], []]


def test_owners_take_turns(database: Database) -> None:
    """One of an owner at a time, and nobody's many before another's one."""
    greedy, other, third = (job_row(database, owner) for owner in ("a", "b", "c"))
    asked = [ask(database, greedy, relative=float(number)) for number in range(3)]
    asked += [ask(database, one) for one in (other, third)]
    end(database, greedy, other, third)
    order = []
    while (pair := [claim(database), claim(database)])[0] is not None:
        for one in pair:
            if one is not None:
                order.append(asked.index(one.id))
                with database.write() as tx:
                    comparisons.finish(tx, one, DONE, "", REPORT)
    assert order == [0, 3, 4, 1, 2]


def test_what_is_withdrawn_is_nobodys(database: Database) -> None:
    job = job_row(database)
    asked = ask(database, job)
    end(database, job)
    taken = claim(database)
    assert taken is not None
    with database.write() as tx:
        assert comparisons.withdraw(tx, asked, "No more.")
        assert not comparisons.withdraw(tx, asked, "No more.")
        assert not comparisons.renew(tx, taken, 60.0)
        assert not comparisons.finish(tx, taken, DONE, "", REPORT)
        (found,) = comparisons.of_job(tx, job.id)
    assert (found.state, found.message, held(database, job)) == (FAILED, "No more.", [])
    assert claim(database) is None
    assert ask(database, job) != asked, "it may be asked for again"


def test_the_same_is_asked_once_and_anew_where_it_failed(database: Database) -> None:
    job = job_row(database)
    first = ask(database, job)
    assert ask(database, job) == first
    assert ask(database, job, relative=0.5) != first
    end(database, job)
    taken = claim(database)
    assert taken is not None
    assert taken.id == first
    with database.write() as tx:
        comparisons.finish(tx, taken, FAILED, "It did not answer.")
    again = ask(database, job)
    assert again != first
    with database.read() as tx:
        assert {one.id: one.state for one in comparisons.of_job(tx, job.id)}[again] == WAITING
        assert comparisons.count_open(tx, job.id) == 2


def test_who_was_too_slow_saves_nothing(database: Database) -> None:
    job = job_row(database)
    asked = ask(database, job)
    end(database, job)
    slow = claim(database, seconds=-1.0)
    quick = claim(database)
    assert slow is not None
    assert quick is not None
    assert quick.attempts == 2
    with database.write() as tx:
        assert not comparisons.renew(tx, slow, 60.0)
        assert not comparisons.finish(tx, slow, FAILED, "Too late.")
        assert not comparisons.put_off(tx, slow, "Too late.", 0.0)
        assert comparisons.finish(tx, quick, DONE, "Made.", REPORT)
    with database.read() as tx:
        assert comparisons.report(tx, asked) == REPORT
        assert orjson.loads(comparisons.report_document(tx, job.id) or b"") == REPORT
        (found,) = comparisons.of_job(tx, job.id)
    assert (found.state, found.verdict, found.message) == (DONE, "identical", "Made.")


def test_what_is_put_off_is_not_due(database: Database) -> None:
    job = job_row(database)
    ask(database, job)
    end(database, job)
    taken = claim(database)
    assert taken is not None
    with database.write() as tx:
        assert comparisons.put_off(tx, taken, "Storage does not answer.", 3600.0)
    assert claim(database) is None


def test_one_with_a_job_is_seen_by_who_sees_that_job(database: Database) -> None:
    job = job_row(database, "a", shared="public")
    hidden, open_ = job_row(database, "a"), job_row(database, "a", shared="public")
    ids = [ask(database, job, {"kind": "job", "id": one.id}) for one in (hidden, open_)]
    with database.read() as tx:
        assert [one.id for one in comparisons.of_job(tx, job.id, Reach("b"))] == ids[1:]
        assert [one.id for one in comparisons.of_job(tx, job.id, Reach("a"))] == ids[::-1]


def test_no_report_on_somebody_elses_job_is_published(database: Database) -> None:
    job, other = job_row(database, "a"), job_row(database, "b", shared="public")
    end(database, job, other)
    for against, published in (({"kind": "job", "id": other.id}, False), (EXPERIMENT, True)):
        ask(database, job, against)
        taken = claim(database)
        assert taken is not None
        with database.write() as tx:
            comparisons.finish(tx, taken, DONE, "", REPORT)
            assert (comparisons.report_document(tx, job.id) is not None) is published


def test_old_ones_go_and_all_go_with_the_job(database: Database) -> None:
    job = job_row(database)
    end(database, job)
    for number in range(MOST_KEPT + 2):
        ask(database, job, relative=float(number))
        taken = claim(database)
        assert taken is not None
        with database.write() as tx:
            comparisons.finish(tx, taken, DONE, "", REPORT)
    with database.write() as tx:
        kept = comparisons.of_job(tx, job.id)
        assert len(kept) == MOST_KEPT + 1
        assert kept[-1].tolerance["relative"] == 1.0
        assert ended.forget(tx, job.id)
        assert comparisons.of_job(tx, job.id) == []
