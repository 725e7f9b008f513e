"""Accept: an execute request becomes a job row and its outbox row, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from broker.access.principal import Principal, Scope
from broker.access.quota import NONE, Quotas
from broker.errors import (
    IdempotencyConflict,
    InputError,
    InputProblem,
    NoSuchUpload,
    QuotaExceeded,
)
from broker.execution import sharing
from broker.execution.placing import placed
from broker.execution.quotas import Places
from broker.execution.reuse import reuse
from broker.jobs.model import Job
from broker.jobs.placement import Placement
from broker.jobs.secrets import origin
from broker.packages.cwl import Inspection
from broker.packages.inputs import Order, UploadRef, job_order
from broker.store import audit, callcache, comparisons, jobs, processes, uploads
from broker.store.database import Database, new_id
from broker.store.processes import Process
from broker.store.visible import PRIVATE, PROJECT

MOST_KNOWN = 64
_known: dict[tuple[str, int, str, float], tuple[Process, Inspection]] = {}
_TAG = re.compile(r"[\w.:/@+ -]{1,64}\Z")
# how a stage item names what is our own until it is dispatched: an upload, a file in storage, a credential for a target
UPLOAD_SCHEME, STORED_SCHEME, CREDENTIAL_SCHEME = "upload:", "stored:", "credential:"
USED_SECONDS = 7 * 24 * 3600.0  # that an upload lives on once a job counts on it, for the job may have to wait


@dataclass(frozen=True, slots=True)
class ExecuteRequest:
    """The body of an execution (execute.yaml), with the members that are ours: title, tags, platform,
    shared (private | project: with the one in whose name the job runs).

    `outputs` None: all of them. `response`: raw | document. `subscriber`: as in `jobs.model.Job`. `wish`: what is to be
    published of the job, as it was asked; `publish`: the same once somebody has seen that it may be
    (`publish.promised`).
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] | None = None
    response: str = "raw"
    title: str = ""
    tags: tuple[str, ...] = ()
    platform: str | None = None
    shared: str = PRIVATE
    subscriber: Mapping[str, str] | None = None
    wish: Mapping[str, Any] | None = None
    publish: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def receivers(self) -> list[str]:
        """The origins of the subscriber's addresses."""
        return sorted({origin(uri) or "" for kind, uri in (self.subscriber or {}).items() if kind != "base"})

    def remembered(self) -> dict[str, Any]:
        """What the job keeps of the request besides its inputs."""
        kept = {"inputs": dict(self.inputs), "outputs": self.outputs, "response": self.response, **self.extra}
        return {key: value for key, value in {**kept, "publish": self.publish}.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and the SHA-256 of the request's body."""

    key: str
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A checked request: the job to be, the key that names it, the uploads that it counts on, and what its outputs
    are to be compared with (against, tolerance: see `store.comparisons.ask`)."""

    job: jobs.NewJob
    key: Key | None
    uploads: frozenset[str]
    entry: audit.Entry
    compared: tuple[Mapping[str, Any], Mapping[str, float]] | None = None


def prepare(
    tx: Connection,
    principal: Principal,
    process_id: str,
    request: ExecuteRequest,
    *,
    upload_id: Callable[[str], str | None],
    revision: int | None = None,
    key: Key | None = None,
) -> Ticket | Job:
    """All checks of a request, or the job that its Idempotency-Key has made before; nothing is written.

    `upload_id` says which of our uploads an href names. Raises NoSuchProcess, NoSuchUpload, InputError, NoRoom,
    PlatformRefused, PlatformUnavailable, IdempotencyConflict.
    """
    principal.need(Scope.RUN)
    if key is not None and (made := jobs.by_key(tx, principal.owner, key.key, key.body_sha256)):
        return made
    if request.shared != PRIVATE:
        sharing.refuse_stranger(tx, principal)
    if request.wish is not None and request.publish is None:
        raise InputError(InputProblem("/publish", "goes with POST /processes/{processID}/execution only"))
    process, inspection = _process(tx, principal, process_id, revision)
    order = _checked(tx, principal, process, inspection, request, upload_id)
    return _ticket(tx, principal, process, request, order, key)


def prepare_own(
    tx: Connection, principal: Principal, process_id: str, request: ExecuteRequest, order: Order, key: Key
) -> Ticket | Job:
    """The same for a job whose order the broker made itself, of what it keeps. Raises as `prepare`, and InputError
    where the package takes other inputs."""
    if made := jobs.by_key(tx, principal.owner, key.key, key.body_sha256):
        return made
    process, _ = _process(tx, principal, process_id)
    if set(order.job_order) != set(process.description["inputs"]):
        takes = ", ".join(process.description["inputs"])
        raise InputError(InputProblem("/process", f"{process_id} takes {takes}, not {', '.join(order.job_order)}"))
    return _ticket(tx, principal, process, request, order, key)


def _placed(tx: Connection, principal: Principal, process: Process, request: ExecuteRequest, order: Order) -> Placement:
    named, stage = request.platform, order.stage
    return placed(tx, process.needs, principal.project, named=named, stage=stage, owner=principal.owner)


def _ticket(
    tx: Connection, principal: Principal, process: Process, request: ExecuteRequest, order: Order, key: Key | None
) -> Ticket:
    placement = _placed(tx, principal, process, request, order)
    used = {item.url for item in order.stage if item.url and item.url.startswith(UPLOAD_SCHEME)}
    job = _new_job(principal, process, request, order, placement)
    told = {"callbacks": request.receivers} if request.subscriber else {}
    entry = audit.entry(principal, "execute", f"job/{job.id}", process=f"{process.id}@{process.revision}", **told)
    return Ticket(job, key, frozenset(url.removeprefix(UPLOAD_SCHEME) for url in used), entry)


def admit(database: Database, tickets: Sequence[Ticket], quotas: Quotas = NONE) -> list[tuple[Job, bool] | Exception]:
    """Make jobs of tickets in one transaction. For each the job, and whether this call made it (False: another
    request with its Idempotency-Key was quicker), or its error (QuotaExceeded where there is no place for it).

    A ticket that cannot be written spoils only itself. Raises StorageError for all of them.
    """
    try:
        with database.write() as tx:
            return _admit(tx, tickets, quotas)
    except (DatabaseError, NoSuchUpload) as error:
        if len(tickets) == 1:
            return [error]
        return [found for ticket in tickets for found in admit(database, [ticket], quotas)]


def _admit(tx: Connection, tickets: Sequence[Ticket], quotas: Quotas) -> list[tuple[Job, bool] | Exception]:
    new, refused = _with_places(tx, tickets, quotas)
    if used := {upload for ticket in new for upload in ticket.uploads}:
        uploads.prolong(tx, used, USED_SECONDS)
    made = {job.id: job for job in jobs.insert_jobs(tx, [ticket.job for ticket in new])}
    for job in [job for job in made.values() if callcache.wanted(job)]:
        made[job.id] = reuse(tx, job)
    for ticket in new:
        if ticket.compared is not None:
            comparisons.ask(tx, ticket.job.id, *ticket.compared)
    audit.record(tx, *(ticket.entry for ticket in new))
    return [
        (made[ticket.job.id], True) if ticket.job.id in made else refused.get(ticket.job.id) or _earlier(tx, ticket)
        for ticket in tickets
    ]


def _with_places(
    tx: Connection, tickets: Sequence[Ticket], quotas: Quotas
) -> tuple[list[Ticket], dict[str, QuotaExceeded]]:
    """The tickets that make jobs, and by job id why others do not; those of an earlier job are neither."""
    places = Places(tx, quotas, (ticket.job.tenant for ticket in tickets))
    new: list[Ticket] = []
    refused: dict[str, QuotaExceeded] = {}
    for ticket in tickets:
        error = places.refuse(*ticket.job.tenant)
        if error is not None:
            # a request that was sent twice is answered with its job, whatever is used up by now
            if ticket.key is None or not jobs.key_is_known(tx, ticket.job.owner, ticket.key.key):
                refused[ticket.job.id] = error
        elif ticket.key is None or _bound(tx, ticket.job, ticket.key):
            places.take(*ticket.job.tenant)
            new.append(ticket)
    return new, refused


def _bound(tx: Connection, job: jobs.NewJob, key: Key) -> bool:
    return jobs.remember_key(tx, job.owner, key.key, key.body_sha256, job.id)


def _earlier(tx: Connection, ticket: Ticket) -> tuple[Job, bool] | Exception:
    """The job of the request that was quicker with the same key."""
    assert ticket.key is not None  # noqa: S101 - only those are refused
    try:
        made = jobs.by_key(tx, ticket.job.owner, ticket.key.key, ticket.key.body_sha256)
    except IdempotencyConflict as conflict:
        return conflict
    assert made is not None  # noqa: S101 - the key is bound, so that its job is there
    return made, False


def check(
    database: Database,
    principal: Principal,
    process_id: str,
    request: ExecuteRequest,
    *,
    upload_id: Callable[[str], str | None],
) -> tuple[Order, str]:
    """What `accept` would check, without making a job: the job order, and the platform. Raises as `accept`."""
    with database.read() as tx:
        process, order = ordered(tx, principal, process_id, request, upload_id=upload_id)
        found = _placed(tx, principal, process, request, order)
        return order, str(found.platform)


def ordered(
    tx: Connection,
    principal: Principal,
    process_id: str,
    request: ExecuteRequest,
    *,
    upload_id: Callable[[str], str | None],
) -> tuple[Process, Order]:
    """The process and the job order of a request, wherever it may run. Raises as `prepare`."""
    process, inspection = _process(tx, principal, process_id)
    return process, _checked(tx, principal, process, inspection, request, upload_id)


def _process(
    tx: Connection, principal: Principal, process_id: str, revision: int | None = None
) -> tuple[Process, Inspection]:
    """A process and what was found out about its package: a revision never changes, so that it is read once."""
    which = processes.which(tx, process_id, revision, reach=principal.reach)
    if revision is not None:  # an older one runs as long as the process is deployed
        processes.which(tx, process_id, reach=principal.reach)
    known = _known.get(which)
    if known is None:
        process = processes.get(tx, process_id, which[1])
        known = process, Inspection.from_json(processes.inspection(tx, process.digest))
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[which] = known
    return known


def _checked(
    tx: Any,
    principal: Principal,
    process: Process,
    inspection: Inspection,
    request: ExecuteRequest,
    upload_id: Callable[[str], str | None],
) -> Order:
    problems = [
        InputProblem(f"/tags/{i}", "a tag is 1 to 64 letters, digits or any of . : / @ + - _ and space")
        for i, tag in enumerate(request.tags)
        if not _TAG.match(tag)
    ]
    known = process.description["outputs"]
    problems += [
        InputProblem(f"/outputs/{name}", f"there is no such output; there are: {', '.join(known) or 'none'}")
        for name in request.outputs or ()
        if name not in known
    ]
    if problems:
        raise InputError(*problems)
    return order_of(tx, principal, inspection, request.inputs, upload_id)


def order_of(
    tx: Connection,
    principal: Principal,
    inspection: Inspection,
    inputs: Mapping[str, Any],
    upload_id: Callable[[str], str | None],
) -> Order:
    """The job order of inputs, with the uploads that the principal may use. Raises InputError, NoSuchUpload."""

    def upload(href: str) -> UploadRef | None:
        found = upload_id(href)
        if found is None:
            return None
        row = uploads.get(tx, found, principal.reach)
        if not row.complete:
            raise InputError(
                InputProblem("/inputs", f"the upload {row.id} is not complete: {row.received} bytes so far")
            )
        return UploadRef(f"{UPLOAD_SCHEME}{row.id}", row.name, row.media_type, row.size, row.sha256)

    return job_order(inspection, inputs, uploads=upload)


def _new_job(
    principal: Principal, process: Process, request: ExecuteRequest, order: Order, placement: Placement
) -> jobs.NewJob:
    return jobs.NewJob(
        id=new_id(),
        owner=principal.owner,
        project=principal.project,
        process_id=process.id,
        process_revision=process.revision,
        platform=str(placement.platform),
        shared=request.shared,
        shared_with=principal.project if request.shared == PROJECT else None,
        title=request.title,
        tags=request.tags,
        request=request.remembered(),
        job_order=order.job_order,
        stage=order.stage,
        needs=process.needs,
        delegate=principal.delegate,
        subscriber=request.subscriber,
        placement=placement.to_json(),
    )
