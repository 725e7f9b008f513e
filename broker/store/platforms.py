"""Platform rows: what each platform offered when it was last checked. Placement reads these, never a platform."""

from __future__ import annotations

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.errors import NoSuchPlatform
from broker.jobs.model import Capabilities
from broker.jobs.placement import Candidate
from broker.platform import Health
from broker.store.tables import now, platforms

t = platforms.c
# built once: it is part of every submission
_ALL = select(t.name, t.capabilities, t.available, t.paused, t.message).order_by(t.position, t.name)


def checked(tx: Connection, name: str, adapter: str, position: int, health: Health) -> None:
    """Store the outcome of a check; whether an operator paused the platform is left alone."""
    values = {
        "adapter": adapter,
        "position": position,
        "available": health.available,
        "capabilities": health.capabilities.to_json(),
        "message": health.message,
        "checked": now(),
    }
    if not tx.execute(update(platforms).where(t.name == name).values(**values)).rowcount:
        make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        # another host that has the platform may have been quicker
        tx.execute(make(platforms).values(name=name, paused=False, **values).on_conflict_do_nothing())


def candidates(tx: Connection) -> list[Candidate]:
    """All platforms in the operator's order."""
    return [
        Candidate(row.name, Capabilities.from_json(row.capabilities), row.available, row.paused, row.message)
        for row in tx.execute(_ALL)
    ]


def one(tx: Connection, name: str) -> Candidate:
    """Raises NoSuchPlatform."""
    for candidate in candidates(tx):
        if candidate.name == name:
            return candidate
    raise NoSuchPlatform(f"There is no platform {name!r}.", hint="List them with: broker platforms")
