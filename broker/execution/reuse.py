"""Reuse: a job that computes what an earlier one has computed gets copies of its results, and does not run."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from broker.execution import collect
from broker.jobs import lifecycle
from broker.jobs.call import NotReusable
from broker.jobs.model import Job, Phase
from broker.platform import Collected, OutputFile
from broker.store import callcache, deliveries, files, jobs, provenance
from broker.store.quarantine import READING

log = logging.getLogger(__name__)


def reuse(tx: Connection, job: Job) -> Job:
    """The job as it goes on: `collecting` (or successful, where there are no files) if an earlier one computed the
    same; as it was if none did.

    `job`: new, or held by the caller who is about to submit it. What was to be reused once and was gone is not looked
    for again.
    """
    if job.attempt > 1:
        return job
    try:
        source = callcache.find(tx, job, callcache.key(tx, job))
        taken = None if source is None else _taken(tx, job, jobs.get(tx, source))
    except NotReusable as why:
        if job.phase is Phase.ACCEPTED:  # said once
            jobs.record(tx, job.id, job.attempt, "not-reusable", job.phase, {"message": str(why)})
        return job
    except READING:  # somebody damaged the rows of the other job: this one runs
        log.exception("results for %s cannot be used again", job.id)
        return job
    if source is None or taken is None:
        return job
    files.put_steps(tx, job.id, job.attempt, taken.steps)
    provenance.note(tx, job.id, taken.facts)
    job = collect.begin(tx, job, lifecycle.reused(source), taken, reused=source)
    if not job.terminal:
        deliveries.add(tx, "collect", {job.id: job.platform})
    return job


def _taken(tx: Connection, job: Job, source: Job) -> Collected:
    """What the platform would have said of the job, had it run; a `ref` is where the file is in storage."""
    kept = [
        OutputFile(one.path, collect.key(source, one.attempt, one.path), one.size, one.media_type, one.sha256)
        for one in files.of_job(tx, source.id)
    ]
    steps = [step.replayed(job.updated, source.id) for step in files.steps(tx, source.id, source.attempt)]
    return Collected(source.outputs or {}, tuple(kept), tuple(steps), provenance.facts_of(tx, source.id))
