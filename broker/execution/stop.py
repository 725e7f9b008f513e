"""Stop: a platform that stops with the broker ends its jobs; each starts again when the platform is back."""

from __future__ import annotations

import logging
from collections.abc import Callable

from broker.errors import PlatformError
from broker.execution.hold import held
from broker.jobs import lifecycle
from broker.jobs.model import Attempt, Job, Phase
from broker.platform import Platform
from broker.store import claims, jobs
from broker.store.database import Database

THERE = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.RUNNING)
log = logging.getLogger(__name__)


def stop(database: Database, platform: Platform, holder: str) -> int:
    """End what runs on the platform; how many jobs. For use when no worker is there any more."""
    with database.read() as tx:
        there = jobs.live_ids(tx, platform.name, THERE)
    with database.write() as tx:
        taken = claims.claim(tx, there, THERE, holder)
    with held(database, taken):
        cancelled = [job for job in taken if _told(job, platform.cancel)]  # all at once: they end side by side
        stopped = [job for job in cancelled if _told(job, platform.release)]
    with database.write() as tx:
        for job in stopped:
            change = lifecycle.dismissed() if job.dismiss_requested else lifecycle.stopped(job)
            claims.save(tx, job, change)
    return len(stopped)


def _told(job: Job, verb: Callable[[Attempt], None]) -> bool:
    """Whether the platform could do it; a job that it cannot end now does not keep the others running."""
    try:
        verb(job.attempt_of())
    except PlatformError as error:
        log.warning("the job %s goes on: %s", job.id, error)
        return False
    return True
