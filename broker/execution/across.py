"""Across: the steps of a job that other platforms run become jobs there, its children; it goes on when they ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from broker.errors import (
    InputError,
    LimitError,
    NoRoom,
    NoSuchJob,
    PackageError,
    PlatformRefused,
    PlatformUnavailable,
    QuotaExceeded,
)
from broker.execution import collect
from broker.execution.accept import STORED_SCHEME
from broker.execution.hold import alone, held
from broker.execution.placing import placed
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Failure, Fault, Job, Phase, Reason, StageItem, Step
from broker.jobs.observation import Need
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.describe import describe, summary
from broker.packages.shape import shaped
from broker.platform import Collected
from broker.store import callcache, children, claims, files, jobs, processes
from broker.store.children import Wanted
from broker.store.database import Database, new_id
from broker.store.files import KeptFile
from broker.store.processes import NewProcess, Process

Read = Callable[[bytes, Mapping[str, str]], tuple[Deployment, Inspection]]
"""A tool as a document, and the documents that it may refer to: read as a deployed package is. Raises PackageError."""
MOST = 20  # jobs that are looked at in one go
MOST_CHILDREN = 1000  # of one job
MOST_ROUNDS = 3  # in which one step may need another platform: with the same inputs it gets what it was given before
MOST_MADE = 100  # files that a step's record names
BELOW = ".steps"  # where the results of children lie among the inputs of their parent


def begin(tx: Connection, job: Job, change: Change, needs: Sequence[Need], found: Collected, **columns: Any) -> Job:
    """An attempt has ended with needs: what goes in there is kept as outputs are, and then sent. The job as saved, held
    by the caller where there are files."""
    children.note(tx, job, needs, found.outputs)
    files.announce(tx, job.id, job.attempt, found.files)
    job = claims.save(tx, job, change, hold=True, **columns)
    return job if found.files else claims.save(tx, job, lifecycle.waiting())


def step(database: Database, platform: str, holder: str, read: Read) -> list[Job]:
    """Make the children of jobs of a platform that wait for some, and go on with those whose children have ended; the
    jobs as saved."""
    with database.write() as tx:
        taken = claims.claim_due(tx, platform, [Phase.WAITING], holder, MOST)
    with held(database, taken):
        saved = [alone(database, job, partial(_go_on, database, job, read)) for job in taken]
    return [job for job in saved if job is not None]


def _go_on(database: Database, job: Job, read: Read) -> Job:
    with database.read() as tx:
        wanted = children.of_attempt(tx, job)
        kept = files.of_job(tx, job.id)
    missing = [one for one in wanted if one.child is None]
    try:
        tools = _tools(database, job, missing, read) if missing else {}
    except StepRefused as error:
        with database.write() as tx:
            return claims.save(tx, job, lifecycle.failed(error.failure))
    with database.write() as tx:
        claims.confirm(tx, job, lock=True)
        columns: dict[str, Any] = {}
        try:
            if missing:
                _refuse_endless(tx, job, missing)
                children.add(tx, job, {one.key: _child(tx, job, one, tools[one.key], kept) for one in missing})
                files.announce(tx, job.id, job.attempt, ())  # they are none of its results; their inputs name them
                columns["children"] = (job.children or 0) + len(missing)
            change = lifecycle.brought(job, children.of_needs(tx, job))
        except StepRefused as error:
            change = lifecycle.failed(error.failure)
        except PlatformUnavailable as error:
            change = Change("", message=error.detail, due_in=lifecycle.LONGEST_LOOK)
        if change.next_attempt:
            children.gone_on(tx, job)
        return claims.save(tx, job, change, **columns)


class StepRefused(Exception):
    """A step cannot be sent elsewhere, and its job fails with that."""

    def __init__(self, fault: Fault, reason: Reason, step: str, why: str) -> None:
        self.failure = Failure(fault, reason, f"The step {step} cannot run elsewhere: {why}", step)
        super().__init__(self.failure.message)


def _refuse_endless(tx: Connection, job: Job, missing: Sequence[Wanted]) -> None:
    """Raise StepRefused where steps get other inputs each time, so that the job would go on for ever, and for more
    children than one job may have."""
    rounds = children.rounds(tx, job)
    for one in missing:
        if rounds[one.step] > MOST_ROUNDS:
            why = f"its inputs were others in each of {MOST_ROUNDS} attempts; what comes before it must give the same."
            raise StepRefused(Fault.PACKAGE, Reason.UNSUPPORTED, one.step, why)
    if (job.children or 0) + len(missing) > MOST_CHILDREN:
        why = f"at most {MOST_CHILDREN} runs of steps of one job are sent to other platforms."
        raise StepRefused(Fault.LIMIT, Reason.SCATTER_TOO_WIDE, missing[0].step, why)


def _tools(database: Database, job: Job, missing: Sequence[Wanted], read: Read) -> dict[str, Process]:
    """The tools of needs as processes, by the keys of the needs; each is read once. Raises StepRefused."""
    with database.read() as tx:
        process = processes.get(tx, job.process_id, job.process_revision)
        bundle, _ = processes.package(tx, process.digest)
    known: dict[str, Process] = {}
    found: dict[str, Process] = {}
    for one in missing:
        text = json.dumps(one.tool, sort_keys=True)
        if text not in known:
            known[text] = _process(database, process, one, text, bundle["documents"], read)
        found[one.key] = known[text]
    return found


def _process(
    database: Database, whole: Process, need: Wanted, text: str, documents: Mapping[str, str], read: Read
) -> Process:
    """The tool of a step as a process that nobody can execute or list: a revision that is not current, under an id that
    no deployment can have."""
    try:
        deployment, inspection = read(text.encode(), documents)
        described = describe(inspection, process_id="step", mutable=True) | {"title": need.step}
    except (PackageError, LimitError) as error:
        raise StepRefused(Fault.PACKAGE, Reason.UNSUPPORTED, need.step, str(error)) from error
    process_id = f"{whole.id}~{whole.revision}.{deployment.bundle.digest[:16]}"
    described = {**described, "id": process_id}
    needs = shaped(inspection.needs, deployment.bundle, inspection.process)
    new = NewProcess(
        id=process_id,
        owner=whole.owner,
        project=whole.project,
        version=whole.version,
        kind=deployment.bundle.kind,
        digest=deployment.bundle.digest,
        body=deployment.body,
        media_type=deployment.media_type,
        summary=summary(described),
        description=described,
        needs=needs,
        shared=whole.shared,
        shared_with=whole.shared_with,
        delegate=whole.delegate,
        images={image: pin for image, pin in (whole.images or {}).items() if image in needs.images} or None,
    )
    with database.write() as tx:
        processes.keep_package(tx, deployment.bundle.digest, deployment.bundle.to_json(), inspection.to_json())
        return processes.keep_part(tx, new)


def _child(tx: Connection, job: Job, need: Wanted, process: Process, kept: Sequence[KeptFile]) -> jobs.NewJob:
    """The job that runs a step of another one: in the same name, wherever the step says. Raises StepRefused, and
    PlatformUnavailable where nothing can be said yet."""
    order, stage = _staged(need.order, job, kept, need.key, "step")
    try:
        placement = placed(tx, process.needs, job.project, named=need.platform or None, stage=stage, owner=job.owner)
    except NoRoom as error:
        raise StepRefused(Fault.LIMIT, Reason.NO_PLATFORM, need.step, error.detail) from error
    except (InputError, PlatformRefused, QuotaExceeded) as error:
        raise StepRefused(Fault.PLATFORM, Reason.NO_PLATFORM, need.step, str(error)) from error
    request: dict[str, Any] = {"inputs": {}, "response": "document"}
    if callcache.wanted(job):
        request["reuse"] = True
    return jobs.NewJob(
        id=new_id(),
        owner=job.owner,
        project=job.project,
        process_id=process.id,
        process_revision=process.revision,
        platform=str(placement.platform),
        title=f"{job.title or job.process_id}: {need.step}",
        tags=job.tags,
        request=request,
        job_order=order,
        stage=stage,
        needs=process.needs,
        priority=job.priority,
        shared=job.shared,
        shared_with=job.shared_with,
        delegate=job.delegate,
        placement=placement.to_json(),
    )


def _staged(
    value: Any, source: Job, kept: Sequence[KeptFile], cut: str, below: str
) -> tuple[Any, tuple[StageItem, ...]]:
    """A value whose files are kept for the attempt of a job, as inputs of another one, and what stages them: by
    reference, not by copy. Their paths begin with `below` instead of `cut`."""
    items: dict[str, StageItem] = {}

    def moved(path: str) -> str:
        return f"{below}/{path.removeprefix(cut).lstrip('/')}"

    def put(one: KeptFile) -> None:
        url = f"{STORED_SCHEME}{collect.key(source, one.attempt, one.path)}"
        items[one.path] = StageItem(moved(one.path), url=url, trusted=True, size=one.size, sha256=one.sha256)

    def stage(entry: Mapping[str, Any]) -> None:
        path = str(entry["location"])
        inside = [one for one in kept if one.path == path or one.path.startswith(f"{path}/")]
        for one in inside:
            put(one)
        if not inside and entry["class"] == "Directory":
            items[path] = StageItem(moved(path), directory=True)

    def read(one: Any) -> Any:
        if isinstance(one, list | tuple):
            return [read(each) for each in one]
        if not isinstance(one, Mapping):
            return one
        found = {key: read(each) for key, each in one.items()}
        if one.get("class") in ("File", "Directory") and isinstance(one.get("location"), str):
            stage(one)
            found["location"] = f"inputs/{moved(one['location'])}"
        return found

    return read(value), tuple(items.values())


def brought(tx: Connection, job: Job) -> tuple[dict[str, Any], tuple[StageItem, ...]]:
    """What children of earlier attempts gave, as `JobSpec.brought`, and what stages it. Raises PlatformRefused where it
    is gone."""
    found: dict[str, Any] = {}
    items: list[StageItem] = []
    for need in children.every(tx, job.id):
        if need.child is None or need.attempt == job.attempt:
            continue
        try:
            child = jobs.get(tx, need.child)
        except NoSuchJob:
            child = None
        if child is None or child.outputs is None:
            text = f"What the step {need.step} gave on {need.platform} was deleted."
            raise PlatformRefused(text, hint="Execute the job again.", fault_of="staging", code="input-unreachable")
        outputs, stage = _staged(child.outputs, child, files.of_job(tx, child.id), "", f"{BELOW}/{need.key}")
        made = tuple(f"inputs/{item.path}" for item in stage[:MOST_MADE])
        one = Step(need.step, "successful", child.started, child.finished, node=child.platform, made=made)
        found[need.key] = {"outputs": outputs, "step": one.to_json()}
        items += stage
    return found, tuple(items)
