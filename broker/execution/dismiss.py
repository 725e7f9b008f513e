"""Dismiss: a recorded wish, carried to the platform, then confirmed by what the platform says."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from broker.access.principal import Principal, Scope
from broker.errors import PlatformError, PlatformRefused, PlatformUnavailable, WrongPhase
from broker.execution.hold import alone, held
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase, Step
from broker.jobs.observation import Observation
from broker.platform import Platform, Replaying
from broker.store import audit, callcache, claims, files, jobs, provenance
from broker.store.database import Database

NOT_THERE = (Phase.CREATED, Phase.ACCEPTED, Phase.WAITING, Phase.COLLECTING)  # nothing runs on the platform then
AGAIN = 2.0  # seconds until the platform is asked again
RELEASE_AGAIN = 3600.0  # after an error that nobody foresaw
log = logging.getLogger(__name__)


def request(database: Database, principal: Principal, job_id: str) -> Job:
    """Record the wish; dismissing a dismissed job again changes nothing.

    Raises NoSuchJob, and WrongPhase when the job has already ended otherwise.
    """
    principal.need(Scope.RUN)
    with database.write() as tx:
        job = jobs.get_to_change(tx, job_id, principal.reach)
        if not job.terminal:
            if jobs.request_dismiss(tx, job):
                audit.record(tx, audit.entry(principal, "dismiss", f"job/{job_id}"))
            job = jobs.get(tx, job_id)  # it may have ended in between
        if job.phase in (Phase.SUCCESSFUL, Phase.FAILED):
            raise WrongPhase(
                f"The job {job_id} has already ended ({job.phase.value}): there is nothing left to dismiss."
            )
        return job


def carry_out(database: Database, platform: Platform, holder: str) -> list[Job]:
    """End the jobs of a platform that their owners wish to dismiss; the jobs as saved."""
    with database.write() as tx:
        taken = claims.claim_dismissed(tx, platform.name, holder, platform.page)
    with held(database, taken):
        ended = [alone(database, job, partial(_end, database, platform, job)) for job in taken]
    return [job for job in ended if job is not None]


def _end(database: Database, platform: Platform, job: Job) -> Job:
    change, seen = (lifecycle.dismissed(), None) if job.phase in NOT_THERE else _cancel(platform, job)
    steps: Sequence[Step] = ()
    if seen is not None and change.phase is Phase.DISMISSED:
        with contextlib.suppress(PlatformError):  # nice to have: how far it came
            steps = platform.steps(job.attempt_of())
    with database.write() as tx:
        if seen is not None:
            provenance.note(tx, job.id, seen.facts)
        if steps:
            files.put_steps(tx, job.id, job.attempt, steps)
        return claims.save(tx, job, change)


def _cancel(platform: Platform, job: Job) -> tuple[Change, Observation | None]:
    """What to save, and what the platform said of the attempt in the end."""
    try:
        platform.cancel(job.attempt_of())
        seen = next(iter(platform.observe([job.attempt_of()])), None)
    except PlatformError as error:
        message = f"Waiting for {platform.name} to dismiss the job: {error.detail}"
        return Change("", message=message, due_in=AGAIN), None
    if seen is None:  # what it does not list is gone
        return lifecycle.dismissed(), None
    if seen.state in lifecycle.ENDED:
        return lifecycle.dismissed(seen.finished, seen.started), seen
    return Change("", message="Being dismissed.", due_in=AGAIN), None


def release(database: Database, platform: Platform, holder: str, limit: int = 20, *, after: float = 0.0) -> int:
    """Remove what jobs that ended at least `after` seconds ago left on their platform; how many were released."""
    ended = [Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED]
    with database.write() as tx:
        taken = claims.claim_due(tx, platform.name, ended, holder, limit)
        early = claims.released_later(tx, taken, after) if after else set()
    with held(database, taken):
        return sum(_release(database, platform, job) for job in taken if job.id not in early)


def _release(database: Database, platform: Platform, job: Job) -> bool:
    again: float | None = None
    try:
        for attempt in range(1, job.attempt + 1):
            platform.release(job.attempt_of(attempt))
        if (callcache.wanted(job) or job.needs.elsewhere) and isinstance(platform, Replaying):
            with database.read() as tx:
                needed = callcache.holds(tx, job.id)
            if not needed:
                platform.forget(job.id)
    except PlatformRefused as error:
        log.warning("%s keeps what is left of %s: %s", platform.name, job.id, error)
    except PlatformUnavailable as error:
        again = error.retry_after or lifecycle.LONGEST_LOOK
    except Exception:  # the boundary of one job
        log.exception("what is left of %s on %s cannot be removed", job.id, platform.name)
        again = RELEASE_AGAIN
    with database.write() as tx:
        claims.released(tx, job, again)
    return again is None
