"""What a publication is made from: the runs of jobs with all that goes with them, a process alone, or neither."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import WORKS, Principal, Scope
from broker.errors import Forbidden, InputError, InputProblem, NoSuchProcess, NoSuchUpload, ResultsGone, WrongPhase
from broker.execution.accept import UPLOAD_SCHEME
from broker.execution.collect import key
from broker.execution.publishrequest import Asked
from broker.jobs.model import Job, Phase, StageItem
from broker.jobs.publicrecord import published
from broker.results.target import File
from broker.store import comparisons, files, jobs, processes, projects, provenance, uploads
from broker.store.publications import Publication

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One job: `record` as it is published; `files`: its kept outputs; `uploads` and `values`: inputs that lie nowhere
    but here, by their paths in the record; `bundle`, `inspection`: of its package; `log`: what its steps wrote;
    `report`: of the newest comparison of its outputs with others."""

    job: Job
    record: Json
    files: tuple[File, ...]
    uploads: Mapping[str, File]
    values: Mapping[str, bytes] = field(repr=False)
    bundle: Mapping[str, Any] = field(repr=False)
    inspection: Mapping[str, Any] = field(repr=False)
    log: str = field(repr=False)
    report: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Subject:
    """`process`: of a process alone, as in a record; `bundle`: its package; `summary`: what its OGC document says of
    the process, of whichever of them (empty where it is gone)."""

    project: str
    runs: tuple[Run, ...] = ()
    process: Json | None = None
    bundle: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job_ids(self) -> tuple[str, ...]:
        return tuple(run.job.id for run in self.runs)

    @property
    def described(self) -> Mapping[str, Any]:
        """The process, whichever way it comes in."""
        return self.runs[0].record["process"] if self.runs else self.process or {}

    @property
    def package(self) -> Mapping[str, Any] | None:
        return self.runs[0].bundle if self.runs else self.bundle


# ---- from rows


def of_asked(tx: Connection, principal: Principal, asked: Asked) -> Subject:
    """What somebody asks to publish.

    Raises NoSuchJob, NoSuchProcess, Forbidden, WrongPhase, ResultsGone, InputError.
    """
    rows = [jobs.get_to_change(tx, job_id, principal.reach) for job_id in asked.jobs]
    whose = {_project_of(principal, job) for job in rows} or {principal.project}
    if len(whose) > 1:
        raise InputError(InputProblem("/jobs", f"were run for different projects: {', '.join(sorted(whose))}"))
    (project,) = whose
    if not _works_for(tx, principal, project):
        raise Forbidden(f"You do not work in the project {project}: publish what is your own.")
    for job in rows:
        _refuse(job)
    if asked.process is None:
        return _of_runs(tx, project, rows)
    process = processes.get_to_change(tx, asked.process, principal.reach)
    revision = process.revision
    if asked.version is not None:
        revision = processes.revision_of(tx, asked.process, asked.version, reach=principal.reach)
    return _alone(tx, project, process.id, revision)


def of_publication(tx: Connection, publication: Publication) -> Subject:
    """What a publication is made from, for the broker itself. Raises NoSuchJob, InputError."""
    if publication.process_id is not None:
        return _alone(tx, publication.project, publication.process_id, publication.process_revision or 1)
    return _of_runs(tx, publication.project, [jobs.get(tx, job_id) for job_id in publication.jobs])


def _of_runs(tx: Connection, project: str, rows: Sequence[Job]) -> Subject:
    runs = tuple(_run(tx, job) for job in rows)
    first = next(iter(rows), None)
    return Subject(project, runs, summary=_summary(tx, first.process_id, first.process_revision) if first else {})


def _alone(tx: Connection, project: str, process_id: str, revision: int) -> Subject:
    process = provenance.process_of(tx, process_id, revision)
    bundle, _ = processes.package(tx, process["digest"])
    return Subject(project, (), process, bundle, _summary(tx, process_id, revision))


def _summary(tx: Connection, process_id: str, revision: int) -> Mapping[str, Any]:
    try:
        return processes.get(tx, process_id, revision).summary
    except NoSuchProcess:
        return {}


def _project_of(principal: Principal, job: Job) -> str:
    """In whose name a job is published: the project that it was run for; by who may change it only because it is
    shared, the one that it is shared with."""
    if job.owner == principal.owner or Scope.ADMIN in principal.scopes:
        return job.project
    return job.shared_with or job.project


def _works_for(tx: Connection, principal: Principal, project: str) -> bool:
    own = project == principal.owner or Scope.ADMIN in principal.scopes
    return own or projects.part_of(tx, project, principal.owner) in WORKS


def _refuse(job: Job) -> None:
    if job.phase is not Phase.SUCCESSFUL:
        hint = None if job.terminal else "To publish it as soon as it is, say so in the execute request (publish)."
        raise WrongPhase(f"The job {job.id} is {job.phase}: only successful jobs are published.", hint=hint)
    if job.swept is not None:
        raise ResultsGone(f"The results of {job.id} were deleted.", hint="Run it again, then publish.")


def _run(tx: Connection, job: Job) -> Run:
    record = provenance.get(tx, job.id)
    if record is None or "digest" not in record["package"]:
        why = "its record of provenance is incomplete, or it is older than such records"
        raise InputError(InputProblem("/jobs", f"{job.id} cannot be published: {why}"))
    record = published(record, job)
    kept = files.of_job(tx, job.id)
    outputs = tuple(File(f.path, key(job, f.attempt, f.path), f.size, f.sha256, f.media_type) for f in kept)
    bundle, inspection = processes.package(tx, record["package"]["digest"])
    log = "".join(row.text for row in _log(tx, job))
    report = comparisons.report_document(tx, job.id)
    return Run(job, record, outputs, *_only_here(tx, job, record), bundle, inspection, log, report)


def _log(tx: Connection, job: Job) -> Iterator[files.LogRow]:
    after = 0
    while rows := files.logs(tx, job.id, after=after, attempt=job.attempt):
        yield from rows
        after = rows[-1].id


def _only_here(tx: Connection, job: Job, record: Mapping[str, Any]) -> tuple[dict[str, File], dict[str, bytes]]:
    """The inputs that nobody else can read: uploads that are still there, and bytes that came with the request."""
    staged = {f"inputs/{item.path}": item for item in job.stage}
    held: dict[str, File] = {}
    values: dict[str, bytes] = {}
    entries = [one for value in record["inputs"].values() if isinstance(value, list) for one in value]
    for entry in (one for whole in entries for one in (whole, *whole.get("files", ()))):
        path = str(entry["path"])
        item = staged.get(path)
        if item is None or entry.get("location"):
            continue
        if (raw := _sent(item)) is not None:
            values[path] = raw
        elif (file := _uploaded(tx, item, path)) is not None:
            held[path] = file
    return held, values


def _sent(item: StageItem) -> bytes | None:
    if item.text is not None:
        return item.text.encode()
    return None if item.data is None else b64decode(item.data)


def _uploaded(tx: Connection, item: StageItem, path: str) -> File | None:
    if item.url is None or not item.url.startswith(UPLOAD_SCHEME):
        return None
    try:
        upload = uploads.get(tx, item.url.removeprefix(UPLOAD_SCHEME))
    except NoSuchUpload:
        return None
    return File(path, uploads.key(upload), upload.size, upload.sha256, upload.media_type)
