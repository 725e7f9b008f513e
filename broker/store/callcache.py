"""The call cache: which jobs have results that may be used again, and what they are the results of.

Only jobs whose owner allowed it are in it (`reuse` of the request), for as long as their results are there. Who may
have the results of a job is decided by the job's row at the moment when they are wanted.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, Text, and_, bindparam, delete, exists, insert, or_, select, update

from broker.jobs import call
from broker.jobs.call import NotReusable
from broker.jobs.model import Capabilities, Job, Phase, Step
from broker.store.account_tables import members
from broker.store.provenance import VERSION
from broker.store.quarantine import READING
from broker.store.result_tables import call_cache
from broker.store.tables import job_steps, jobs, now, platforms, processes
from broker.store.visible import PROJECT

log = logging.getLogger(__name__)
k, j, p = call_cache.c, jobs.c, processes.c
_OWNER = bindparam("owner", type_=Text)
_OURS = and_(
    j.shared == PROJECT,
    j.shared_with == bindparam("project", type_=Text),
    exists().where(members.c.project == j.shared_with, members.c.person == _OWNER),
)
_FOUND = (
    select(j.id)
    .join_from(call_cache, jobs, j.id == k.job_id)
    .where(k.key == bindparam("key"), j.phase == Phase.SUCCESSFUL.value, j.swept.is_(None))
    .where(or_(j.owner == _OWNER, _OURS))
    .order_by(j.id.desc())
    .limit(1)
)
_OFFER = select(platforms.c.capabilities).where(platforms.c.name == bindparam("name"))
_STEPS = select(job_steps.c.step).where(job_steps.c.job_id == bindparam("id"), job_steps.c.attempt == bindparam("of"))
_PROCESS = select(p.digest, p.images).where(p.id == bindparam("id"), p.revision == bindparam("number"))


def wanted(job: Job) -> bool:
    """Whether the owner of a job allows that results are used again. One that does another again is to be computed:
    a copy would prove nothing."""
    return job.request.get("reuse") is True and job.reproduces is None


def key(tx: Connection, job: Job) -> str:
    """What a job computes. Raises NotReusable."""
    process = tx.execute(_PROCESS, {"id": job.process_id, "number": job.process_revision}).one()
    return call.key(job, process.digest, process.images or {}, _offer(tx, job), VERSION)


def _offer(tx: Connection, job: Job) -> Capabilities:
    told = tx.execute(_OFFER, {"name": job.platform}).scalar()
    if told is None:
        raise NotReusable(f"The platform {job.platform} has not reported yet.")
    return Capabilities.from_json(told)


def _computed(tx: Connection, job: Job) -> str:
    """The key of a job that has succeeded. Raises NotReusable."""
    ran = {Step.from_json(step).image for step in tx.execute(_STEPS, {"id": job.id, "of": job.attempt}).scalars()}
    if _offer(tx, job).images and not ran.issuperset(job.needs.images):
        raise NotReusable("An image is only a hint, and steps ran without it.")
    return key(tx, job)


def find(tx: Connection, job: Job, key: str) -> str | None:
    """The newest job with these results, of those that are the owner's own or shared with the project for which this
    job is made."""
    return tx.execute(_FOUND, {"key": key, "owner": job.owner, "project": job.project}).scalar()


def keep(tx: Connection, job: Job) -> None:
    """A job ends with this transaction: what it leaves may be used again, where its owner allows it."""
    try:
        if not wanted(job):
            return
        found = _computed(tx, job) if job.phase is Phase.SUCCESSFUL else None
    except NotReusable:
        found = None  # as a whole; results of its steps may be
    except READING:  # a job must be able to end whatever somebody did to its rows
        log.exception("the results of %s cannot be used again", job.id)
        return
    since = select(now())
    if job.reused is not None:  # results are as old as the computation, however often they are used again
        since = select(k.computed).where(k.job_id == job.reused)
    computed = tx.execute(since).scalar()
    if computed is not None:
        tx.execute(insert(call_cache).values(job_id=job.id, key=found, computed=computed))


def holds(tx: Connection, job_id: str) -> bool:
    """Whether what a job left may be used again."""
    return tx.execute(select(k.job_id).where(k.job_id == job_id)).first() is not None


def drop(tx: Connection, job_id: str) -> None:
    """What an ended job left is not used again from this transaction on: its platform is to forget the results of its
    steps, too."""
    if tx.execute(delete(call_cache).where(k.job_id == job_id)).rowcount:
        tx.execute(update(jobs).where(j.id == job_id).values(due_at=now()))
