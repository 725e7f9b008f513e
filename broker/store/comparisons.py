"""Comparisons: the outputs of a job against those of another run, from the wish to the report.

One waits until its jobs have ended; then whoever claims it has it for the time of a lease. A claim raises `attempts`,
and who saves names the attempt: what somebody else has taken over by then stays as it is. The results of the jobs are
held from the claim to the end; who deletes them sooner has a comparison that fails.

Owners take turns: one comparison of an owner is made at a time, and who has had a turn goes behind all who wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Double,
    RowMapping,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.principal import Reach
from broker.jobs.model import TERMINAL
from broker.store.account_tables import holds
from broker.store.database import new_id
from broker.store.result_tables import OPEN_COMPARISON, comparisons
from broker.store.tables import jobs, now
from broker.store.visible import by, visible

WAITING, COMPARING, DONE, FAILED = "waiting", "comparing", "done", "failed"
FIRST_MESSAGE = "Waits until the job has ended."
MOST_KEPT = 20  # of one job; older ones go
c = comparisons.c
_ENDED = [phase.value for phase in TERMINAL]
_LIVE = exists().where(jobs.c.id.in_([c.job_id, c.with_job]), jobs.c.phase.not_in(_ENDED))
_FREE = or_(c.lease_until.is_(None), c.lease_until <= now())
_mine_now, _under_way, _others = jobs.alias("own"), comparisons.alias("busy"), jobs.alias("others")
_BUSY = (
    select(_others.c.owner)
    .join_from(_under_way, _others, _others.c.id == _under_way.c.job_id)
    .where(text("busy.state IN ('waiting', 'comparing')"), _under_way.c.lease_until > now())
)
_DUE = (
    select(c.id, _mine_now.c.owner)
    .join_from(comparisons, _mine_now, _mine_now.c.id == c.job_id)
    .where(OPEN_COMPARISON, c.due_at <= now(), _FREE, ~_LIVE, _mine_now.c.owner.not_in(_BUSY))
    .order_by(c.due_at, c.id)
    .limit(1)
)
_BEHIND = (
    update(comparisons)
    .where(OPEN_COMPARISON, c.due_at <= now())
    .where(exists().where(jobs.c.id == c.job_id, jobs.c.owner == bindparam("turn")))
    .values(due_at=select(now()).scalar_subquery())  # the same for all, so that they keep their order
)
_TAKE = (
    update(comparisons)
    .where(c.id == bindparam("taken"), OPEN_COMPARISON, c.due_at <= now(), _FREE)
    .values(state=COMPARING, attempts=c.attempts + 1, updated=now())
    .values(lease_until=now() + bindparam("seconds", type_=Double))
    .returning(*c)
)
# a comparison with another job tells about that one too
_SEEN = or_(c.with_job.is_(None), exists().where(jobs.c.id == c.with_job, visible(jobs)))
_OF_JOB = select(*(column for column in c if column.name not in ("report", "asked"))).where(
    c.job_id == bindparam("job"), _SEEN
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`against`: {kind: experiment, name, href, outputs {path: {sha256, size, href, mediaType}}} or {kind: job, id};
    `tolerance`: of `results.verdict.Tolerance`; `message`: a sentence on its state; `verdict`: when it is done."""

    id: str
    job_id: str
    with_job: str | None
    against: Mapping[str, Any]
    tolerance: Mapping[str, float]
    state: str
    message: str
    verdict: str | None
    attempts: int
    created: float
    updated: float


_NAMES = [field.name for field in fields(Comparison)]


def ask(tx: Connection, job_id: str, against: Mapping[str, Any], tolerance: Mapping[str, float]) -> str:
    """Compare the outputs of a job with others when it has ended; the comparison's id. The same is asked once, and
    anew where it failed. Who asks has seen to it that both may be seen."""
    wish = orjson.dumps([dict(against), dict(tolerance)], option=orjson.OPT_SORT_KEYS)
    asked = hashlib.sha256(wish).hexdigest()
    of_it = and_(c.job_id == job_id, c.asked == asked)
    tx.execute(delete(comparisons).where(of_it, c.state == FAILED))
    comparison_id = new_id()
    other = against["id"] if against["kind"] == "job" else None
    values = {
        "id": comparison_id,
        "job_id": job_id,
        "with_job": other,
        "asked": asked,
        "against": dict(against),
        "tolerance": dict(tolerance),
        "state": WAITING,
        "message": FIRST_MESSAGE,
        "attempts": 0,
        "due_at": now(),
        "created": now(),
        "updated": now(),
    }
    made = _insert(tx, comparisons).values(values).on_conflict_do_nothing(index_elements=[c.job_id, c.asked])
    if tx.execute(made.returning(c.id)).first() is None:
        return str(tx.execute(select(c.id).where(of_it)).scalar_one())
    ended = select(c.id).where(c.job_id == job_id, c.state.in_((DONE, FAILED))).order_by(c.id.desc()).offset(MOST_KEPT)
    tx.execute(delete(comparisons).where(c.id.in_(tx.execute(ended).scalars().all())))
    return comparison_id


