"""Retention: what is past its time is deleted, in small steps; rows first, in one transaction, then the bytes.

A step that cannot be done is logged and tried later; it never keeps others from being done.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.access.quota import Tenant
from broker.errors import Held, WrongPhase
from broker.execution.accept import UPLOAD_SCHEME
from broker.jobs.model import Job
from broker.storage import Storage
from broker.store import audit, ended, expiry, jobs, quotas, removals, uploads
from broker.store.database import Database
from broker.store.ended import Mark
from broker.store.removals import Removal

DAY = 24 * 3600.0
BATCH = 50  # rows of one step
BYTES_SECONDS = 5.0  # of one step's removal of bytes; one prefix may take longer
SELDOM = 60.0  # seconds between looks at what needs no hurry
AGAIN = 3600.0  # seconds until jobs that were passed over (held, say) are looked at again
NEEDED_SECONDS = DAY  # an upload that a live job counts on lives at least so much longer
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds until each class is deleted; None: never. See `settings.Retention`."""

    results: float | None = None
    logs: float | None = None
    jobs: float | None = None
    idempotency: float | None = 7 * DAY
    logins: float | None = 0.0
    invitations: float | None = None
    reuse: float | None = 30 * DAY


class Retention:
    """One process's walks over what there is; `step` does a little of everything that is due."""

    def __init__(self, database: Database, storage: Storage, ages: Ages) -> None:
        self._database = database
        self._storage = storage
        self._ages = ages
        self._sooner: list[tuple[str, Tenant, float]] = []  # kind, whose, seconds
        self._at: dict[str, Mark] = {}
        self._next: dict[str, float] = {}
        self._ages_of: dict[str, float] = {}

    def step(self) -> int:
        """How much was done; 0: nothing is due. Raises StorageError where the database does not answer."""
        done = 0
        if self._due("uploads that are needed", SELDOM):
            self._keep_needed()
        if self._due("rows", SELDOM):
            done += self._expire_rows()
        done += self._expire_uploads()
        if self._due("who keeps less", SELDOM):
            self._sooner = self._who_keeps_less()
        every = {"results": self._ages.results, "logs": self._ages.logs, "jobs": self._ages.jobs}
        for kind, age in every.items():
            if age is not None:
                done += self._walk(kind, None, age)
        for kind, tenant, age in self._sooner:
            done += self._walk(kind, tenant, age)
        return done + remove_bytes(self._database, self._storage)

    def _due(self, what: str, seconds: float) -> bool:
        if time.monotonic() < self._next.get(what, 0.0):
            return False
        self._next[what] = time.monotonic() + seconds
        return True

    def _keep_needed(self) -> None:
        with self._database.read() as tx:
            needed = uploads.of_live_jobs(tx, UPLOAD_SCHEME)
        if needed:
            with self._database.write() as tx:
                uploads.keep_needed(tx, needed, NEEDED_SECONDS)

    def _expire_rows(self) -> int:
        done = 0
        for name, age in (
            ("idempotency", self._ages.idempotency),
            ("logins", self._ages.logins),
            ("sessions", self._ages.logins),
            ("invitations", self._ages.invitations),
            ("reuse", self._ages.reuse),
        ):
            if age is not None:
                with self._database.write() as tx:
                    done += expiry.delete(tx, name, age, 10 * BATCH)
        if done >= 10 * BATCH:
            self._next["rows"] = 0.0  # there is more
        return done

    def _expire_uploads(self) -> int:
        with self._database.read() as tx:
            gone = uploads.expired(tx, BATCH)
        done = 0
        for upload in gone:
            with self._database.write() as tx:
                if uploads.remove_expired(tx, upload.id):
                    removals.add(tx, uploads.prefix(upload))
                    done += 1
        return done

    def _who_keeps_less(self) -> list[tuple[str, Tenant, float]]:
        """Those for whom an operator set fewer days than count for everybody."""
        with self._database.read() as tx:
            rows = quotas.every(tx)
        found = []
        for tenant, quota in rows.items():
            for kind, days, every in (
                ("results", quota.results_days, self._ages.results),
                ("logs", quota.logs_days, self._ages.logs),
            ):
                if days is not None and (every is None or days * DAY < every):
                    found.append((kind, tenant, days * DAY))
        return found

    def _walk(self, kind: str, tenant: Tenant | None, age: float) -> int:
        """One batch further along the jobs that ended long enough ago; from the start again now and then."""
        name = f"{kind} of {tenant}"
        if self._due(f"{name} from the start", AGAIN) or self._ages_of.get(name) != age:
            self._at[name], self._next[name], self._ages_of[name] = Mark(), 0.0, age
        if time.monotonic() < self._next[name]:
            return 0
        with self._database.read() as tx:
            found = ended.page(tx, kind, age, self._at[name], BATCH, tenant)
        for mark in found:
            with self._database.write() as tx:
                self._act(tx, kind, mark.job_id, tenant, age)
            self._at[name] = mark
        if len(found) < BATCH:
            self._next[name] = time.monotonic() + SELDOM
        return len(found)

    @staticmethod
    def _act(tx: Connection, kind: str, job_id: str, tenant: Tenant | None, age: float) -> None:
        if kind == "results":
            whose = f" of the {tenant.kind.value} {tenant.id}" if tenant is not None else ""
            why = f"results{whose} are kept for {age / DAY:g} days here"
            ended.sweep_results(tx, job_id, _message(why), {"why": why})
        elif kind == "logs":
            ended.delete_logs(tx, job_id)
        else:
            ended.forget(tx, job_id)


def _message(why: str) -> str:
    return f"The results were deleted on {datetime.now(UTC):%Y-%m-%d}: {why}."


def remove_bytes(database: Database, storage: Storage) -> int:
    """Remove what no row names any more; how many prefixes. One that storage cannot remove comes later again."""
    end = time.monotonic() + BYTES_SECONDS
    done = 0
    with database.read() as tx:
        due = removals.due(tx, BATCH)
    for removal in due:
        done += remove(database, storage, removal)
        if time.monotonic() > end:
            break
    return done


def remove(database: Database, storage: Storage, removal: Removal) -> bool:
    """Remove the bytes of one removal; False: storage could not, and is asked again later."""
    try:
        storage.delete_prefix(removal.prefix)
    except Exception:  # the boundary of one removal
        log.warning("%s is not removed from storage yet", removal.prefix, exc_info=True)
        with database.write() as tx:
            removals.again(tx, removal)
        return False
    with database.write() as tx:
        removals.done(tx, removal)
    return True


def delete_results(database: Database, principal: Principal, job_id: str) -> Job:
    """The wish of a person: the results of a job that has ended go now; the job as it is then. Idempotent.

    Raises NoSuchJob, Forbidden, WrongPhase while the job goes on, Held where a publication still needs them.
    """
    principal.need(Scope.RUN)
    with database.write() as tx:
        job = jobs.get_to_change(tx, job_id, principal.reach)
        if not job.terminal:
            raise WrongPhase(f"The job {job_id} has not ended yet.", hint=f"Stop it first: broker dismiss {job_id}")
        if reasons := ended.held(tx, job_id):
            raise Held(
                f"The results of {job_id} are still needed: {', '.join(reasons)}.", hint="Try again when that is done."
            )
        why = "their owner wished it" if principal.owner == job.owner else "somebody who may change the job wished it"
        size = ended.sweep_results(tx, job_id, _message(why), {"why": why})
        if size is not None:
            audit.record(tx, audit.entry(principal, "delete-results", f"job/{job_id}", bytes=size))
        return jobs.get_light(tx, job_id)
