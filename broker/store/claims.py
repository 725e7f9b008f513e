"""Claims on job rows: compare-and-set with a lease and a fence, and saves that only the holder can make.

Only the database's clock counts. A claim raises the fence; every later write carries it, and zero rows
touched means that somebody else has the job now: stop (`LostClaim`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    RowMapping,
    Text,
    Update,
    bindparam,
    case,
    func,
    select,
    tuple_,
    type_coerce,
    update,
)

from broker.access.quota import NONE, Quotas
from broker.jobs import lifecycle, placement, schedule
from broker.jobs.lifecycle import Change
from broker.jobs.model import TERMINAL, Capabilities, Job, Phase, Reason
from broker.store import callbacks, callcache, children, deliveries, provenance, publicationclaims, quarantine, usage
from broker.store.jobs import as_job, record
from broker.store.tables import LIVE_ROW, jobs, now, platforms
from broker.store.waiting import ACCEPTED, FREE, HERE, Active, heads, say

LEASE_SECONDS = 10.0  # of tasks that take milliseconds; how long a killed worker holds up its jobs
THERE = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.RUNNING})  # as in tables.ACTIVE_ROW
c = jobs.c


class LostClaim(Exception):
    """Somebody else holds the job now: drop what you were doing."""


# Statements are built once: SQLAlchemy takes longer to build one than SQLite to run it
_IN_PHASES = c.phase.in_(bindparam("phases", expanding=True))
_UNDER_FENCE = (c.id == bindparam("mine"), c.fence == bindparam("under"))
_CLAIM = (
    update(jobs)
    .where(c.id.in_(bindparam("ids", expanding=True)), _IN_PHASES, FREE)
    .values(fence=c.fence + 1, lease_owner=bindparam("holder"), lease_until=now() + bindparam("seconds"))
    .returning(*c)
)
_TO_DISMISS = select(c.id).where(HERE, c.dismiss_requested, LIVE_ROW, FREE).limit(bindparam("most"))
_DUE = select(c.id).where(HERE, _IN_PHASES, c.due_at <= now(), FREE).order_by(c.due_at).limit(bindparam("most"))
_STUCK = (
    select(c.id)
    .where(HERE, c.phase == Phase.SUBMITTING.value, c.due_at <= now(), FREE, ~c.dismiss_requested)
    .order_by(c.due_at)
    .limit(1)
)
# as `Placement.to_json` begins, as it is kept
_NAMED = func.coalesce(type_coerce(c.placement, Text).like('{"rule":"named"%'), False)
_UNTOUCHED = (
    select(jobs)
    .where(*ACCEPTED, c.attempt == 1, FREE, ~c.dismiss_requested, ~_NAMED, c.id > bindparam("after"))
    .order_by(c.id)
    .limit(bindparam("most"))
)
_MAKE_DUE = update(jobs).where(*ACCEPTED, c.due_at > now()).values(due_at=now())
_MINE = select(c.id).where(*_UNDER_FENCE)


def claim(
    tx: Connection, job_ids: Sequence[str], phases: Iterable[Phase], holder: str, seconds: float = LEASE_SECONDS
) -> list[Job]:
    """Take those of the jobs that are in one of the phases and free; others are left out, and so are those that
    cannot be read: they fail."""
    if not job_ids:
        return []
    wanted = {"ids": job_ids, "phases": [phase.value for phase in phases], "holder": holder, "seconds": seconds}
    return quarantine.readable(tx, tx.execute(_CLAIM, wanted).mappings().all(), as_job)


def claim_dismissed(tx: Connection, platform: str, holder: str, limit: int) -> list[Job]:
    """Take live jobs whose owner wishes to dismiss them."""
    found = tx.execute(_TO_DISMISS, {"here": platform, "most": limit}).scalars()
    return claim(tx, list(found), set(Phase) - TERMINAL, holder)


def released(tx: Connection, job: Job, again: float | None = None) -> None:
    """Nothing is left of an ended job on its platform; with `again`: something is, try in so many seconds."""
    due = None if again is None else now() + again
    free = update(jobs).where(c.id == job.id, c.fence == job.fence)
    tx.execute(free.values(due_at=due, lease_owner=None, lease_until=None))


def released_later(tx: Connection, ended: Sequence[Job], after: float) -> set[str]:
    """Those of the ended jobs that ended less than `after` seconds ago are given back until then; their ids."""
    ids = [job.id for job in ended]
    early = update(jobs).where(c.id.in_(ids), c.finished > now() - after)
    later = early.values(due_at=c.finished + after, lease_owner=None, lease_until=None)
    return set(tx.execute(later.returning(c.id)).scalars())


def look_now(tx: Connection, job_id: str) -> bool:
    """A job that runs is due at once, and its platform nudged: somebody says that it has changed. False where there is
    no such job, or it is due anyway."""
    runs = (c.phase.in_([Phase.SUBMITTED.value, Phase.RUNNING.value]), c.due_at > now())
    platform = tx.execute(update(jobs).where(c.id == job_id, *runs).values(due_at=now()).returning(c.platform)).scalar()
    if platform is not None:
        deliveries.add(tx, "observe", {job_id: platform})
    return platform is not None


def claim_due(tx: Connection, platform: str, phases: Iterable[Phase], holder: str, limit: int) -> list[Job]:
    """Take up to `limit` jobs of a platform that are due, the longest due first."""
    phases = list(phases)
    wanted = {"here": platform, "phases": [phase.value for phase in phases], "most": limit}
    return claim(tx, list(tx.execute(_DUE, wanted).scalars()), phases, holder)


def claim_next(tx: Connection, platform: str, offer: Capabilities, holder: str, quotas: Quotas = NONE) -> Job | None:
    """Take the job that goes next on a platform, in fair order, if the platform has room for it now.

    Serialised per platform by its row, so that two workers never admit into the same room. A job that has to
    wait for room gets a message that says for what; jobs behind it wait too (no overtaking, no starvation). Those
    of a tenant who may run no more are passed by all others, and taken when one of the tenant's has ended. One
    that the platform has become too small for is taken all the same: it is for the caller to refuse.
    """
    if tx.dialect.name == "postgresql":  # SQLite has one writer anyway
        tx.execute(select(platforms.c.name).where(platforms.c.name == platform).with_for_update())
    stuck = _reclaim(tx, platform, holder)
    if stuck is not None:
        return stuck
    if quotas.of_running:
        usage.lock_running(tx)
    active = Active(tx, platform, quotas)
    waiting = heads(tx, platform, active)
    if not waiting:
        return None
    load = active.load
    first = schedule.order(waiting, active.by_owner, active.by_project)[0]
    short = schedule.short_of(first.needs, load, offer)
    if short is not None and not placement.too_small(first.needs, offer):  # else it would wait for ever
        say(tx, first.job_id, f"Waiting for {short} on {platform}.")
        # no due time: the end of an active job nudges the platform; the sweep is the safety net
        tx.execute(update(jobs).where(c.id == first.job_id).values(due_at=now() + lifecycle.LONGEST_LOOK))
        return None
    taken = claim(tx, [first.job_id], [Phase.ACCEPTED], holder)
    return _submitting(tx, taken[0]) if taken else None


def untouched(tx: Connection, platform: str, after: str, most: int) -> list[Job]:
    """Jobs that wait for a platform, were never sent to one, and do not name it: those with larger ids than `after`."""
    rows = tx.execute(_UNTOUCHED, {"here": platform, "after": after, "most": most}).mappings().all()
    return quarantine.readable(tx, rows, as_job)


def _reclaim(tx: Connection, platform: str, holder: str) -> Job | None:
    """A job whose submission was interrupted (its worker was killed) or has to be tried again."""
    stuck = list(tx.execute(_STUCK, {"here": platform}).scalars())
    found = claim(tx, stuck, [Phase.SUBMITTING], holder)
    return replace(found[0], retries=max(1, found[0].retries)) if found else None  # nobody knows how far it came


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
    values, computed = _values(change, phase)
    if job.phase in THERE and (phase not in THERE or change.next_attempt):
        computed |= _left(change)
    if not hold:
        values |= {"lease_owner": None, "lease_until": None}
    values |= _over(job, change, phase) | columns
    wish = phase in (Phase.SUCCESSFUL, Phase.FAILED)
    fence = {"mine": job.id, "under": job.fence}
    statement = _saving(frozenset(values), frozenset(computed), unless_dismissed=wish)
    given = {f"new_{name}": value for name, value in values.items()} | computed
    row = tx.execute(statement, fence | given).mappings().first()
    if row is None:
        if wish and tx.execute(_MINE, fence).first():
            return save(tx, job, lifecycle.dismissed(change.finished), **columns)
        raise LostClaim(job.id)
    if change.event:
        data = dict(change.data)
        if change.failure is not None:
            data["failure"] = change.failure.to_json()
        elif change.message and phase is not Phase.RUNNING:
            data["message"] = change.message
        record(tx, job.id, job.attempt, change.event, phase, data)
    saved = as_job(row)
    if phase is Phase.WAITING and job.phase is not phase:
        deliveries.add(tx, "children", {job.id: saved.platform})
    if phase in TERMINAL and job.phase not in TERMINAL:
        _ended(tx, row, job.phase, saved)
    if row["subscriber"] is not None:
        callbacks.note(tx, job, row)
    if "left" in computed or "lost_at" in computed:
        _make_due(tx, job.platform)  # its room is free now
    return saved


def _over(job: Job, change: Change, phase: Phase) -> dict[str, Any]:
    """Of an attempt that failed elsewhere, and of which nobody asked why any more, the failure is none of the job's."""
    gone = job.failure is not None and change.failure is None and (phase in TERMINAL or change.next_attempt)
    return {"failure": None} if gone else {}


