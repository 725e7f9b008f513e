"""Rows that are of no use after their time: keys of requests, logins, sessions, invitations, results
that are not to be used again any more."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Double, Table, bindparam, select, tuple_
from sqlalchemy import delete as delete_from

from broker.store.account_tables import invitations, logins, sessions
from broker.store.result_tables import call_cache
from broker.store.tables import idempotency, now

_WHEN: dict[str, tuple[Table, ColumnElement[float]]] = {
    "idempotency": (idempotency, idempotency.c.created),
    "logins": (logins, logins.c.expires),
    "sessions": (sessions, sessions.c.expires),
    "reuse": (call_cache, call_cache.c.computed),
    "invitations": (invitations, invitations.c.expires),
}


def delete(tx: Connection, kind: str, age: float, most: int) -> int:
    """Delete up to `most` rows of a kind that are over for at least `age` seconds; how many."""
    table, when = _WHEN[kind]
    key = list(table.primary_key)
    over = select(*key).where(when <= now() - bindparam("age", type_=Double)).limit(most)
    return tx.execute(delete_from(table).where(tuple_(*key).in_(over)), {"age": age}).rowcount
