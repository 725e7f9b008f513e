"""The outbox: what has to be told to the queue, written in the transaction that causes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from broker.store.tables import deliveries, now


@dataclass(frozen=True, slots=True)
class Delivery:
    """A nudge: `verb` is a task of `broker.queue.tasks`."""

    id: int
    job_id: str
    platform: str
    verb: str


def add(tx: Connection, job_id: str, platform: str, verb: str) -> None:
    tx.execute(insert(deliveries).values(job_id=job_id, platform=platform, verb=verb, created=now()))


def pending(tx: Connection, limit: int = 500) -> list[Delivery]:
    """The oldest first."""
    d = deliveries.c
    query = select(d.id, d.job_id, d.platform, d.verb).order_by(d.id).limit(limit)
    return [Delivery(row.id, row.job_id, row.platform, row.verb) for row in tx.execute(query)]


def sent(tx: Connection, ids: Sequence[int]) -> None:
    """Forget deliveries that the queue has. A crash before this sends them twice, which harms nothing."""
    tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
