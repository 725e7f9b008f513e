"""Lists of jobs use an index, however many jobs there are, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, text

from broker.access.principal import Reach
from broker.store import jobs, uploads
from broker.store.database import Database
from broker.store.jobs import Filter
from tests.unit.store.rows import job_row


def plan(database: Database, wanted: Filter, before: str | None) -> str:
    """How the database finds the page."""
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda c, cur, sql, args, *_: asked.append((sql, args)))
    with database.read() as tx:
        jobs.page(tx, wanted, limit=100, before=before)
        [(sql, args)] = list(asked)
        if database.sqlite:
            return "\n".join(row.detail for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", args))
        for other in ("seqscan", "bitmapscan"):  # the table is empty: what it could use is what counts
            tx.execute(text(f"set enable_{other} = off"))
        return "\n".join(row[0] for row in tx.exec_driver_sql(f"EXPLAIN {sql}", args))


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
    found = plan(database, wanted, before)
    named = "sqlite_autoindex_jobs" if database.sqlite and index == "pk_jobs" else index
    assert named in found, found
    assert "TEMP B-TREE" not in found, "it sorts all of them first"
    assert "Sort" not in found, "it sorts all of them first"


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
