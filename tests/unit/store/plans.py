"""How a database finds what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event, text

from broker.store.database import Database


def plan(database: Database, look: Callable[[Connection], Any]) -> str:
    """The plan of the last statement of `look`."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, sql: str, arguments: Any, *_: Any) -> None:
        asked.append((sql, arguments))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as tx:
        look(tx)
        event.remove(database.engine, "before_cursor_execute", note)
        sql, arguments = asked[-1]
        if database.sqlite:
            return "\n".join(row.detail for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", arguments))
        for other in ("seqscan", "bitmapscan"):  # the table is empty: what it could use is what counts
            tx.execute(text(f"set enable_{other} = off"))
        return "\n".join(row[0] for row in tx.exec_driver_sql(f"EXPLAIN {sql}", arguments))