def _hold(tx: Connection, taken: Comparison) -> None:
    """The results of the job; of the other one too, if it is of the same owner: nobody else may keep people from
    deleting what is theirs."""
    mine = select(jobs.c.id).where(jobs.c.id.in_(_jobs(taken)), jobs.c.owner == _owner(taken.job_id))
    for held in tx.execute(mine).scalars().all():
        hold = {"job_id": held, "reason": _reason(taken.id), "created": now()}
        tx.execute(_insert(tx, holds).values(hold).on_conflict_do_nothing())


def _owner(job_id: str) -> Any:
    asked = jobs.alias("asked")
    return select(asked.c.owner).where(asked.c.id == job_id).scalar_subquery()


def _reason(comparison_id: str) -> str:
    return f"comparison {comparison_id}"


def _insert(tx: Connection, table: Any) -> Any:
    return (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(table)


def count_open(tx: Connection, job_id: str) -> int:
    """How many of a job are still to be made."""
    return tx.execute(select(func.count()).where(c.job_id == job_id, OPEN_COMPARISON)).scalar_one()


def of_job(tx: Connection, job_id: str, reach: Reach | None = None) -> list[Comparison]:
    """All of a job, the newest first, but those with a job that the reach does not see (None: sees everything). The
    job itself is for the caller to look at."""
    rows = tx.execute(_OF_JOB.order_by(c.id.desc()), {"job": job_id, **by(reach)}).mappings()
    return [_comparison(row) for row in rows]


def report(tx: Connection, comparison_id: str) -> dict[str, Any] | None:
    """As `results.compare.report` made it; None until it is done."""
    found: dict[str, Any] | None = tx.execute(select(c.report).where(c.id == comparison_id)).scalar()
    return found


def report_document(tx: Connection, job_id: str) -> bytes | None:
    """The newest report of a job as a JSON document to publish beside its outputs, but none that tells of a job of
    somebody else's; None where there is none."""
    ours = or_(c.with_job.is_(None), exists().where(jobs.c.id == c.with_job, jobs.c.owner == _owner(job_id)))
    made = select(c.report).where(c.job_id == job_id, c.state == DONE, ours).order_by(c.id.desc()).limit(1)
    found = tx.execute(made).scalar()
    return None if found is None else orjson.dumps(found, option=orjson.OPT_INDENT_2)


def due(tx: Connection) -> bool:
    """Whether any can be made now."""
    return tx.execute(_DUE).first() is not None


def claim(tx: Connection, seconds: float) -> Comparison | None:
    """Take the one that is due longest, whose jobs have ended and whose owner has none under way, for `seconds`."""
    chosen = tx.execute(_DUE).first()
    if chosen is None:
        return None
    row = tx.execute(_TAKE, {"taken": chosen.id, "seconds": seconds}).mappings().first()
    if row is None:
        return None
    tx.execute(_BEHIND, {"turn": chosen.owner})
    taken = _comparison(row)
    _hold(tx, taken)
    return taken


def renew(tx: Connection, taken: Comparison, seconds: float) -> bool:
    """Keep a claim for `seconds` from now; False: somebody else has it."""
    return bool(tx.execute(_mine(taken).values(lease_until=now() + seconds)).rowcount)


def put_off(tx: Connection, taken: Comparison, message: str, seconds: float) -> bool:
    """Try again in `seconds`; False: somebody else has it."""
    later = {"message": message, "lease_until": None, "due_at": now() + seconds, "updated": now()}
    return bool(tx.execute(_mine(taken).values(later)).rowcount)


def finish(tx: Connection, taken: Comparison, state: str, message: str, found: Mapping[str, Any] | None = None) -> bool:
    """DONE with its report, or FAILED; False: somebody else has it."""
    values: dict[str, Any] = {"state": state, "message": message, "lease_until": None, "updated": now()}
    if found is not None:
        values |= {"report": dict(found), "verdict": found["verdict"]}
    if not tx.execute(_mine(taken).values(values)).rowcount:
        return False
    tx.execute(delete(holds).where(holds.c.reason == _reason(taken.id), holds.c.job_id.in_(_jobs(taken))))
    return True


def withdraw(tx: Connection, comparison_id: str, message: str) -> bool:
    """End one that is not made yet, with a sentence; False: it has ended. Who is making it learns so from `renew`."""
    values = {"state": FAILED, "message": message, "lease_until": None, "updated": now()}
    if not tx.execute(update(comparisons).where(c.id == comparison_id, OPEN_COMPARISON).values(values)).rowcount:
        return False
    tx.execute(delete(holds).where(holds.c.reason == _reason(comparison_id)))
    return True


def _mine(taken: Comparison) -> Any:
    return update(comparisons).where(c.id == taken.id, c.attempts == taken.attempts, c.state == COMPARING)


def _jobs(of: Comparison) -> list[str]:
    return [one for one in (of.job_id, of.with_job) if one is not None]


def _comparison(row: RowMapping) -> Comparison:
    return Comparison(**{name: row[name] for name in _NAMES})
