"""What tenants have and have used: counted in the transaction that decides, booked in the one that ends a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from zlib import crc32

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.quota import Kind, Quota, Tenant, Used, month
from broker.jobs.model import Phase
from broker.store import accounts
from broker.store.account_tables import stored, usage
from broker.store.tables import ACTIVE_ROW, LIVE_ROW, job_files, jobs, now, uploads

LOCKS = 20261123  # PostgreSQL: the first half of the advisory locks under which a tenant's last place is given away
RUNNING_LOCK = 20261124
COUNTED = {  # limits, and what of `Used` counts against them
    "queued": "queued",
    "running": "running",
    "cpu_hours": "core_seconds",
    "storage_bytes": "storage_bytes",
}
COLUMNS = {Kind.PERSON: "owner", Kind.PROJECT: "project", Kind.DELEGATE: "delegate"}
_LOCK = select(func.pg_advisory_xact_lock(LOCKS, bindparam("which")))
_LOCK_RUNNING = select(func.pg_advisory_xact_lock(RUNNING_LOCK))
_KEPT = select(func.coalesce(func.sum(job_files.c.size), 0)).where(
    job_files.c.job_id == bindparam("job"), job_files.c.kept
)
_EMPTY = delete(stored).where(
    stored.c.owner == bindparam("of_owner"),
    stored.c.project == bindparam("of_project"),
    stored.c.delegate == bindparam("of_delegate"),
    stored.c.bytes <= 0,
)
# What steps were measured to use, of all attempts. A row that somebody damaged counts for nothing and keeps no job from
# ending. PostgreSQL before 16 cannot ask whether a text is JSON; but no text within JSON has bare quotation marks.
_NUMBER = r'"cpuSeconds":([0-9]{1,15}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,2})?)[,}]'
_CPU = {
    "sqlite": text(
        "select coalesce(sum(json_extract(step, '$.cpuSeconds')), 0.0) from job_steps"
        " where job_id = :job and json_valid(step)"
    ),
    "postgresql": text(
        "select coalesce(sum(substring(step from :number)::float8), 0.0) from job_steps where job_id = :job"
    ).bindparams(number=_NUMBER),
}


def lock(tx: Connection, tenants: Iterable[Tenant]) -> None:
    """Until the end of the transaction nobody else decides about these tenants. SQLite has one writer anyway."""
    if tx.dialect.name == "postgresql":
        for which in sorted({crc32(str(tenant).encode()) - 2**31 for tenant in tenants}):
            tx.execute(_LOCK, {"which": which})


def lock_running(tx: Connection) -> None:
    """The same for who starts next, on whatever platform."""
    if tx.dialect.name == "postgresql":
        tx.execute(_LOCK_RUNNING)


def of(tx: Connection, tenant: Tenant, quota: Quota, at: float) -> Used:
    """What counts against the limits that a quota sets, at a moment (epoch seconds); the rest is left at 0."""
    names = tuple(name for name in COUNTED if getattr(quota, name) is not None)
    if not names:
        return Used()
    given = {"tenant": tenant.id, "most": (quota.queued or 0) + 1, "month": month(at)}
    found = tx.execute(_counting(tenant.kind, names), given).one()
    exact = {
        name: float(value) if name == "cpu_hours" else int(value) for name, value in zip(names, found, strict=True)
    }
    return Used(**{COUNTED[name]: value for name, value in exact.items()})  # type: ignore[arg-type]


EVERYTHING = Quota(queued=2**31, running=2**31, cpu_hours=0.0, storage_bytes=0)


def book(tx: Connection, job: RowMapping) -> None:
    """Book a job (its row) that ends in this transaction: what it held, what it used of that, what it keeps."""
    of_job = {"job": job["id"]}
    who = {"owner": job["owner"], "project": job["project"], "delegate": job["delegate"] or ""}
    cpu = float(tx.execute(_CPU[tx.dialect.name], of_job).scalar_one())
    booked = {"period": month(job["updated"]), "jobs": 1, "core_seconds": job["spent"], "cpu_seconds": cpu}
    tx.execute(_adding(tx.dialect.name, usage, ("jobs", "core_seconds", "cpu_seconds")), who | booked)
    kept = int(tx.execute(_KEPT, of_job).scalar_one())
    if kept:
        tx.execute(_adding(tx.dialect.name, stored, ("bytes",)), who | {"bytes": kept})
    accounts.write(tx, job, cpu, kept)


def free(tx: Connection, job_id: str, owner: str, project: str, delegate: str | None) -> int:
    """The kept files of an ended job will be gone with this transaction: how many bytes."""
    kept = int(tx.execute(_KEPT, {"job": job_id}).scalar_one())
    if kept:
        who = {"owner": owner, "project": project, "delegate": delegate or ""}
        tx.execute(_adding(tx.dialect.name, stored, ("bytes",)), who | {"bytes": -kept})
        tx.execute(_EMPTY, {f"of_{name}": value for name, value in who.items()})
    return kept


def months(tx: Connection, tenant: Tenant, most: int = 12) -> Sequence[Mapping[str, Any]]:
    """The last months of a tenant, newest first: period, jobs, core_seconds, cpu_seconds."""
    u = usage.c
    sums = [func.sum(u[name]).label(name) for name in ("jobs", "core_seconds", "cpu_seconds")]
    query = select(u.period, *sums).where(u[COLUMNS[tenant.kind]] == tenant.id).group_by(u.period)
    return [dict(row) for row in tx.execute(query.order_by(u.period.desc()).limit(most)).mappings()]


# Statements are built once, one for each kind: SQLAlchemy takes longer to build one than SQLite to run it


def _is(table: Table, kind: Kind) -> ColumnElement[bool]:
    return table.c[COLUMNS[kind]] == bindparam("tenant")


@cache
def _counting(kind: Kind, names: tuple[str, ...]) -> Select[Any]:
    """All of them in one statement."""
    of = {"queued": _waiting, "running": _running, "cpu_hours": _spent, "storage_bytes": _bytes}
    return select(*(of[name](kind).scalar_subquery().label(name) for name in names))


def _waiting(kind: Kind) -> Select[Any]:
    """Counted no further than it matters."""
    some = select(jobs.c.owner).where(LIVE_ROW, _is(jobs, kind), jobs.c.phase == Phase.ACCEPTED.value)
    return select(func.count()).select_from(some.limit(bindparam("most")).subquery())


def _running(kind: Kind) -> Select[Any]:
    return select(func.count()).select_from(jobs).where(ACTIVE_ROW, _is(jobs, kind))


def _spent(kind: Kind) -> Select[Any]:
    total = func.coalesce(func.sum(usage.c.core_seconds), 0.0)
    return select(total).where(_is(usage, kind), usage.c.period == bindparam("month"))


def _bytes(kind: Kind) -> Select[Any]:
    """Kept results, and uploads: what has arrived, or is announced where that is more."""
    results = select(func.coalesce(func.sum(stored.c.bytes), 0)).where(_is(stored, kind))
    return select(results.scalar_subquery() + _uploaded(kind).scalar_subquery())


def _uploaded(kind: Kind) -> Select[Any]:
    u = uploads.c
    announced = func.coalesce(u.size, 0)
    larger = u.received + (func.abs(announced - u.received) + announced - u.received) / 2  # the same on both
    return select(func.coalesce(func.sum(larger), 0)).where(_is(uploads, kind), u.expires > now())


@cache
def _adding(dialect: str, table: Table, columns: tuple[str, ...]) -> Insert:
    """Add to the columns of a row, which is made where it is not there."""
    make = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    key = [column.name for column in table.primary_key]
    added = {name: table.c[name] + make.excluded[name] for name in columns}
    return make.values({column.name: bindparam(column.name) for column in table.c}).on_conflict_do_update(
        index_elements=key, set_=added
    )
