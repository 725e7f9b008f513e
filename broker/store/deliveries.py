"""The outbox: what has to be told to the queue, written in the transaction that causes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select

from broker.store.tables import deliveries, now

_ADD = insert(deliveries).values(
    {name: bindparam(name) for name in ("job_id", "platform", "verb")} | {"created": now()}
)  # built once: it is part of every submission


@dataclass(frozen=True, slots=True)
class Delivery:
    """A nudge: `verb` is a task of `broker.queue.tasks`."""

    id: int
    job_id: str
    platform: str
    verb: str


def add(tx: Connection, verb: str, jobs: Mapping[str, str]) -> None:
    """One nudge for each job; `jobs`: job id -> its platform."""
    tx.execute(_ADD, [{"job_id": job_id, "platform": platform, "verb": verb} for job_id, platform in jobs.items()])


def pending(tx: Connection, *, after: int = 0, age: float = 0.0, limit: int = 500) -> list[Delivery]:
    """The oldest first: later than the one with the id `after`, and older than `age` seconds."""
    d = deliveries.c
    query = select(d.id, d.job_id, d.platform, d.verb).where(d.id > after).order_by(d.id).limit(limit)
    if age:
        query = query.where(d.created < now() - age)
    return [Delivery(row.id, row.job_id, row.platform, row.verb) for row in tx.execute(query)]


def sent(tx: Connection, ids: Sequence[int]) -> None:
    """Forget deliveries that the queue has. A crash before this sends them twice, which harms nothing."""
    tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
