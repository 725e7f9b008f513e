"""Hold: a claimed job stays claimed while the outside world takes its time, and costs no other job anything."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from broker.errors import StorageError
from broker.jobs import lifecycle
from broker.jobs.model import Job
from broker.store import claims, jobs
from broker.store.database import Database

RENEW_SECONDS = claims.LEASE_SECONDS / 3
log = logging.getLogger(__name__)


@contextmanager
def held(database: Database, claimed: Sequence[Job]) -> Iterator[None]:
    """Renew the leases of claimed jobs for as long as the block takes: platforms may answer late.

    The thread that renews stops and dies with its process: a lease is how long a killed worker holds up its jobs.
    """

    def renew() -> None:
        with database.write() as tx:
            claims.renew(tx, claimed)

    with renewing(renew, RENEW_SECONDS):
        yield


@contextmanager
def renewing(renew: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `renew` every so many seconds for as long as the block takes, beside it."""
    over = threading.Event()

    def turn() -> None:
        while not over.wait(seconds):
            try:
                renew()
            except StorageError as error:
                log.warning("leases were not renewed: %s", error)

    thread = threading.Thread(target=turn, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def alone(database: Database, job: Job, verb: Callable[[], Job]) -> Job | None:
    """What the verb saved; None where somebody else has the job now.

    The boundary of one job: an error that nobody foresaw puts it off, and fails it in the end, but never stops the
    work on others. Raises StorageError: without a database there is nothing to go on with.
    """
    try:
        return verb()
    except claims.LostClaim:
        return None
    except StorageError:
        raise
    except Exception:
        log.exception("the broker failed at the job %s (%s)", job.id, job.phase)
    try:
        with database.write() as tx:
            times = jobs.count_events(tx, job.id, job.attempt, "stumbled")
            return claims.save(tx, job, lifecycle.stumbled(times))
    except claims.LostClaim:
        return None
