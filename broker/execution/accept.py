"""Accept: an execute request becomes a job row and its outbox row, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.errors import InputError, InputProblem, NoRoom, PlatformRefused, PlatformUnavailable
from broker.jobs.model import Job, Needs
from broker.jobs.placement import Placement, place
from broker.packages.cwl import Inspection
from broker.packages.inputs import Order, UploadRef, job_order
from broker.store import jobs, platforms, processes, uploads
from broker.store.database import Database, new_id
from broker.store.processes import Process
from broker.store.together import Together

MOST_INSPECTIONS = 64
_inspections: dict[str, Inspection] = {}
_TAG = re.compile(r"[\w.:/@+ -]{1,64}\Z")
UPLOAD_SCHEME = "upload:"  # how a stage item names one of our own uploads until it is dispatched
USED_SECONDS = 7 * 24 * 3600.0  # that an upload lives on once a job counts on it, for the job may have to wait


@dataclass(frozen=True, slots=True)
class ExecuteRequest:
    """The body of an execution (execute.yaml), with the members that are ours: title, tags, platform.

    `outputs` None: all of them. `response`: raw | document.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] | None = None
    response: str = "raw"
    title: str = ""
    tags: tuple[str, ...] = ()
    platform: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def remembered(self) -> dict[str, Any]:
        """What the job keeps of the request besides its inputs."""
        kept = {"inputs": dict(self.inputs), "outputs": self.outputs, "response": self.response, **self.extra}
        return {key: value for key, value in kept.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and the SHA-256 of the request's body."""

    key: str
    body_sha256: str


def accept(
    database: Database,
    principal: Principal,
    process_id: str,
    request: ExecuteRequest,
    *,
    upload_id: Callable[[str], str | None],
    revision: int | None = None,
    key: Key | None = None,
    together: Together | None = None,
) -> tuple[Job, bool]:
    """The job, and whether this call made it (False: the Idempotency-Key had made it before).

    `upload_id` says which of our uploads an href names; `together` lets many requests share a commit.
    Raises NoSuchProcess, NoSuchUpload, InputError, NoRoom, PlatformRefused, PlatformUnavailable,
    IdempotencyConflict: no job exists then.
    """
    principal.need(Scope.RUN)
    with database.read() as tx:
        if key is not None and (made := jobs.by_key(tx, principal.owner, key.key, key.body_sha256)):
            return made, False
        process = processes.get(tx, process_id, revision)
        order = _checked(tx, principal, process, _inspection(tx, process.digest), request, upload_id)
        placement = _placed(process.needs, place(process.needs, platforms.candidates(tx), request.platform), request)
    new = _new_job(principal, process, request, order, placement)

    def save(tx: Connection) -> tuple[Job, bool]:
        if key is not None and not jobs.remember_key(tx, principal.owner, key.key, key.body_sha256, new.id):
            made = jobs.by_key(tx, principal.owner, key.key, key.body_sha256)
            assert made is not None  # noqa: S101 - the key is bound, so that its job is there
            return made, False
        if used := {item.url for item in order.stage if item.url and item.url.startswith(UPLOAD_SCHEME)}:
            uploads.prolong(tx, {url.removeprefix(UPLOAD_SCHEME) for url in used}, USED_SECONDS)
        return jobs.insert_job(tx, new), True

    return (together or Together(database))(save)


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
        process = processes.get(tx, process_id)
        order = _checked(tx, principal, process, _inspection(tx, process.digest), request, upload_id)
        found = place(process.needs, platforms.candidates(tx), request.platform)
        return order, _placed(process.needs, found, request)


def _inspection(tx: Connection, digest: str) -> Inspection:
    """What was found out about a package when it was deployed; the same for ever, so that it is read once."""
    known = _inspections.get(digest)
    if known is None:
        known = Inspection.from_json(processes.inspection(tx, digest))
        if len(_inspections) >= MOST_INSPECTIONS:
            _inspections.clear()
        _inspections[digest] = known
    return known


def _checked(
    tx: Any,
    principal: Principal,
    process: Process,
    inspection: Inspection,
    request: ExecuteRequest,
    upload_id: Callable[[str], str | None],
) -> Order:
    def upload(href: str) -> UploadRef | None:
        found = upload_id(href)
        if found is None:
            return None
        row = uploads.get(tx, found, principal.sees)
        if not row.complete:
            raise InputError(
                InputProblem("/inputs", f"the upload {row.id} is not complete: {row.received} bytes so far")
            )
        return UploadRef(f"{UPLOAD_SCHEME}{row.id}", row.name, row.media_type, row.size, row.sha256)

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
    return job_order(inspection, request.inputs, uploads=upload)


def _placed(needs: Needs, placement: Placement, request: ExecuteRequest) -> str:
    """The platform's name, or the error that says for each platform why not."""
    if placement.platform is not None:
        return placement.platform
    if not placement.reasons:
        if request.platform is not None:
            raise InputError(InputProblem("/platform", f"there is no platform {request.platform!r}"))
        raise PlatformUnavailable(
            "No platform has reported yet.", hint="Try again in some seconds, or ask the operator to run: broker doctor"
        )
    why = " ".join(f"{name}: {' '.join(reasons)}" for name, reasons in placement.reasons.items())
    if placement.by_capacity:
        raise NoRoom(f"The package needs more than any platform has. {why}")
    raise PlatformRefused(f"No platform can run this package. {why}", code="no-platform")


def _new_job(
    principal: Principal, process: Process, request: ExecuteRequest, order: Order, platform: str
) -> jobs.NewJob:
    return jobs.NewJob(
        id=new_id(),
        owner=principal.owner,
        project=principal.project,
        process_id=process.id,
        process_revision=process.revision,
        platform=platform,
        title=request.title,
        tags=request.tags,
        request=request.remembered(),
        job_order=order.job_order,
        stage=order.stage,
        needs=process.needs,
    )
