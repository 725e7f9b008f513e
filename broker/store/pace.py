"""The pace of each platform, shared by all workers; only the database's clock counts."""

from __future__ import annotations

from sqlalchemy import Connection, Row, Select, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.jobs.pace import TRIAL_SECONDS, Pace, full
from broker.store.platform_tables import platform_pace
from broker.store.tables import now

p = platform_pace.c
_NAMED = p.name == bindparam("of")
_GET = select(p.tokens, p.failures, p.closed_until, p.at, now().label("moment")).where(_NAMED)
_LOCK = _GET.with_for_update()  # SQLite has one writer anyway, and no word for this
_TRY = update(platform_pace).where(_NAMED, p.closed_until <= now()).values(closed_until=now() + TRIAL_SECONDS)
_OPEN = update(platform_pace).where(_NAMED).values(failures=0, closed_until=now())
_KEEP = (
    update(platform_pace)
    .where(_NAMED)
    .values({name: bindparam(f"new_{name}") for name in ("tokens", "failures", "at", "closed_until")})
)
Found = Row[tuple[float, int, float, float, float]]


def get(tx: Connection, name: str, rate: float | None) -> Pace:
    """As it is now, at `rate` requests a second."""
    row = _row(tx, _GET, name)
    return Pace(full(rate)) if row is None else _read(row, rate)


def _row(tx: Connection, query: Select[tuple[float, int, float, float, float]], name: str) -> Found | None:
    return tx.execute(query, {"of": name}).first()


def _read(row: Found, rate: float | None) -> Pace:
    return Pace(row.tokens, row.failures, row.closed_until - row.at).later(row.moment - row.at, rate)


def _locked(tx: Connection, name: str, rate: float | None) -> tuple[float, Pace]:
    """When, and the pace then; nobody else changes it until the end of the transaction."""
    row = _row(tx, _LOCK, name)
    if row is None:  # where two make it at once, the second waits here for the first
        make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        new = {"name": name, "tokens": full(rate), "failures": 0, "at": now(), "closed_until": now()}
        tx.execute(make(platform_pace).values(new).on_conflict_do_nothing())
        row = _row(tx, _LOCK, name)
        assert row is not None  # noqa: S101 - it was made in this transaction, or by whoever committed before
    return row.moment, _read(row, rate)


def _keep(tx: Connection, name: str, moment: float, pace: Pace) -> Pace:
    values = {"tokens": pace.tokens, "failures": pace.failures, "at": moment, "closed_until": moment + pace.closed}
    tx.execute(_KEEP, {"of": name, **{f"new_{field}": value for field, value in values.items()}})
    return pace


def take(tx: Connection, name: str, rate: float, requests: int) -> Pace:
    """So many requests are going to be sent; the pace before: it says when each of them may."""
    moment, known = _locked(tx, name, rate)
    _keep(tx, name, moment, known.taken(requests))
    return known


def called(tx: Connection, name: str, rate: float | None, *, silent: bool, retry_after: float | None) -> Pace:
    """A platform was called, and answered or not."""
    moment, known = _locked(tx, name, rate)
    return _keep(tx, name, moment, known.silent(retry_after) if silent else known.answered())


def try_again(tx: Connection, name: str) -> bool:
    """Whether the caller is the one who finds out if a platform answers again; nobody else is for a minute."""
    return tx.execute(_TRY, {"of": name}).rowcount == 1


def answers(tx: Connection, name: str) -> None:
    """Somebody else found out that it answers: it may be called at once, within its limit."""
    tx.execute(_OPEN, {"of": name})


def forget(tx: Connection, name: str) -> None:
    """Of a platform that is there no more."""
    tx.execute(delete(platform_pace).where(p.name == name))
