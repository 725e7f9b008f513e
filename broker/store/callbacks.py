"""Callbacks: what the subscriber of a job is told, written in the transaction that changes the job.

The deliveries of one job are made in the order of their ids: only the first open one is `pending`, those behind it
are `queued`. A claim raises `tries` and takes a lease, so that one whose deliverer was killed is tried again; who
finishes names the try, and what somebody else has taken over by then stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Double, RowMapping, and_, bindparam, func, insert, or_, select, update

from broker.jobs.model import TERMINAL, Job, Phase
from broker.jobs.secrets import origin
from broker.store.tables import NEXT_ROW, callbacks, jobs, now

IN_PROGRESS, SUCCESS, FAILED = "inProgress", "success", "failed"
PENDING, QUEUED, DELIVERED, GIVEN_UP, SUPERSEDED = "pending", "queued", "delivered", "failed", "superseded"
OPEN = (PENDING, QUEUED)
PROGRESS_SECONDS = 10.0  # between two reports of one job's progress, at least
PATIENCE = 3  # tries of a report of progress before later news of the job go first
LOOKED_AT = 64  # due ones that are looked at in one claim
_UNDER_WAY = (Phase.RUNNING, Phase.COLLECTING)  # short jobs are seen in the second only
c = callbacks.c
_FREE = or_(c.lease_until.is_(None), c.lease_until <= now())
_DUE = (
    select(c.id, c.origin, c.owner)
    .where(NEXT_ROW, c.due_at <= now(), _FREE)
    .where(c.origin.not_in(bindparam("origins", expanding=True)), c.owner.not_in(bindparam("owners", expanding=True)))
    .order_by(c.due_at)
    .limit(LOOKED_AT)
)
_TAKE = (
    update(callbacks)
    .where(c.id.in_(bindparam("ids", expanding=True)), NEXT_ROW, c.due_at <= now(), _FREE)
    .values(tries=c.tries + 1, lease_until=now() + bindparam("seconds", type_=Double), updated=now())
    .returning(*c)
)


@dataclass(frozen=True, slots=True)
class Callback:
    """One thing to tell one address. `kind`: inProgress | success | failed; `seen`: how the job was then (None: as
    it ended); `tries`: those that were begun; `status`: of the last answer."""

    id: int
    job_id: str
    owner: str
    kind: str
    uri: str
    origin: str
    state: str
    seen: Mapping[str, Any] | None
    tries: int
    due_at: float
    lease_until: float | None
    status: int | None
    message: str
    created: float
    updated: float


_NAMES = [field.name for field in fields(Callback)]


def note(tx: Connection, before: Job, row: RowMapping) -> None:
    """A job with a subscriber has changed to `row`: what there is to tell about that, if anything."""
    phase = Phase(row["phase"])
    if phase in TERMINAL and before.phase not in TERMINAL:
        ended(tx, row)
    elif phase in _UNDER_WAY and _moved(before, row):
        _progress(tx, row)


def ended(tx: Connection, row: RowMapping) -> None:
    """A job with a subscriber has ended."""
    _give_way(tx, row["id"])
    _add(tx, row, SUCCESS if row["phase"] == Phase.SUCCESSFUL.value else FAILED, None, 0.0)


def _moved(before: Job, row: RowMapping) -> bool:
    old = (None, None) if before.progress is None else (before.progress.done, before.progress.total)
    return before.phase not in _UNDER_WAY or old != (row["progress_done"], row["progress_total"])


def _progress(tx: Connection, row: RowMapping) -> None:
    """At most one report that nobody has begun to send, at most one in some seconds."""
    names = ("phase", "message", "progress_done", "progress_total", "attempt", "started", "updated")
    seen = {name: row[name] for name in names}
    mine = and_(c.job_id == row["id"], c.kind == IN_PROGRESS)
    untouched = update(callbacks).where(mine, c.state.in_(OPEN), c.tries == 0).values(seen=seen)
    if tx.execute(untouched).rowcount:
        return
    wait = PROGRESS_SECONDS + func.coalesce(func.max(c.created), 0.0) - now()
    left: float = tx.execute(select(wait).where(mine)).scalar_one()
    _add(tx, row, IN_PROGRESS, seen, max(0.0, left))


def _add(tx: Connection, row: RowMapping, kind: str, seen: Mapping[str, Any] | None, wait: float) -> None:
    uri = row["subscriber"].get(kind)
    if uri is None:
        return
    behind = tx.execute(select(c.id).where(c.job_id == row["id"], c.state.in_(OPEN)).limit(1)).first()
    tx.execute(
        insert(callbacks).values(
            job_id=row["id"],
            owner=row["owner"],
            kind=kind,
            uri=uri,
            origin=origin(uri) or "",
            state=PENDING if behind is None else QUEUED,
            seen=seen,
            tries=0,
            due_at=now() + wait,
            message="",
            created=now(),
            updated=now(),
        )
    )


def _give_way(tx: Connection, job_id: str) -> None:
    """The job has ended: a report of its progress that was held back says nothing any more, nor is one waited for
    that was tried often enough."""
    held_back = and_(c.tries == 0, c.due_at > now())
    stale = and_(c.job_id == job_id, c.kind == IN_PROGRESS, c.state.in_(OPEN), _FREE)
    tx.execute(
        update(callbacks).where(stale, or_(held_back, c.tries >= PATIENCE)).values(state=SUPERSEDED, updated=now())
    )
    _move_up(tx, job_id)


def _move_up(tx: Connection, job_id: str) -> None:
    """It is the turn of the first open one."""
    first = select(func.min(c.id)).where(c.job_id == job_id, c.state.in_(OPEN)).scalar_subquery()
    tx.execute(update(callbacks).where(c.id == first, c.state == QUEUED).values(state=PENDING))


def claim(
    tx: Connection,
    seconds: float,
    most: int,
    *,
    origins: Mapping[str, int],
    owners: Mapping[str, int],
    each_origin: int,
    each_owner: int,
) -> list[Callback]:
    """Take up to `most` that are due, for `seconds`. `origins`, `owners`: how many of theirs are under way; no more
    than so many of each are."""
    there, theirs = dict(origins), dict(owners)
    full = {
        "origins": [name for name, count in there.items() if count >= each_origin],
        "owners": [name for name, count in theirs.items() if count >= each_owner],
    }
    chosen: list[int] = []
    for row in tx.execute(_DUE, full):
        if len(chosen) < most and there.get(row.origin, 0) < each_origin and theirs.get(row.owner, 0) < each_owner:
            there[row.origin] = there.get(row.origin, 0) + 1
            theirs[row.owner] = theirs.get(row.owner, 0) + 1
            chosen.append(row.id)
    if not chosen:
        return []
    return [_callback(row) for row in tx.execute(_TAKE, {"ids": chosen, "seconds": seconds}).mappings()]


def due(tx: Connection) -> bool:
    """Whether any is to be delivered now."""
    return tx.execute(_DUE.limit(1), {"origins": [], "owners": []}).first() is not None


def finish(
    tx: Connection, taken: Callback, state: str, *, status: int | None, message: str, again: float = 0.0
) -> bool:
    """What became of a try: DELIVERED, GIVEN_UP, or PENDING to try again in `again` seconds. False: somebody else has
    it by now."""
    if tx.dialect.name == "postgresql":  # what is added for the job meanwhile waits; SQLite has one writer anyway
        tx.execute(select(jobs.c.id).where(jobs.c.id == taken.job_id).with_for_update())
    later = and_(c.job_id == taken.job_id, c.id > taken.id, c.state == QUEUED)
    if state == PENDING and taken.kind == IN_PROGRESS and taken.tries >= PATIENCE:
        state = SUPERSEDED if tx.execute(select(c.id).where(later).limit(1)).first() else PENDING
    mine = and_(c.id == taken.id, c.tries == taken.tries, c.state == PENDING)
    values: dict[str, Any] = {"state": state, "status": status, "message": message, "updated": now()}
    done = tx.execute(update(callbacks).where(mine).values(**values, lease_until=None, due_at=now() + again))
    if done.rowcount == 0:
        return False
    if state != PENDING:
        _move_up(tx, taken.job_id)
    return True


def of_job(tx: Connection, job_id: str) -> list[Callback]:
    """All of a job, in their order."""
    return [_callback(row) for row in tx.execute(select(*c).where(c.job_id == job_id).order_by(c.id)).mappings()]


def again(tx: Connection, job_id: str) -> int:
    """What was given up of a job is tried once more from the start; how many."""
    fresh = {"state": QUEUED, "tries": 0, "due_at": now(), "lease_until": None, "created": now(), "updated": now()}
    ended = update(callbacks).where(c.job_id == job_id, c.state == GIVEN_UP)
    count = tx.execute(ended.values(**fresh)).rowcount
    _move_up(tx, job_id)
    return count


def _callback(row: RowMapping) -> Callback:
    return Callback(**{name: row[name] for name in _NAMES})
