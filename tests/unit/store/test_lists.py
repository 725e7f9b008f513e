"""Lists of jobs use an index, however many jobs there are, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from broker.access.principal import Reach
from broker.store import jobs, processes, uploads
from broker.store.database import Database
from broker.store.jobs import Filter
from broker.store.tables import jobs as jobs_table
from tests.unit.store.plans import plan
from tests.unit.store.rows import job_row


@pytest.mark.parametrize("before", [None, "0199"])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(owner="alice"), "ix_jobs_owner"),
        (Filter(project="water"), "ix_jobs_shared"),
        (Filter(public=True), "ix_jobs_public"),
        (Filter(), "pk_jobs"),
    ],
)
def test_a_page_of_jobs_is_read_from_an_index(
    database: Database, wanted: Filter, index: str, before: str | None
) -> None:
    found = plan(database, lambda tx: jobs.page(tx, wanted, limit=100, before=before))
    named = "sqlite_autoindex_jobs" if database.sqlite and index == "pk_jobs" else index
    assert named in found, found
    assert "TEMP B-TREE" not in found, "it sorts all of them first"
    assert "Sort" not in found, "it sorts all of them first"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(owner="alice", statuses=("failed",)), "ix_jobs_failed"),
        (Filter(owner="alice", process_ids=("p",)), "ix_jobs_process"),
        (Filter(owner="alice", created_before=1.7e9), "ix_jobs_owner"),
    ],
)
def test_filters_that_find_few_of_many_jobs_use_an_index(database: Database, wanted: Filter, index: str) -> None:
    found = plan(database, lambda tx: jobs.page(tx, wanted, limit=100))
    assert index in found, found


def test_times_are_looked_for_among_the_ids_of_about_that_time(database: Database) -> None:
    job = job_row(database)
    day = 24 * 3600.0

    def found(after: float | None, before: float | None) -> bool:
        with database.read() as tx:
            return bool(jobs.page(tx, Filter(created_after=after, created_before=before), limit=9))

    for skew in (-0.9 * day, 0.0, 0.9 * day):  # of the clock that made the id
        created = job.created + skew
        with database.write() as tx:
            tx.execute(update(jobs_table).where(jobs_table.c.id == job.id).values(created=created))
        assert found(created, created)
        assert found(None, created + 1)
        assert found(created - 1, None)
        assert not found(created + 1, None)
        assert not found(None, created - 1)
    assert not found(9e18, None)
    assert found(-9e18, 9e18)


@pytest.mark.parametrize("after", [None, "p5"])
@pytest.mark.parametrize("reach", [Reach("alice"), Reach("root", everything=True)])
def test_a_page_of_processes_is_read_from_an_index(database: Database, reach: Reach, after: str | None) -> None:
    found = plan(database, lambda tx: processes.page(tx, limit=100, after=after, reach=reach))
    assert "ix_processes_listed" in found, found
    assert "COVERING INDEX ix_processes_listed" in found or not database.sqlite, found
    assert "TEMP B-TREE" not in found, "it sorts all of them first"


def test_what_the_lists_show(database: Database) -> None:
    mine = job_row(database, "alice")
    ours = job_row(database, "alice", shared="project", shared_with="water")
    theirs = job_row(database, "bob", shared="project", shared_with="fire")
    seen = job_row(database, "bob", shared="public")

    def ids(**wanted: Any) -> list[str]:
        with database.read() as tx:
            return [one.id for one in jobs.page(tx, Filter(**wanted), limit=9)]

    assert ids(owner="alice") == [ours.id, mine.id]
    assert ids(project="water") == [ours.id]
    assert ids(project="water", owner="bob") == []
    assert ids(public=True) == [seen.id]
    assert ids() == [seen.id, theirs.id, ours.id, mine.id]
    with database.read() as tx:
        assert uploads.page(tx, project="water", limit=9) == []
        assert jobs.get(tx, seen.id, Reach("alice")).shared_with is None
