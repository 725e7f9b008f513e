"""Comparing: the outputs of a job are held against others, and the report is saved."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from broker.egress import Egress, FetchError
from broker.errors import BrokerError, StorageError
from broker.execution.compared import Lost, Scratch, Uncomparable, of_job, of_record
from broker.execution.comparisons import name_of
from broker.results.compare import compare, report
from broker.results.verdict import Tolerance
from broker.storage import Storage
from broker.store import comparisons
from broker.store.comparisons import DONE, FAILED, Comparison
from broker.store.database import Database

LEASE_SECONDS = 60.0  # how long a killed process holds up what it was comparing
RENEW_SECONDS = 5.0  # and how long one that was withdrawn goes on at most
TRIES = 4
AGAIN_SECONDS = 30.0  # until the second try, then twice as long


def carry_out(database: Database, storage: Storage, egress: Egress, taken: Comparison, scratch: Path) -> str | None:
    """Compare, and save the report; the state from now on, None where somebody else has it. `scratch`: a directory for
    files while they are compared.

    What does not answer is asked again some times; errors of the broker's own leave the claim to run out.
    """
    if taken.attempts > TRIES:
        return _end(database, taken, FAILED, "It was tried several times, and never came to an end.")
    try:
        with _kept(database, taken) as lost, _directory(scratch / taken.id) as place:
            found = _found(database, storage, egress, taken, Scratch(place, lost, last=taken.attempts == TRIES))
    except Lost:
        return None
    except (Uncomparable, ValueError) as error:
        return _end(database, taken, FAILED, str(error))
    except (FetchError, StorageError) as error:
        if taken.attempts == TRIES:
            return _end(database, taken, FAILED, error.detail)
        later = AGAIN_SECONDS * 2.0 ** (taken.attempts - 1)
        with database.write() as tx:
            ours = comparisons.put_off(tx, taken, f"Tried again soon: {error.detail}", later)
        return taken.state if ours else None
    return _end(database, taken, DONE, found["sentence"], found)


def _found(database: Database, storage: Storage, egress: Egress, taken: Comparison, place: Scratch) -> dict[str, Any]:
    """The report: left what it is compared with, right the job."""
    against = taken.against
    other = against["kind"] == "job"
    with database.read() as tx:
        left = of_job(tx, storage, against["id"], values=True) if other else of_record(egress, against["outputs"])
        right = of_job(tx, storage, taken.job_id, values=other)
    tolerance = Tolerance(**taken.tolerance)
    found = compare(place.side(left), place.side(right), tolerance, place.judge)
    return report(found, name_of(against), f"job {taken.job_id}", tolerance)


def _end(
    database: Database, taken: Comparison, state: str, message: str, found: Mapping[str, Any] | None = None
) -> str | None:
    with database.write() as tx:
        return state if comparisons.finish(tx, taken, state, message, found) else None


@contextmanager
def _directory(path: Path) -> Iterator[Path]:
    """An empty directory that is gone afterwards; what a killed process left there goes first."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _kept(database: Database, taken: Comparison) -> Iterator[threading.Event]:
    """Keep the claim meanwhile: nobody knows how long a pair takes. Set when it is ours no more, because it was
    withdrawn, say."""
    done, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                with database.write() as tx:
                    ours = comparisons.renew(tx, taken, LEASE_SECONDS)
            except BrokerError:
                continue  # the database does not answer: the lease lasts for some more tries
            if not ours:
                lost.set()
                return

    thread = threading.Thread(target=renew, name="comparison", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()