def _ended(tx: Connection, row: RowMapping, before: Phase, job: Job) -> None:
    usage.book(tx, row)
    provenance.write(tx, row, job)
    callcache.keep(tx, job)
    publicationclaims.of_ended(tx, row)
    if job.parent is not None:
        children.ended(tx, row)
    if job.children is not None:
        children.let_go(tx, job)
        if before is Phase.WAITING:
            children.gone_on(tx, job)


def _make_due(tx: Connection, platform: str) -> None:
    """Jobs that wait for room on a platform are due now (their heads were put off when there was none)."""
    tx.execute(_MAKE_DUE, {"here": platform})


def _left(change: Change) -> dict[str, Any]:
    """The job leaves its platform: what it held there is added up. Of an attempt that was lost nobody knows when it
    ended: what counts is when it last gave a sign of itself."""
    began = {"began": change.started}
    if change.event == "lost" or (change.failure is not None and change.failure.reason is Reason.LOST):
        return {"lost_at": None, **began}
    return {"left": change.finished, **began}


def _held(until: Any) -> Any:
    """Core-seconds from the start of the attempt, and those of the attempts before it; never less than none."""
    seconds = until - func.coalesce(bindparam("began", type_=Double), c.started)
    return c.spent + c.cores * case((seconds > 0, seconds), else_=0.0)


