"""The tasks: each names a verb of `broker.execution` and nudges what comes next. None waits for a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

from celery import Celery, shared_task
from kombu.exceptions import OperationalError

from broker.bootstrap import Broker, open_broker
from broker.execution import collect as collecting
from broker.execution import dismiss as dismissing
from broker.execution import dispatch as dispatching
from broker.execution import observe as observing
from broker.jobs.model import Job, Phase
from broker.platform import Eventful
from broker.queue.app import make_app, publish
from broker.queue.listener import Listener
from broker.queue.wakeups import Wake
from broker.settings import Settings
from broker.store import platforms

log = logging.getLogger(__name__)
BUSY_SECONDS = 20.0  # after this a task gives way to others; what is left is nudged again


_here: list[tuple[Broker, Celery, Wake]] = []


def begin(settings: Settings) -> None:
    """Open this worker's connections, once, after the fork: its threads share them while it lives. From then on
    it hears what its platforms say of themselves."""
    broker = open_broker(settings)
    _here[:] = [(broker, make_app(settings), Wake(settings.redis))]
    for name, platform in broker.platforms.items():
        if isinstance(platform, Eventful):
            Listener(platform, partial(look, name)).start()


def here() -> tuple[Broker, Celery, Wake]:
    return _here[0]


def changed(*jobs: Job | None) -> None:
    """After a save: wake who waits for these jobs; where one left its platform, its room goes to the next."""
    _, app, wake = here()
    saved = [job for job in jobs if job is not None]
    wake(*(job.id for job in saved))
    left = {job.platform for job in saved if job.terminal or job.phase is Phase.ACCEPTED}
    try:
        for platform in left:
            publish(app, platform, "dispatch")
    except OperationalError as error:
        log.warning("a nudge is left to the reconciler: %s", error)


@shared_task(name="broker.dispatch")
def dispatch(platform: str, job_id: str | None = None) -> None:
    broker, _, _ = here()
    with broker.database.read() as tx:
        offer = platforms.one(tx, platform)
    end = time.monotonic() + BUSY_SECONDS
    while not offer.paused and time.monotonic() < end:
        job = dispatching.dispatch(
            broker.database,
            broker.platforms[platform],
            offer.capabilities,
            broker.storage,
            broker.limits,
            broker.holder,
            broker.quotas.now(),
            vault=broker.vault,
            images=broker.images,
        )
        changed(job)
        if job is None or job.phase is Phase.SUBMITTING:  # no room, or the platform does not answer
            break


@shared_task(name="broker.observe")
def observe(platform: str, job_id: str | None = None) -> None:
    look(platform, [job_id] if job_id else [])


def look(platform: str, ids: Sequence[str]) -> set[str]:
    """Observe these jobs (or a page of those that are due) and go on with what has ended; the ids that were free."""
    broker, _, _ = here()
    end = time.monotonic() + BUSY_SECONDS
    seen = observing.observe(broker.database, broker.platforms[platform], broker.holder, ids)
    changed(*(job for job in seen if job.phase is not Phase.COLLECTING))
    for job in seen:
        if job.phase is Phase.COLLECTING and time.monotonic() < end:
            changed(collecting.go_on(broker.database, broker.platforms[platform], broker.storage, job))
    return {job.id for job in seen}


@shared_task(name="broker.collect")
def collect(platform: str, job_id: str | None = None) -> None:
    broker, _, _ = here()
    end = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < end:
        job = collecting.collect(broker.database, broker.platforms[platform], broker.storage, broker.holder)
        if job is None:
            break
        changed(job)


@shared_task(name="broker.dismiss")
def dismiss(platform: str, job_id: str | None = None) -> None:
    broker, _, _ = here()
    changed(*dismissing.carry_out(broker.database, broker.platforms[platform], broker.holder))


@shared_task(name="broker.release")
def release(platform: str, job_id: str | None = None) -> None:
    broker, _, _ = here()
    end = time.monotonic() + BUSY_SECONDS
    days = broker.settings.retention.scratch_days
    while dismissing.release(broker.database, broker.platforms[platform], broker.holder, after=days * 86400.0):
        if time.monotonic() > end:
            break
