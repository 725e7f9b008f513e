"""Bytes to remove: written in the transaction that deletes their rows, forgotten when they are gone.

Whatever dies in between, nothing that a row still names is missing, and what no row names goes in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from broker.store.tables import now, removals

FIRST_WAIT, LONGEST_WAIT = 10.0, 3600.0  # seconds until storage is asked again
r = removals.c
_ROW = (r.id, r.prefix, r.tries)
_DUE = select(*_ROW).where(r.due_at <= now()).order_by(r.due_at).limit(bindparam("most"))
_ADD = insert(removals).values(prefix=bindparam("prefix"), due_at=now(), tries=0).returning(*_ROW)


@dataclass(frozen=True, slots=True)
class Removal:
    """All objects below `prefix` can go; `tries`: how often storage could not."""

    id: int
    prefix: str
    tries: int


def add(tx: Connection, prefix: str) -> Removal:
    """Nothing in the database names what is below `prefix` after this transaction."""
    return Removal(*tx.execute(_ADD, {"prefix": prefix}).one())


def due(tx: Connection, most: int) -> list[Removal]:
    """The longest due first."""
    return [Removal(*row) for row in tx.execute(_DUE, {"most": most})]


def done(tx: Connection, removal: Removal) -> None:
    tx.execute(delete(removals).where(r.id == removal.id))


def again(tx: Connection, removal: Removal) -> None:
    """Storage could not: later, and behind those that it can."""
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(removal.tries, 16))
    later = update(removals).where(r.id == removal.id)
    tx.execute(later.values(tries=removal.tries + 1, due_at=now() + wait))
