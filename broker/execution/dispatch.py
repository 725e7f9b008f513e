"""Dispatch: the next job of a platform is claimed, its intent recorded, and submitted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection

from broker.access.credential import Kind
from broker.access.quota import NONE, Quotas, month_begins
from broker.access.vault import Vault
from broker.errors import NoSuchUpload, PackageError, PlatformRefused, PlatformUnavailable
from broker.execution import accounts, credentials
from broker.execution.accept import CREDENTIAL_SCHEME, STORED_SCHEME, UPLOAD_SCHEME
from broker.execution.hold import alone, held
from broker.execution.images import Images
from broker.execution.reuse import reuse
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Capabilities, Failure, Fault, Job, JobSpec, Limits, Phase, Reason, StageItem
from broker.jobs.placement import too_small
from broker.platform import Near, Platform
from broker.storage import Storage
from broker.store import budgets, callcache, claims, processes, uploads
from broker.store.database import Database

LINK_SECONDS = 24 * 3600.0  # how long a platform may take until it fetches an input


def dispatch(
    database: Database,
    platform: Platform,
    offer: Capabilities,
    storage: Storage,
    limits: Limits,
    holder: str,
    quotas: Quotas = NONE,
    *,
    vault: Vault | None = None,
    images: Images | None = None,
) -> Job | None:
    """Submit the job that goes next; the job as saved, or None when nothing may go now.

    `vault`: opens the credentials that the job's inputs and images need; `images`: the rules for images of now.
    """
    with database.write() as tx:
        job = claims.claim_next(tx, platform.name, offer, holder, quotas)
    if job is None:
        return None
    limits = replace(limits, scatter_width=quotas.scatter_width(job.owner, job.project, job.delegate))
    with held(database, [job]):
        if why := too_small(job.needs, offer):
            text = f"{platform.name} has become too small for the job: {' '.join(why)} Execute it again."
            return _save(database, job, lifecycle.failed(Failure(Fault.LIMIT, Reason.NO_PLATFORM, text)))
        if not isinstance(platform, Near) and _budget_is_spent(database, job, offer, vault):  # by jobs before it
            text = f"{job.project} has spent its budget on {platform.name} for this month. See: broker usage budgets"
            return _save(database, job, lifecycle.failed(Failure(Fault.LIMIT, Reason.NO_PLATFORM, text)))
        return alone(database, job, lambda: _submit(database, platform, job, storage, limits, vault, images))


def _budget_is_spent(database: Database, job: Job, offer: Capabilities, vault: Vault | None) -> bool:
    """Of a job that is not there yet; one whose submission was interrupted goes on, as does one whose owner pays."""
    if not lifecycle.untouched(job):
        return False
    with database.read() as tx:
        if job.platform not in budgets.spent(tx, job.project, month_begins(time.time())):
            return False
        at = offer.accounts_at
        return vault is None or at is None or accounts.of_job(tx, vault, job, at) is None


def _submit(
    database: Database,
    platform: Platform,
    job: Job,
    storage: Storage,
    limits: Limits,
    vault: Vault | None,
    images: Images | None,
) -> Job:
    if callcache.wanted(job):
        with database.write() as tx:
            job = reuse(tx, job)
        if job.phase is not Phase.SUBMITTING:
            return job
    try:
        if images is not None:
            images.check(job.needs.images)  # the rules may have changed since the package was deployed
        if vault is not None:
            job = _with_account(database, job, getattr(platform, "account_at", None), vault)
        spec = _spec(database, job, storage, limits)
        if vault is not None:
            spec = _with_secrets(database, job, spec, vault)
        for handle in platform.submit(spec):
            job = _save(database, job, lifecycle.submitted(handle), hold="pending" in handle)
        return job
    except PlatformUnavailable as error:
        return _save(database, job, lifecycle.unavailable(job, error))
    except PlatformRefused as error:
        return _save(database, job, lifecycle.refused(job, error))
    except NoSuchUpload as error:
        return _save(database, job, lifecycle.failed(Failure(Fault.STAGING, Reason.INPUT_UNREACHABLE, error.detail)))
    except PackageError as error:
        return _save(database, job, lifecycle.failed(Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, str(error))))


def _save(database: Database, job: Job, change: lifecycle.Change, hold: bool = False) -> Job:
    with database.write() as tx:
        return claims.save(tx, job, change, hold=hold)


def _spec(database: Database, job: Job, storage: Storage, limits: Limits) -> JobSpec:
    with database.read() as tx:
        process = processes.get(tx, job.process_id, job.process_revision)
        bundle, _ = processes.package(tx, process.digest)
        given, items = _brought(tx, job)
        stage = tuple(linked(tx, storage, item) for item in (*job.stage, *items))
    return JobSpec(
        job_id=job.id,
        attempt=job.attempt,
        name=job.name,
        owner=job.owner,
        project=job.project,
        process=f"{job.process_id}@{job.process_revision}",
        bundle=bundle,
        job_order=job.job_order,
        stage=stage,
        needs=job.needs,
        limits=limits,
        title=job.title,
        images=process.images or {},
        reuse=callcache.wanted(job),
        brought=given,
        account=job.account,
        first=job.retries == 0 and job.handle is None,  # of what is tried again nobody knows how far it came
    )


def _with_account(database: Database, job: Job, at: str | None, vault: Vault) -> Job:
    """The account of the job's owner at the platform, which is written down before anything is sent with it."""
    if not lifecycle.untouched(job) or (at is None and job.account is None):
        return job
    with database.write() as tx:
        row = accounts.of_job(tx, vault, job, at) if at is not None else None
        if row is not None:
            credentials.note(tx, job, [row])
        account = None if row is None else row.id
        return (
            job if account == job.account else claims.save(tx, job, Change("", due_in=0.0), hold=True, account=account)
        )


