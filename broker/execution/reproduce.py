"""Reproduce: an experiment that somebody published is looked up, checked, and becomes a job whose outputs are compared.

What its package is, is for the deploy path to say: a child without network and secrets reads it. A package that is not
here yet is deployed as a private process of who asks; one that is here, with the same digest, is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.errors import (
    BrokerError,
    InputError,
    InputProblem,
    ResultsGone,
    WrongPhase,
)
from broker.execution.accept import ExecuteRequest, Key, Ticket, order_of, prepare
from broker.execution.experimentpackage import deployed, here, other_images, other_package, read
from broker.execution.experiments import Sources, resolved
from broker.execution.placing import placed
from broker.jobs.model import Job, Phase
from broker.jobs.secrets import unsigned, unsigned_link
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.inputs import Order
from broker.results.experiment import UNREACHABLE, Experiment
from broker.results.verdict import Tolerance
from broker.results.workflowkind import Remark
from broker.store import jobs, processes
from broker.store.processes import Process

UploadId = Callable[[str], str | None]
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_GIVEN = ("no-input", "input-")  # remarks that no longer count when whoever asks gives inputs


@dataclass(frozen=True, slots=True)
class Asked:
    """`experiment`: the address of a record, the id of one in a configured catalog, or of one's own job; `files`: the
    records themselves, by their paths in a catalog, where they lie nowhere else; `request`: as of any execution, its
    inputs over those of the experiment."""

    experiment: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    tolerance: Tolerance = field(default_factory=Tolerance)
    request: ExecuteRequest = field(default_factory=ExecuteRequest)

    def with_request(self, request: ExecuteRequest) -> Asked:
        return replace(self, request=request)


@dataclass(frozen=True, slots=True)
class Draft:
    """An experiment, checked. `process`: that runs it, where it is here already; else `deployment`, which is to make
    it; `request`: the whole of it; `order`, `platform`: what it would run on, and where; `job`: one's own that is done
    again."""

    experiment: Experiment
    request: ExecuteRequest
    remarks: tuple[Remark, ...]
    process: Process | None = None
    deployment: Deployment | None = None
    inspection: Inspection | None = None
    order: Order | None = None
    platform: str | None = None
    job: str | None = None

    @property
    def runnable(self) -> bool:
        return not any(one.level == "error" for one in self.remarks)

    @property
    def against(self) -> dict[str, Any] | None:
        """What the outputs are compared with (`store.comparisons.ask`)."""
        if self.job is not None:
            return {"kind": "job", "id": self.job}
        found = self.experiment
        return {
            "kind": "experiment", "name": found.name, "href": found.href, "outputs": dict(found.outputs),
        } if found.outputs else None  # fmt: skip

    @property
    def origin(self) -> dict[str, Any]:
        """What the job keeps of where it comes from."""
        found = self.experiment
        facts = {"name": found.name, "title": unsigned(found.title), "href": unsigned_link(found.href), "job": self.job}
        facts |= {"workflow": found.workflow.get("id"), "digest": found.digest, "platform": found.platform}
        return {key: value for key, value in facts.items() if value}


def draft(sources: Sources, principal: Principal, asked: Asked, upload_id: UploadId) -> Draft:
    """The experiment and all that can be said of running it again; nothing is written.

    Raises InputError where there is no such experiment, NoSuchJob, WrongPhase, ResultsGone, EgressRefused,
    TargetUnavailable.
    """
    if _JOB.match(asked.experiment) and not asked.files:
        with sources.database.read() as tx:
            return _of_job(tx, principal, asked, upload_id)
    found = resolved(sources, principal, asked.experiment, asked.files)
    made = Draft(found, _request(asked, found.inputs, found.title), found.remarks)
    made = _packaged(sources, principal, made)
    needs_none = made.inspection is not None and not made.inspection.process["inputs"]
    if asked.request.inputs or needs_none:
        made = replace(made, remarks=tuple(map(_softened, made.remarks)))
    with sources.database.read() as tx:
        return _fitted(tx, principal, made, upload_id)


def _packaged(sources: Sources, principal: Principal, made: Draft) -> Draft:
    """With the process that has the package, or with the deployment that makes one."""
    found, remarks = made.experiment, list(made.remarks)
    with sources.database.read() as tx:
        process, inspection = here(tx, principal, found.digest, found.process_id)
    if process is not None:
        remarks = [one for one in remarks if one.code != UNREACHABLE] + list(other_images(found, process))
        return replace(made, process=process, inspection=inspection, remarks=tuple(remarks))
    if found.package is None or any(one.code == UNREACHABLE for one in remarks):
        return made
    try:
        deployment, inspection = read(sources, found, found.package)
    except BrokerError as error:
        remarks.append(Remark("error", "package-invalid", f"Its package cannot be run: {error.detail}", error.hint))
        return replace(made, remarks=tuple(remarks))
    digest = deployment.bundle.digest
    if found.digest not in (None, digest):
        remarks.append(other_package(found, digest))
    with sources.database.read() as tx:
        process, _ = here(tx, principal, digest, found.process_id)
    if process is not None:
        remarks += other_images(found, process)
    return replace(made, process=process, deployment=deployment, inspection=inspection, remarks=tuple(remarks))


def accept(
    sources: Sources, principal: Principal, asked: Asked, upload_id: UploadId, key: Key | None = None
) -> Ticket | Job:
    """A ticket for the job that does the experiment again, its package deployed; or the job that the key has made.

    Raises InputError with every reason why it cannot be run, and as `draft`, `execution.deploy`, `accept.prepare`.
    """
    principal.need(Scope.RUN)
    if key is not None:
        with sources.database.read() as tx:
            if made := jobs.by_key(tx, principal.owner, key.key, key.body_sha256):
                return made
    found = draft(sources, principal, asked, upload_id)
    if wrong := [one for one in found.remarks if one.level == "error"]:
        raise InputError(
            *(InputProblem(one.pointer, one.message) for one in wrong),
            hint=" ".join(dict.fromkeys(one.advice for one in wrong if one.advice)) or None,
        )
    process = found.process
    if process is None:
        assert found.deployment is not None  # noqa: S101 - what has neither is refused above
        assert found.inspection is not None  # noqa: S101
        process = deployed(sources, principal, found.experiment, found.deployment, found.inspection)
    against, extra = found.against, {**found.request.extra, "reproduces": found.origin}
    request = replace(found.request, extra=extra)
    with sources.database.read() as tx:
        ticket = prepare(tx, principal, process.id, request, upload_id=upload_id, revision=process.revision, key=key)
    if isinstance(ticket, Job):
        return ticket
    job = replace(ticket.job, reproduces=found.job or unsigned_link(found.experiment.href))
    return replace(ticket, job=job, compared=None if against is None else (against, asked.tolerance.to_json()))


def _of_job(tx: Connection, principal: Principal, asked: Asked, upload_id: UploadId) -> Draft:
    """A job of this broker once more."""
    job = jobs.get(tx, asked.experiment, principal.reach)
    if job.phase is not Phase.SUCCESSFUL:
        raise WrongPhase(f"The job {job.id} is {job.phase}: only successful jobs can be reproduced.")
    if job.swept is not None:
        raise ResultsGone(f"The results of {job.id} were deleted.", hint="There is nothing to compare with.")
    process = processes.get(tx, job.process_id, job.process_revision, reach=principal.reach)
    title = job.title or job.process_id
    found = Experiment(job.id, title, "", digest=process.digest, inputs=job.request.get("inputs") or {})
    inspection = Inspection.from_json(processes.inspection(tx, process.digest))
    request = _request(asked, found.inputs, title)
    made = Draft(found, request, (), process, None, inspection, job=job.id)
    return _fitted(tx, principal, made, upload_id)


def _request(asked: Asked, inputs: Mapping[str, Any], title: str) -> ExecuteRequest:
    """The whole request: what is asked over what the experiment says. It runs: nothing is taken from the cache."""
    extra = {name: value for name, value in asked.request.extra.items() if name != "reuse"}
    merged = {**inputs, **asked.request.inputs}
    return replace(asked.request, inputs=merged, title=asked.request.title or f"Again: {title}"[:500], extra=extra)


# ---- whether it fits


def _softened(one: Remark) -> Remark:
    return replace(one, level="warning") if one.code.startswith(_GIVEN) else one


def _said(one: InputProblem) -> str:
    return f"The input {one.pointer.removeprefix('/inputs/')} {one.detail}"


def _fitted(tx: Connection, principal: Principal, made: Draft, upload_id: UploadId) -> Draft:
    """With job order and platform, and what is wrong about them. Inputs that are not known are complained of once."""
    if made.inspection is None:
        return made
    remarks, order, platform = list(made.remarks), None, None
    needs = made.inspection.needs
    try:
        if not any(one.level == "error" and one.code.startswith(_GIVEN) for one in remarks):
            order = order_of(tx, principal, made.inspection, made.request.inputs, upload_id)
    except InputError as error:
        advice = "Give other inputs: --input NAME=VALUE, or inputs in the request."
        remarks += [Remark("error", "inputs-unfit", _said(one), advice, one.pointer) for one in error.problems]
    try:
        stage = order.stage if order is not None else ()
        named, who = made.request.platform, principal
        platform = str(placed(tx, needs, who.project, named=named, stage=stage, owner=who.owner).platform)
    except BrokerError as error:
        remarks.append(Remark("error", "no-platform", error.detail, error.hint))
    return replace(made, remarks=tuple(remarks), order=order, platform=platform)
