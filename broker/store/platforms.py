"""Platform rows: what each platform offered when it was last checked. Placement reads these, never a platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.errors import NoSuchPlatform
from broker.jobs.model import Capabilities, Phase
from broker.jobs.placement import Candidate
from broker.jobs.schedule import Load
from broker.jobs.terms import NO_TERMS, Terms
from broker.platform import Health
from broker.store import pace
from broker.store.tables import ACTIVE_ROW, LIVE_ROW, jobs, now, platforms

t = platforms.c
# built once: it is part of every submission
_ALL = select(t.name, t.capabilities, t.available, t.paused, t.message, t.terms, t.adapter).order_by(t.position, t.name)
_CLOSED = select(t.name, t.paused, t.message, t.since).where(or_(t.paused, t.available.is_(False)))
_ONE = _ALL.where(t.name == bindparam("one"))
_LOADS = (
    select(jobs.c.platform, func.count(), func.sum(jobs.c.cores), func.sum(jobs.c.ram_mib))
    .where(ACTIVE_ROW, jobs.c.platform.in_(bindparam("names", expanding=True)))
    .group_by(jobs.c.platform)
)
_QUEUES = select(jobs.c.platform, jobs.c.phase, func.count()).where(LIVE_ROW).group_by(jobs.c.platform, jobs.c.phase)


def checked(tx: Connection, name: str, adapter: str, position: int, health: Health, terms: Terms = NO_TERMS) -> None:
    """Store the outcome of a check; whether an operator paused the platform is left alone."""
    values = {
        "terms": terms.to_json() or None,
        "adapter": adapter,
        "position": position,
        "available": health.available,
        "capabilities": health.capabilities.to_json(),
        "message": health.message,
        "checked": now(),
        "since": case((t.available.is_(health.available), t.since), else_=now()),
    }
    if not tx.execute(update(platforms).where(t.name == name).values(**values)).rowcount:
        make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        # another host that has the platform may have been quicker
        first = values | {"name": name, "paused": False, "since": now()}
        tx.execute(make(platforms).values(first).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Closed:
    """A platform that takes no jobs now: an operator paused it, or it has not answered `since` (epoch seconds)."""

    paused: bool
    message: str
    since: float | None


def closed(tx: Connection) -> Mapping[str, Closed]:
    """Those that take no jobs now, by name."""
    return {name: Closed(paused, message, since) for name, paused, message, since in tx.execute(_CLOSED)}


def candidates(tx: Connection) -> list[Candidate]:
    """All platforms in the operator's order."""
    return [_candidate(row) for row in tx.execute(_ALL)]


def one(tx: Connection, name: str) -> Candidate:
    """Raises NoSuchPlatform."""
    row = tx.execute(_ONE, {"one": name}).first()
    if row is None:
        raise NoSuchPlatform(f"There is no platform {name!r}.", hint="List them with: broker platforms")
    return _candidate(row)


def _candidate(row: Sequence[Any]) -> Candidate:
    name, capabilities, available, paused, message, told, adapter = row
    terms = Terms.from_json(told) if told else NO_TERMS
    offer = Capabilities.from_json(capabilities)
    if terms.slots is not None and (offer.slots is None or terms.slots < offer.slots):
        offer = replace(offer, slots=terms.slots)
    return Candidate(name, offer, available, paused, message, terms, adapter)


def loads(tx: Connection, names: Iterable[str]) -> Mapping[str, Load]:
    """What jobs hold of these platforms now; those with none are left out."""
    rows = tx.execute(_LOADS, {"names": list(names)})
    return {name: Load(count, float(cores), int(ram_mib)) for name, count, cores, ram_mib in rows}


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs of a platform: those that wait for it, those it has, those whose results are collected."""

    waiting: int = 0
    active: int = 0
    collecting: int = 0


def queues(tx: Connection) -> Mapping[str, Queue]:
    """Of all platforms; those with no jobs are left out."""
    found: dict[str, Queue] = {}
    names = {Phase.ACCEPTED.value: "waiting", Phase.COLLECTING.value: "collecting"}
    for platform, phase, count in tx.execute(_QUEUES):
        queue, name = found.get(platform, Queue()), names.get(phase, "active")
        found[platform] = replace(queue, **{name: getattr(queue, name) + count})
    return found


def left_on(tx: Connection, name: str) -> int:
    """How many jobs a platform has, or keeps something of (they have ended, and are not released)."""
    there = or_(LIVE_ROW, jobs.c.due_at.is_not(None))
    return int(tx.execute(select(func.count()).where(jobs.c.platform == name, there)).scalar_one())


def pause(tx: Connection, name: str, paused: bool) -> None:
    tx.execute(update(platforms).where(t.name == name).values(paused=paused))


def remove(tx: Connection, name: str) -> None:
    """Forget a platform."""
    tx.execute(delete(platforms).where(t.name == name))
    pace.forget(tx, name)
