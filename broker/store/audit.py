"""The audit: who did what for whom, one row after the other, each with the hash of all that went before.

The database refuses to change or delete rows (triggers), and `verify` finds what somebody changed around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Select, bindparam, func, insert, select

from broker.access.principal import Principal
from broker.store.account_tables import audit
from broker.store.tables import now

FIRST = "0" * 64
ONE_AT_A_TIME = 20261122  # PostgreSQL: the advisory lock under which rows are chained; SQLite has one writer anyway
a = audit.c
_LAST = select(a.hash).order_by(a.id.desc()).limit(1)
_ADD = insert(audit)
_CLOCK = select(now())
_PAGE = select(*a).where(a.id > bindparam("after")).order_by(a.id).limit(bindparam("most"))
_NEWEST = select(*a).where(a.id < bindparam("before")).order_by(a.id.desc()).limit(bindparam("most"))
LAST = 2**62
UNCHAINED = ("id", "hash")


@dataclass(frozen=True, slots=True)
class Entry:
    """`actor`: a person's id; `delegate`: the platform that asked in that person's name; `project`: for whom.

    `action`: a verb (deploy, execute, dismiss, share, ...); `subject`: kind/id of what it was done to;
    `outcome`: done | refused; `token`: id of the token used; `address`: of the client; `data`: JSON, no secrets.
    """

    actor: str
    project: str
    action: str
    subject: str
    delegate: str | None = None
    outcome: str = "done"
    token: str | None = None
    address: str | None = None
    data: Mapping[str, Any] | None = None


def entry(principal: Principal, action: str, subject: str, **data: Any) -> Entry:
    """What the principal just did."""
    return Entry(
        actor=principal.owner,
        project=principal.project,
        action=action,
        subject=subject,
        delegate=principal.delegate,
        token=principal.token,
        address=principal.address,
        data=data or None,
    )


def record(tx: Connection, *entries: Entry) -> None:
    """Append, in the transaction that does what is recorded."""
    if not entries:
        return
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(ONE_AT_A_TIME)))
    at = tx.execute(_CLOCK).scalar_one()
    last = tx.execute(_LAST).scalar() or FIRST
    rows = []
    for one in entries:
        row = {"at": at, **asdict(one)}
        last = _chained(last, row)
        rows.append({**row, "hash": last})
    tx.execute(_ADD, rows)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; None: any. `since`: epoch seconds."""

    actor: str | None = None
    project: str | None = None
    action: str | None = None
    since: float | None = None


EVERY = Filter()


def page(tx: Connection, *, after: int = 0, limit: int = 1000, wanted: Filter = EVERY) -> list[dict[str, Any]]:
    """Rows in the order they were written, after the id `after`: the columns of the table."""
    return _rows(tx, _PAGE, wanted, {"after": after, "most": limit})


def newest(tx: Connection, *, before: int = LAST, limit: int = 1000, wanted: Filter = EVERY) -> list[dict[str, Any]]:
    """The same from the newest on, before the id `before`."""
    return _rows(tx, _NEWEST, wanted, {"before": before, "most": limit})


def _rows(tx: Connection, query: Select[Any], wanted: Filter, bounds: Mapping[str, int]) -> list[dict[str, Any]]:
    for name in ("actor", "project", "action"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(a[name] == value)
    if wanted.since is not None:
        query = query.where(a.at >= wanted.since)
    return [{str(name): value for name, value in row.items()} for row in tx.execute(query, bounds).mappings()]


def verify(tx: Connection) -> int | None:
    """The id of the first row that is not what was written, None when all are."""
    return first_wrong(_all(tx))


def first_wrong(rows: Iterable[Mapping[str, Any]]) -> int | None:
    """The id of the first of all rows, in their order, that is not what was written; None when each is."""
    last = FIRST
    for row in rows:
        last = _chained(last, {name: value for name, value in row.items() if name not in UNCHAINED})
        if last != row["hash"]:
            return int(row["id"])
    return None


def hash_of(tx: Connection, row_id: int) -> str | None:
    """The hash of one row, None where there is no such row: what an export of earlier is compared with."""
    return tx.execute(select(a.hash).where(a.id == row_id)).scalar()


def _all(tx: Connection) -> Iterator[Mapping[str, Any]]:
    after = 0
    while rows := page(tx, after=after):
        yield from rows
        after = rows[-1]["id"]


def _chained(last: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256(last.encode() + orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()
