"""Job rows that cannot be read any more, since somebody damaged them: taken out of the way, so that others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, func, select, update

from broker.jobs.model import TERMINAL, Failure, Fault, Needs, Phase, Reason
from broker.store import account_tables, audit, callbacks, provenance, usage
from broker.store.audit import Entry
from broker.store.tables import Json, Unreadable, job_events, jobs, now

BROKER = "broker"  # the actor of what the broker does by itself
ACTION = "quarantine"
MESSAGE = "The broker's own record of this job was damaged. Execute it again, or ask the operator of this broker."
READING = (ValueError, TypeError, KeyError, AttributeError)  # what reading of a damaged row raises
_NEUTRAL: dict[str, Any] = {column.name: None for column in jobs.c if isinstance(column.type, Json)}
_NEUTRAL |= {"tags": [], "request": {}, "job_order": {}, "stage": [], "needs": Needs().to_json()}
_READ = ("tags", "stage", "needs", "failure")  # whose form matters to whoever reads a row
log = logging.getLogger(__name__)
T = TypeVar("T")


def readable(tx: Connection, rows: Iterable[RowMapping], read: Callable[[RowMapping], T]) -> list[T]:
    """What `read` makes of each row; rows of jobs that it cannot read are taken out of the way."""
    found = []
    for row in rows:
        try:
            if any(isinstance(value, Unreadable) for value in row.values()):
                raise ValueError("not JSON")
            found.append(read(row))
        except READING as error:
            take_out(tx, row["id"], error)
    return found


def take_out(tx: Connection, job_id: str, error: Exception) -> None:
    """Put something readable into the row of a job; one that has not ended ends so, failed by the broker's fault."""
    row = tx.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one()
    spoiled = sorted(name for name, value in row.items() if isinstance(value, Unreadable))
    log.error("the row of the job %s cannot be read (%s: %r)", job_id, ", ".join(spoiled) or "its values", error)
    failure = Failure(Fault.BROKER, Reason.BROKER_ERROR, MESSAGE).to_json()
    # what is JSON, but of a wrong form, is not told from what is of the right one
    values: dict[str, Any] = {name: _NEUTRAL[name] for name in {*spoiled, *_READ}}
    values |= {"updated": now(), "due_at": now(), "lease_owner": None, "lease_until": None, "fence": jobs.c.fence + 1}
    if "subscriber" not in spoiled and not _addresses(row["subscriber"]):
        values["subscriber"] = None
    phase = Phase(row["phase"])
    if phase not in TERMINAL:
        values |= {"phase": Phase.FAILED.value, "message": MESSAGE, "finished": now()}
    if phase not in (Phase.SUCCESSFUL, Phase.DISMISSED):
        values["failure"] = failure
    ended = tx.execute(update(jobs).where(jobs.c.id == job_id).values(values).returning(*jobs.c)).mappings().one()
    if phase not in TERMINAL:
        usage.book(tx, ended)
    data = {"columns": spoiled, "error": type(error).__name__}
    said = {"job_id": job_id, "attempt": row["attempt"], "event": ACTION, "phase": ended["phase"]}
    tx.execute(job_events.insert().values(**said, at=now(), data={"failure": failure}))
    if phase not in TERMINAL:
        provenance.write_damaged(tx, ended)
        if ended["subscriber"] is not None:
            callbacks.ended(tx, ended)
    audit.record(tx, Entry(BROKER, row["project"], ACTION, f"job/{job_id}", data=data | {"owner": row["owner"]}))


def _addresses(subscriber: Any) -> bool:
    return isinstance(subscriber, Mapping) and all(isinstance(one, str) for one in subscriber.values())


def count(tx: Connection, since: float) -> int:
    """How many rows were taken out since a moment (epoch seconds)."""
    a = account_tables.audit.c
    return tx.execute(select(func.count()).where(a.actor == BROKER, a.action == ACTION, a.at >= since)).scalar_one()


def mended(row: RowMapping) -> dict[str, Any]:
    """A row to show, with nothing in the place of all that may be what cannot be read."""
    return {name: _NEUTRAL.get(name, value) for name, value in row.items()}
