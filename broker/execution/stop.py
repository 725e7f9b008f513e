"""Stop: a platform that stops with the broker ends its jobs; each starts again when the platform is back."""

from __future__ import annotations

from broker.jobs import lifecycle
from broker.jobs.model import Phase
from broker.platform import Platform
from broker.store import claims, jobs
from broker.store.database import Database

RUNNING = (Phase.SUBMITTED, Phase.RUNNING)


def stop(database: Database, platform: Platform, holder: str) -> int:
    """End what runs on the platform; how many jobs. For use when no worker is there any more."""
    with database.read() as tx:
        there = jobs.live_ids(tx, platform.name, RUNNING)
    with database.write() as tx:
        taken = claims.claim(tx, there, RUNNING, holder)
    for job in taken:
        platform.cancel(job.attempt_of())
        platform.release(job.attempt_of())
        change = lifecycle.dismissed() if job.dismiss_requested else lifecycle.stopped(job)
        with database.write() as tx:
            claims.save(tx, job, change)
    return len(taken)