# what the database computes: name -> columns; the parameters have the values of `_values`
_COMPUTED: dict[str, dict[str, Any]] = {
    "touched": {"updated": now()},
    "due_in": {"due_at": now() + bindparam("due_in", type_=Double)},
    "ended_at": {"finished": func.coalesce(bindparam("ended_at", type_=Double), now()), "due_at": now()},
    "again": {"retries": c.retries + 1},
    "lost": {"losses": c.losses + 1},
    "next_attempt": {"attempt": c.attempt + 1},
    "left": {"spent": _held(func.coalesce(bindparam("left", type_=Double), now()))},
    "lost_at": {"spent": _held(c.updated)},
    "began": {},
}


@cache
def _saving(plain: frozenset[str], computed: frozenset[str], *, unless_dismissed: bool) -> Update:
    """The UPDATE of these columns under a fence."""
    columns = {name: bindparam(f"new_{name}", type_=c[name].type) for name in sorted(plain)}
    for name in sorted(computed):
        columns |= _COMPUTED[name]
    statement = update(jobs).where(*_UNDER_FENCE).values(columns).returning(*c)
    return statement.where(~c.dismiss_requested) if unless_dismissed else statement


def _values(change: Change, phase: Phase) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns that a change sets, and those that the database computes (with parameters, `_COMPUTED`)."""
    values: dict[str, Any] = {"phase": phase.value}
    computed: dict[str, Any] = {"ended_at": change.finished} if phase in TERMINAL else {"due_in": change.due_in}
    if change.event:
        computed["touched"] = None
    if change.event == "platform-unavailable":
        computed["again"] = None
    else:
        values["retries"] = 0
    if change.event == "lost":
        computed["lost"] = None
    for name in ("handle", "started", "outputs"):
        if getattr(change, name) is not None:
            values[name] = getattr(change, name)
    if change.message is not None:
        values["message"] = change.message.replace("\0", "\ufffd")  # PostgreSQL keeps no NUL
    if change.progress is not None:
        values |= {"progress_done": change.progress.done, "progress_total": change.progress.total}
    if change.failure is not None:
        values["failure"] = change.failure.to_json()
    if change.next_attempt:
        computed["next_attempt"] = None
        values |= {"handle": None, "progress_done": None, "progress_total": None, "started": None, "log_cursor": None}
        values["outputs"] = None
    return values, computed


def renew(tx: Connection, claimed: Sequence[Job], seconds: float = LEASE_SECONDS) -> None:
    """Hold jobs longer; those that were given back or that somebody else has by now are left alone."""
    mine = tuple_(c.id, c.fence).in_([(job.id, job.fence) for job in claimed])
    tx.execute(update(jobs).where(mine, c.lease_until.is_not(None)).values(lease_until=now() + seconds))


def confirm(tx: Connection, job: Job, *, lock: bool = False) -> None:
    """Raise LostClaim unless the job is still the caller's. `lock`: until the end of the transaction nobody else writes
    to its row."""
    mine = _MINE.with_for_update() if lock and tx.dialect.name == "postgresql" else _MINE
    if tx.execute(mine, {"mine": job.id, "under": job.fence}).first() is None:
        raise LostClaim(job.id)


VERBS = {
    Phase.ACCEPTED: "dispatch",
    Phase.SUBMITTING: "dispatch",
    Phase.SUBMITTED: "observe",
    Phase.RUNNING: "observe",
    Phase.COLLECTING: "collect",
    Phase.WAITING: "children",
    Phase.SUCCESSFUL: "release",
    Phase.FAILED: "release",
    Phase.DISMISSED: "release",
}


_DUE_IN = select(c.id).where(HERE, c.phase == bindparam("phase_of"), c.due_at <= now(), FREE).limit(1)


_LATE = (
    select(now() - c.due_at)
    .where(HERE, c.phase.in_([Phase.SUBMITTED.value, Phase.RUNNING.value]), c.due_at <= now(), FREE)
    .order_by(c.due_at)
    .limit(1)
)


def late(tx: Connection, platform: str) -> float:
    """For how many seconds the job that waits longest for a look at it has been due; 0 where none is."""
    return tx.execute(_LATE, {"here": platform}).scalar() or 0.0


def due(tx: Connection, platform: str) -> set[str]:
    """The verbs for which a platform has jobs that are due and held by nobody.

    One look per phase that stops at the first row: the cost does not grow with the length of a queue.
    """
    found = set()
    for phase, verb in VERBS.items():
        if verb not in found and tx.execute(_DUE_IN, {"here": platform, "phase_of": phase.value}).first():
            found.add(verb)
    if tx.execute(_TO_DISMISS, {"here": platform, "most": 1}).first():
        found.add("dismiss")
    return found
