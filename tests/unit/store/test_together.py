"""Group commit: many writers, few commits, and each gets its own result or error."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, event, select

from broker.store import leases
from broker.store.database import Database
from broker.store.tables import leases as table
from broker.store.together import Together


def test_many_writes_share_commits(database: Database) -> None:
    together, commits, begun, go = Together(database), [0], threading.Event(), threading.Event()
    event.listen(database.engine, "commit", lambda connection: commits.__setitem__(0, commits[0] + 1))

    def slow(tx: Connection) -> bool:
        begun.set()
        assert go.wait(10)
        return leases.hold(tx, "first", "a", 60)

    def write(number: int) -> bool:
        return together(lambda tx: leases.hold(tx, f"lease {number}", "a", 60))

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together, slow)
        assert begun.wait(10)
        others = [pool.submit(write, number) for number in range(8)]
        while len(together._waiting) < 8:
            threading.Event().wait(0.001)
        go.set()
        assert first.result(10)
        assert all(other.result(10) for other in others)
    assert commits[0] == 2
    with database.read() as tx:
        assert len(tx.execute(select(table.c.name)).all()) == 9


def test_an_error_is_its_callers_alone(database: Database) -> None:
    together = Together(database)

    def fail(tx: Connection) -> None:
        leases.hold(tx, "half", "a", 60)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        together(fail)
    assert together(lambda tx: leases.hold(tx, "whole", "a", 60))
    with database.read() as tx:
        assert [row.name for row in tx.execute(select(table.c.name))] == ["whole"]
