"""Jobs that have ended, and what is deleted of them: results, logs, the jobs themselves. Nothing that is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, Table, bindparam, case, delete, exists, or_, select, update

from broker.access.quota import Tenant
from broker.jobs.model import TERMINAL, Phase
from broker.store import callcache, removals, usage
from broker.store.account_tables import holds
from broker.store.callbacks import OPEN
from broker.store.jobs import record
from broker.store.result_tables import comparisons, provenance
from broker.store.tables import callbacks, idempotency, job_events, job_files, job_logs, job_needs, job_steps, jobs, now

c = jobs.c
_ENDED = c.phase.in_([phase.value for phase in TERMINAL])
_FREE = ~exists().where(holds.c.job_id == c.id)
_ROW = select(c.phase, c.attempt, c.owner, c.project, c.delegate).where(c.id == bindparam("job"))
_PAGE = (
    select(c.id, c.finished)
    .where(c.finished <= now() - bindparam("age", type_=Double), c.finished >= bindparam("since", type_=Double))
    .where(or_(c.finished > bindparam("since", type_=Double), c.id > bindparam("after")))
    .order_by(c.finished, c.id)
    .limit(bindparam("most"))
)
_HAS_RESULTS = c.swept.is_(None)
_HAS_LOGS = exists().where(job_logs.c.job_id == c.id)
_WHICH = {
    "results": _PAGE.where(_HAS_RESULTS, _FREE),
    "logs": _PAGE.where(_HAS_LOGS, _FREE),
    "jobs": _PAGE.where(_FREE),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a walk over ended jobs has come."""

    finished: float = 0.0
    job_id: str = ""


def page(tx: Connection, kind: str, age: float, after: Mark, most: int, tenant: Tenant | None = None) -> list[Mark]:
    """Jobs (of one tenant) that ended at least `age` seconds ago and still have something of that kind (results, logs,
    jobs)."""
    wanted = {"age": age, "since": after.finished, "after": after.job_id, "most": most}
    which = _WHICH[kind] if tenant is None else _WHICH[kind].where(c[usage.COLUMNS[tenant.kind]] == tenant.id)
    return [Mark(row.finished, row.id) for row in tx.execute(which, wanted)]


def held(tx: Connection, job_id: str) -> list[str]:
    """Why the results of a job may not be deleted now."""
    return list(tx.execute(select(holds.c.reason).where(holds.c.job_id == job_id)).scalars())


def sweep_results(tx: Connection, job_id: str, message: str, data: dict[str, Any]) -> int | None:
    """The results of an ended job are gone with this transaction: how many bytes. None: there is nothing to delete,
    or something needs it. `message` is what the job says from now on, unless it failed: that reason stays."""
    new = case((c.phase == Phase.SUCCESSFUL.value, message), else_=c.message)
    gone = {"swept": now(), "updated": now(), "message": new, "outputs": None}
    if not tx.execute(update(jobs).where(c.id == job_id, _ENDED, _HAS_RESULTS, _FREE).values(gone)).rowcount:
        return None
    row = tx.execute(_ROW, {"job": job_id}).one()
    size = _drop_files(tx, job_id, row)
    callcache.drop(tx, job_id)
    record(tx, job_id, row.attempt, "results-deleted", Phase(row.phase), data | {"bytes": size})
    return size


def _drop_files(tx: Connection, job_id: str, row: Any) -> int:
    size = usage.free(tx, job_id, row.owner, row.project, row.delegate)
    tx.execute(delete(job_files).where(job_files.c.job_id == job_id))
    removals.add(tx, f"{row.owner}/{job_id}")  # of all attempts: `execution.collect.key`
    return size


def delete_logs(tx: Connection, job_id: str) -> bool:
    """What the steps of an ended job wrote."""
    row = tx.execute(_ROW.where(_ENDED, _FREE), {"job": job_id}).first()
    if row is None or not tx.execute(delete(job_logs).where(job_logs.c.job_id == job_id)).rowcount:
        return False
    record(tx, job_id, row.attempt, "logs-deleted", Phase(row.phase), None)
    return True


def forget(tx: Connection, job_id: str) -> bool:
    """Delete an ended job with all that is its own; not while something is left of it on its platform, or its
    subscriber is still to be told."""
    row = tx.execute(_ROW, {"job": job_id}).first()
    callcache.drop(tx, job_id)  # where there was something, its platform comes first
    untold = exists().where(callbacks.c.job_id == c.id, callbacks.c.state.in_(OPEN))
    gone = delete(jobs).where(c.id == job_id, _ENDED, _FREE, ~untold, c.due_at.is_(None), c.lease_until.is_(None))
    if row is None or not tx.execute(gone).rowcount:
        return False
    _drop_files(tx, job_id, row)
    tables: tuple[Table, ...] = (job_events, job_logs, job_steps, callbacks, provenance, comparisons, job_needs)
    for table in tables:
        tx.execute(delete(table).where(table.c.job_id == job_id))
    tx.execute(delete(idempotency).where(idempotency.c.owner == row.owner, idempotency.c.job_id == job_id))
    return True
