"""The audit: it only grows, and what was changed around the triggers is found."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from broker.access.principal import LOCAL
from broker.store import audit
from broker.store.account_tables import audit as table
from broker.store.database import Database


def fill(database: Database) -> None:
    for number in range(3):
        with database.write() as tx:
            audit.record(tx, audit.entry(LOCAL, "deploy", f"process/{number}", revision=number))
            audit.record(tx, audit.entry(LOCAL, "a", "x"), audit.entry(LOCAL, "b", "y", grüße=["ü", 1.5, None]))


def test_rows_are_chained_and_paged(database: Database) -> None:
    fill(database)
    with database.read() as tx:
        assert audit.verify(tx) is None
        rows = audit.page(tx, limit=4)
        assert [row["action"] for row in rows] == ["deploy", "a", "b", "deploy"]
        assert len(audit.page(tx, after=rows[-1]["id"])) == 5


def test_the_database_refuses_to_change_it(database: Database) -> None:
    fill(database)
    for change in (update(table).values(actor="somebody else"), delete(table)):
        with pytest.raises(DBAPIError, match="append-only"), database.write() as tx:
            tx.execute(change)


def test_what_was_changed_around_the_triggers_is_found(database: Database) -> None:
    fill(database)
    with database.write() as tx:
        second = audit.page(tx)[1]["id"]
        if database.sqlite:
            tx.execute(text("drop trigger audit_no_update"))
        else:
            tx.execute(text("alter table audit disable trigger all"))
        tx.execute(update(table).where(table.c.id == second).values(actor="somebody else"))
        assert audit.verify(tx) == second
