"""The pace of each platform, shared by all workers; only the database's clock counts."""

from __future__ import annotations

from sqlalchemy import Connection, Select, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.jobs.pace import TRIAL_SECONDS, Pace, full
from broker.store.platform_tables import platform_pace
from broker.store.tables import now

p = platform_pace.c
_NAMED = p.name == bindparam("of")
_FIELDS = (p.tokens, p.failures, (p.closed_until - p.at).label("closed"), (now() - p.at).label("since"))
_GET = select(*_FIELDS).where(_NAMED)
_LOCK = _GET.with_for_update()  # SQLite has one writer anyway, and no word for this
_TRY = update(platform_pace).where(_NAMED, p.closed_until <= now()).values(closed_until=now() + TRIAL_SECONDS)


def get(tx: Connection, name: str, rate: float | None) -> Pace:
    """As it is now, at `rate` requests a second."""
    return _read(tx, _GET, name, rate)


def _read(tx: Connection, query: Select[tuple[float, int, float, float]], name: str, rate: float | None) -> Pace:
    row = tx.execute(query, {"of": name}).first()
    return Pace(full(rate)) if row is None else Pace(row.tokens, row.failures, row.closed).later(row.since, rate)


def try_again(tx: Connection, name: str) -> bool:
    """Whether the caller is the one who finds out if a platform answers again; nobody else is for a minute."""
    return tx.execute(_TRY, {"of": name}).rowcount == 1


def forget(tx: Connection, name: str) -> None:
    """As if the platform had never been called."""
    tx.execute(delete(platform_pace).where(p.name == name))


def called(
    tx: Connection, name: str, rate: float | None, requests: int, *, silent: bool, retry_after: float | None
) -> Pace:
    """A platform was called with so many requests, and answered or not."""
    known = _read(tx, _LOCK, name, rate)
    after = known.silent(requests, retry_after) if silent else known.answered(requests)
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    values = {"tokens": after.tokens, "failures": after.failures, "at": now(), "closed_until": now() + after.closed}
    row = make(platform_pace).values(name=name, **values)
    tx.execute(row.on_conflict_do_update(index_elements=[p.name], set_=values))
    return after
