"""The outbox: what has to be told to the queue, written in the transaction that causes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Double, bindparam, delete, insert, select

from broker.store.tables import deliveries, now

_ADD = insert(deliveries).values(
    {name: bindparam(name) for name in ("job_id", "platform", "verb")} | {"created": now()}
)  # built once: it is part of every submission


_d = deliveries.c
_PENDING = (
    select(_d.id, _d.job_id, _d.platform, _d.verb)
    .where(_d.id > bindparam("after"), _d.created <= now() - bindparam("age", type_=Double))
    .order_by(_d.id)
    .limit(bindparam("most"))
)


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
    rows = tx.execute(_PENDING, {"after": after, "age": age, "most": limit})
    return [Delivery(row.id, row.job_id, row.platform, row.verb) for row in rows]


def sent(tx: Connection, ids: Sequence[int]) -> None:
    """Forget deliveries that the queue has. A crash before this sends them twice, which harms nothing."""
    tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
