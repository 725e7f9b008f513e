"""Claims on job rows: compare-and-set with a lease and a fence, and saves that only the holder can make.

Only the database's clock counts. A claim raises the fence; every later write carries it, and zero rows
touched means that somebody else has the job now: stop (`LostClaim`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, or_, select, tuple_, update

from broker.jobs import lifecycle, placement, schedule
from broker.jobs.lifecycle import Change
from broker.jobs.model import ACTIVE, TERMINAL, Capabilities, Job, Needs, Phase
from broker.store.jobs import as_job, record
from broker.store.tables import LIVE_ROW, jobs, now, platforms

LEASE_SECONDS = 10.0  # of tasks that take milliseconds; how long a killed worker holds up its jobs
c = jobs.c


class LostClaim(Exception):
    """Somebody else holds the job now: drop what you were doing."""


def _free() -> ColumnElement[bool]:
    return or_(c.lease_until.is_(None), c.lease_until < now())


def claim(
    tx: Connection, job_ids: Sequence[str], phases: Iterable[Phase], holder: str, seconds: float = LEASE_SECONDS
) -> list[Job]:
    """Take those of the jobs that are in one of the phases and free; others are left out."""
    taken = (
        update(jobs)
        .where(c.id.in_(job_ids), c.phase.in_([phase.value for phase in phases]), _free())
        .values(fence=c.fence + 1, lease_owner=holder, lease_until=now() + seconds)
        .returning(*c)
    )
    return [as_job(row) for row in tx.execute(taken).mappings()]


def claim_dismissed(tx: Connection, platform: str, holder: str, limit: int) -> list[Job]:
    """Take live jobs whose owner wishes to dismiss them."""
    query = select(c.id).where(c.platform == platform, c.dismiss_requested, LIVE_ROW, _free()).limit(limit)
    return claim(tx, list(tx.execute(query).scalars()), set(Phase) - TERMINAL, holder)


def released(tx: Connection, job: Job, again: float | None = None) -> None:
    """Nothing is left of an ended job on its platform; with `again`: something is, try in so many seconds."""
    due = None if again is None else now() + again
    free = update(jobs).where(c.id == job.id, c.fence == job.fence)
    tx.execute(free.values(due_at=due, lease_owner=None, lease_until=None))


def claim_due(tx: Connection, platform: str, phases: Iterable[Phase], holder: str, limit: int) -> list[Job]:
    """Take up to `limit` jobs of a platform that are due, the longest due first."""
    query = (
        select(c.id)
        .where(c.platform == platform, c.phase.in_([p.value for p in phases]), c.due_at <= now(), _free())
        .order_by(c.due_at)
        .limit(limit)
    )
    return claim(tx, list(tx.execute(query).scalars()), phases, holder)


def claim_next(tx: Connection, platform: str, offer: Capabilities, holder: str) -> Job | None:
    """Take the job that goes next on a platform, in fair order, if the platform has room for it now.

    Serialised per platform by its row, so that two workers never admit into the same room. A job that has to
    wait for room gets a message that says for what; jobs behind it wait too (no overtaking, no starvation). One
    that the platform has become too small for is taken all the same: it is for the caller to refuse.
    """
    if tx.dialect.name == "postgresql":  # SQLite has one writer anyway
        tx.execute(select(platforms.c.name).where(platforms.c.name == platform).with_for_update())
    stuck = _reclaim(tx, platform, holder)
    if stuck is not None:
        return stuck
    waiting = _heads(tx, platform)
    if not waiting:
        return None
    active = select(c.owner, func.count(), func.sum(c.cores), func.sum(c.ram_mib)).where(
        LIVE_ROW,
        c.platform == platform,
        c.phase.in_([p.value for p in (*ACTIVE, Phase.WAITING) if p is not Phase.COLLECTING]),
    )
    rows = tx.execute(active.group_by(c.owner)).all()
    load = schedule.Load(sum(r[1] for r in rows), float(sum(r[2] for r in rows)), int(sum(r[3] for r in rows)))
    first = schedule.order(waiting, {row[0]: row[1] for row in rows})[0]
    short = schedule.short_of(first.needs, load, offer)
    if short is not None and not placement.too_small(first.needs, offer):  # else it would wait for ever
        text = f"Waiting for {short} on {platform}."
        tx.execute(update(jobs).where(c.id == first.job_id, c.message != text).values(message=text, updated=now()))
        # no due time: the end of an active job nudges the platform; the sweep is the safety net
        tx.execute(update(jobs).where(c.id == first.job_id).values(due_at=now() + lifecycle.LONGEST_LOOK))
        return None
    taken = claim(tx, [first.job_id], [Phase.ACCEPTED], holder)
    return _submitting(tx, taken[0]) if taken else None


def _reclaim(tx: Connection, platform: str, holder: str) -> Job | None:
    """A job whose submission was interrupted (its worker was killed) or has to be tried again."""
    stuck = select(c.id).where(
        c.platform == platform, c.phase == Phase.SUBMITTING.value, c.due_at <= now(), _free(), ~c.dismiss_requested
    )
    found = claim(tx, list(tx.execute(stuck.order_by(c.due_at).limit(1)).scalars()), [Phase.SUBMITTING], holder)
    return found[0] if found else None


def _heads(tx: Connection, platform: str) -> list[schedule.Waiting]:
    """The oldest waiting job of each owner and priority."""
    head = (
        select(func.min(c.id))
        .where(LIVE_ROW, c.platform == platform, c.phase == Phase.ACCEPTED.value, _free(), ~c.dismiss_requested)
        .group_by(c.priority, c.owner)
    )
    query = select(c.id, c.owner, c.priority, c.created, c.needs).where(c.id.in_(head))
    return [
        schedule.Waiting(row.id, row.owner, row.priority, row.created, Needs.from_json(row.needs))
        for row in tx.execute(query)
    ]


def _submitting(tx: Connection, job: Job) -> Job:
    """The intent to submit, recorded before the platform is called."""
    return save(tx, job, Change("submitting", Phase.SUBMITTING, message="Submitting.", due_in=0.0), hold=True)


def save(tx: Connection, job: Job, change: Change, *, hold: bool = False, **columns: Any) -> Job:
    """Write a change under the job's fence, append its event, and give the row as it is now.

    `hold` keeps the lease. A job that its owner wished to dismiss meanwhile ends dismissed, whatever else it would
    have ended as. Raises LostClaim, lifecycle.IllegalTransition.
    """
    phase = change.phase or job.phase
    lifecycle.check(job.phase, phase)
    values = columns | _values(change, phase)
    if not hold:
        values |= {"lease_owner": None, "lease_until": None}
    mine = and_(c.id == job.id, c.fence == job.fence)
    saved = update(jobs).where(mine).values(**values).returning(*c)
    if phase in (Phase.SUCCESSFUL, Phase.FAILED):
        saved = saved.where(~c.dismiss_requested)
    row = tx.execute(saved).mappings().first()
    if row is None:
        if phase in (Phase.SUCCESSFUL, Phase.FAILED) and tx.execute(select(c.id).where(mine)).first():
            return save(tx, job, lifecycle.dismissed(change.finished), **columns)
        raise LostClaim(job.id)
    if change.event:
        data = dict(change.data)
        if change.failure is not None:
            data["failure"] = change.failure.to_json()
        elif change.message and phase is not Phase.RUNNING:
            data["message"] = change.message
        record(tx, job.id, job.attempt, change.event, phase, data)
    if (phase in TERMINAL and job.phase not in TERMINAL) or change.next_attempt:
        _make_due(tx, job.platform)  # its room is free now
    return as_job(row)


def _make_due(tx: Connection, platform: str) -> None:
    """Jobs that wait for room on a platform are due now (their heads were put off when there was none)."""
    waiting = update(jobs).where(LIVE_ROW, c.platform == platform, c.phase == Phase.ACCEPTED.value, c.due_at > now())
    tx.execute(waiting.values(due_at=now()))


def _values(change: Change, phase: Phase) -> dict[str, Any]:
    """The columns that a change sets."""
    values: dict[str, Any] = {
        "phase": phase.value,
        "updated": now() if change.event else c.updated,
        "due_at": None if change.due_in is None else now() + change.due_in,
        "retries": c.retries + 1 if change.event == "platform-unavailable" else 0,
    }
    if change.event == "lost":
        values["losses"] = c.losses + 1
    for name in ("handle", "started", "outputs"):
        if getattr(change, name) is not None:
            values[name] = getattr(change, name)
    if change.message is not None:
        values["message"] = change.message.replace("\0", "\ufffd")  # PostgreSQL keeps no NUL
    if change.progress is not None:
        values |= {"progress_done": change.progress.done, "progress_total": change.progress.total}
    if change.failure is not None:
        values["failure"] = change.failure.to_json()
    if phase in TERMINAL:
        values |= {"finished": change.finished if change.finished is not None else now(), "due_at": now()}
    if change.next_attempt:
        values |= {"attempt": c.attempt + 1, "handle": None, "progress_done": None, "progress_total": None}
        values |= {"started": None, "log_cursor": None}
    return values


def renew(tx: Connection, claimed: Sequence[Job], seconds: float = LEASE_SECONDS) -> None:
    """Hold jobs longer; those that were given back or that somebody else has by now are left alone."""
    mine = tuple_(c.id, c.fence).in_([(job.id, job.fence) for job in claimed])
    tx.execute(update(jobs).where(mine, c.lease_until.is_not(None)).values(lease_until=now() + seconds))


def confirm(tx: Connection, job: Job) -> None:
    """Raise LostClaim unless the job is still the caller's."""
    if tx.execute(select(c.id).where(c.id == job.id, c.fence == job.fence)).first() is None:
        raise LostClaim(job.id)


VERBS = {
    Phase.ACCEPTED: "dispatch",
    Phase.SUBMITTING: "dispatch",
    Phase.SUBMITTED: "observe",
    Phase.RUNNING: "observe",
    Phase.COLLECTING: "collect",
    Phase.SUCCESSFUL: "release",
    Phase.FAILED: "release",
    Phase.DISMISSED: "release",
}


def due(tx: Connection, platform: str) -> set[str]:
    """The verbs for which a platform has jobs that are due and held by nobody.

    One look per phase that stops at the first row: the cost does not grow with the length of a queue.
    """
    found = set()
    for phase, verb in VERBS.items():
        if verb not in found and _exists(tx, c.platform == platform, c.phase == phase.value, c.due_at <= now()):
            found.add(verb)
    if _exists(tx, c.platform == platform, c.dismiss_requested, LIVE_ROW):
        found.add("dismiss")
    return found


def _exists(tx: Connection, *conditions: ColumnElement[bool] | TextClause) -> bool:
    return tx.execute(select(c.id).where(*conditions, _free()).limit(1)).first() is not None
