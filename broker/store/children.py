"""Children: what a job needs from other platforms, and the jobs that run those steps there.

A need is written when an attempt ends with it, gets its child when that can be placed, and stays: the next attempts
take what the child gave by the need's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.jobs.lifecycle import Child
from broker.jobs.model import Failure, Job, Phase
from broker.jobs.observation import Need
from broker.store import deliveries, quarantine, removals
from broker.store.account_tables import holds
from broker.store.jobs import NewJob, as_job, insert_jobs, request_dismiss
from broker.store.tables import LIVE_ROW, job_needs, jobs, now

n, c = job_needs.c, jobs.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """A need as kept: the tool as a document, and its inputs as a job order whose files are the attempt's, by paths."""

    key: str
    attempt: int
    step: str
    platform: str
    tool: Mapping[str, Any]
    order: Mapping[str, Any]
    child: str | None


def note(tx: Connection, job: Job, needs: Sequence[Need], orders: Mapping[str, Any]) -> None:
    """An attempt has ended with needs; `orders` by their keys."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    rows = [
        {
            "job_id": job.id,
            "key": need.key,
            "attempt": job.attempt,
            "step": need.step,
            "platform": need.platform,
            "tool": dict(need.tool),
            "job_order": orders[need.key],
        }
        for need in needs
    ]
    tx.execute(make(job_needs).on_conflict_do_nothing(), rows)


def of_attempt(tx: Connection, job: Job) -> list[Wanted]:
    """The needs with which the job's present attempt ended."""
    return _read(tx, job.id, n.attempt == job.attempt)


def every(tx: Connection, job_id: str) -> list[Wanted]:
    """The needs of all attempts."""
    return _read(tx, job_id)


def _read(tx: Connection, job_id: str, *more: Any) -> list[Wanted]:
    columns = (n.key, n.attempt, n.step, n.platform, n.tool, n.job_order, n.child)
    query = select(*columns).where(n.job_id == job_id, *more).order_by(n.attempt, n.step, n.key)
    return [Wanted(*row) for row in tx.execute(query)]


def any_of_attempt(tx: Connection, job: Job) -> bool:
    query = select(n.key).where(n.job_id == job.id, n.attempt == job.attempt).limit(1)
    return tx.execute(query).first() is not None


def rounds(tx: Connection, job: Job) -> Mapping[str, int]:
    """In how many attempts each step was needed."""
    query = select(n.step, func.count(func.distinct(n.attempt))).where(n.job_id == job.id).group_by(n.step)
    return {step: count for step, count in tx.execute(query)}


def add(tx: Connection, job: Job, new: Mapping[str, NewJob]) -> None:
    """The children of needs, by their keys, as jobs that wait for their platforms."""
    insert_jobs(tx, list(new.values()))
    for key, child in new.items():
        tx.execute(update(jobs).where(c.id == child.id).values(parent=job.id, step_key=key))
        held = {"job_id": child.id, "reason": f"the job {job.id} goes on with them", "created": now()}
        tx.execute(insert(holds).values(held))
        tx.execute(update(job_needs).where(n.job_id == job.id, n.key == key).values(child=child.id))


def of_needs(tx: Connection, job: Job) -> list[Child]:
    """The children of the present attempt, those that have failed first."""
    query = (
        select(c.id, n.step, c.platform, c.phase, c.failure)
        .join_from(job_needs, jobs, c.id == n.child)
        .where(n.job_id == job.id, n.attempt == job.attempt)
        .order_by(c.finished, c.id)
    )
    found = [
        Child(one.id, one.step, one.platform, Phase(one.phase), Failure.from_json(one.failure) if one.failure else None)
        for one in tx.execute(query)
    ]
    return sorted(found, key=lambda child: child.phase is not Phase.FAILED)


def ended(tx: Connection, row: RowMapping) -> None:
    """A child has ended with this transaction: its parent is looked at. Whoever goes on with that one locks its row,
    which is waited for here, so that neither overlooks the other."""
    due = update(jobs).where(c.id == row["parent"], c.phase == Phase.WAITING.value).values(due_at=row["updated"])
    platform = tx.execute(due.returning(c.platform)).scalar()
    if platform is not None:
        deliveries.add(tx, "children", {row["parent"]: platform})


def let_go(tx: Connection, job: Job) -> None:
    """A job has ended: nobody needs what its children still do, or have."""
    live = select(jobs).where(c.parent == job.id, LIVE_ROW).order_by(c.id)
    for child in quarantine.readable(tx, tx.execute(live).mappings().all(), as_job):
        request_dismiss(tx, child)
    tx.execute(delete(holds).where(holds.c.job_id.in_(select(c.id).where(c.parent == job.id))))


def gone_on(tx: Connection, job: Job) -> None:
    """What was kept of the present attempt for its children is not needed any more."""
    removals.add(tx, f"{job.owner}/{job.id}/{job.attempt}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A child as its parent's status and pages show it."""

    id: str
    step: str
    platform: str
    phase: Phase
    attempt: int
    dismiss_requested: bool
    message: str
    started: float | None
    finished: float | None


def shown(tx: Connection, job_id: str, most: int) -> list[Shown]:
    """The children of a job in the order in which they were made."""
    told = (c.dismiss_requested, c.message, c.started, c.finished)
    columns = (c.id, n.step, c.platform, c.phase, n.attempt, *told)
    query = select(*columns).join_from(job_needs, jobs, c.id == n.child).where(n.job_id == job_id)
    rows = tx.execute(query.order_by(n.attempt, c.id).limit(most)).all()
    return [Shown(row[0], row[1], row[2], Phase(row[3]), *row[4:]) for row in rows]