def _brought(tx: Connection, job: Job) -> tuple[Mapping[str, Any], tuple[StageItem, ...]]:
    """What other platforms gave for steps of the job."""
    if not job.children:
        return {}, ()
    from broker.execution import across  # noqa: PLC0415 - few jobs have steps elsewhere

    return across.brought(tx, job)


def _with_secrets(database: Database, job: Job, spec: JobSpec, vault: Vault) -> JobSpec:
    """The spec with what is released to it, which is written down first."""
    spec = replace(spec, stage=tuple(_with_credential(database, job, item, vault) for item in spec.stage))
    wanted = credentials.Wanted.of(spec.stage, job.needs.images)
    if not wanted.kinds:
        return spec
    with database.read() as tx:
        released, rows = credentials.release(tx, vault, job, wanted)
    if rows:
        with database.write() as tx:
            credentials.note(tx, job, rows)
    return replace(spec, secrets=released)


def _with_credential(database: Database, job: Job, item: StageItem, vault: Vault) -> StageItem:
    """What a repository's own package logs in with, as a file. Raises PlatformRefused where it is gone.

    A random member keeps the file's checksum, which the record of provenance has, from being one of the password.
    """
    if item.url is None or not item.url.startswith(CREDENTIAL_SCHEME):
        return item
    target = item.url.removeprefix(CREDENTIAL_SCHEME)
    with database.write() as tx:
        found = credentials.find_row(tx, vault, job.owner, job.project, Kind.PRR, target)
        if found is None:
            raise PlatformRefused(f"The credential for {target} is gone.", hint="broker credential add")
        row, secret = found
        credentials.note(tx, job, [row])
    text = json.dumps({**secret.fields, "salt": token_hex()})
    return replace(item, url=None, text=text)


def linked(tx: Connection, storage: Storage, item: StageItem) -> StageItem:
    """One of our own uploads and files becomes a link that the platform can fetch. Raises NoSuchUpload."""
    if item.url is not None and item.url.startswith(STORED_SCHEME):
        return replace(item, url=storage.link(item.url.removeprefix(STORED_SCHEME), LINK_SECONDS), trusted=True)
    if item.url is None or not item.url.startswith(UPLOAD_SCHEME):
        return item
    upload = uploads.get(tx, item.url.removeprefix(UPLOAD_SCHEME))
    return replace(item, url=storage.link(uploads.key(upload), LINK_SECONDS), trusted=True)
