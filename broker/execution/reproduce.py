"""Reproduce: an experiment that somebody published is looked up, checked, and becomes a job whose outputs are compared.

What its package is, is for the deploy path to say: a child without network and secrets reads it. A package that is not
here yet is deployed as a private process of who asks; one that is here, with the same digest, is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.egress import Egress
from broker.errors import (
    BrokerError,
    DuplicatedProcess,
    ImmutableProcess,
    InputError,
    InputProblem,
    ResultsGone,
    StagingError,
    WrongPhase,
)
from broker.execution.accept import ExecuteRequest, Key, Ticket, order_of, prepare
from broker.execution.deploy import deploy
from broker.execution.images import Images
from broker.execution.placing import placed
from broker.jobs.model import Job, Phase
from broker.jobs.secrets import unsigned, unsigned_link
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.images import Reference
from broker.packages.inputs import Order
from broker.packages.media import BUNDLE_TYPE, CWL_TYPES
from broker.results.experiment import Experiment, Read, resolve
from broker.results.osc import HOME, entry_path
from broker.results.tree import Files, Tree
from broker.results.verdict import Tolerance
from broker.results.workflowkind import Package, Remark
from broker.store import jobs, processes
from broker.store.database import Database
from broker.store.processes import Process

if TYPE_CHECKING:
    from broker.execution.publishers import Publishers  # heavy: it brings the schemas of the catalog

UNIT_TYPE = "application/ogcapppkg+json"
MOST_NAMES = 20  # that are tried for a process
UploadId = Callable[[str], str | None]
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_ID = re.compile(r"[\w.-]{1,200}\Z")
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
class Sources:
    """What an experiment is looked up with: addresses (`egress`), configured catalogs, and what reads packages."""

    database: Database
    egress: Egress
    publishers: Callable[[], Publishers]
    read_package: Callable[[bytes, str, str | None], tuple[Deployment, Inspection]]
    images: Images


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
    found = _resolved(sources, principal, asked)
    request = _request(asked, found.inputs, found.title)
    remarks = [_softened(one) if asked.request.inputs else one for one in found.remarks]
    with sources.database.read() as tx:
        process, inspection = _here(tx, principal, found.digest, found.process_id)
    if process is not None:
        remarks += _other_images(found, process)
    deployment = None
    if process is not None:
        remarks = [one for one in remarks if one.code != "package-unreachable"]
    elif found.package is not None and not any(one.code == "package-unreachable" for one in remarks):
        try:
            deployment, inspection = _read(sources, found, found.package)
        except BrokerError as error:
            remarks.append(Remark("error", "package-invalid", f"Its package cannot be run: {error.detail}", error.hint))
    if deployment is not None:
        digest = deployment.bundle.digest
        if found.digest not in (None, digest):
            remarks.append(_other_package(found, digest))
        with sources.database.read() as tx:
            process, _ = _here(tx, principal, digest, found.process_id)
    made = Draft(found, request, tuple(remarks), process, deployment, inspection)
    with sources.database.read() as tx:
        return _fitted(tx, principal, made, upload_id)


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
    process = found.process or _deployed(sources, principal, found)
    against, extra = found.against, {**found.request.extra, "reproduces": found.origin}
    request = replace(found.request, extra=extra)
    with sources.database.read() as tx:
        ticket = prepare(tx, principal, process.id, request, upload_id=upload_id, revision=process.revision, key=key)
    if isinstance(ticket, Job):
        return ticket
    job = replace(ticket.job, reproduces=found.job or unsigned_link(found.experiment.href))
    return replace(ticket, job=job, compared=None if against is None else (against, asked.tolerance.to_json()))


# ---- where it is found


def _resolved(sources: Sources, principal: Principal, asked: Asked) -> Experiment:
    """The experiment, wherever its records lie."""
    where = asked.experiment
    if asked.files:
        return resolve(HOME + where, _reader(Files(asked.files), sources.egress))
    if where.startswith(("https://", "http://")):
        for name, home in _catalogs(sources):
            if where.startswith(home):
                path = where.removeprefix(home)
                return _in_catalog(sources, principal, name, path)
        return resolve(where, _reader(Files({}), sources.egress))
    if not _ID.match(where):
        raise InputError(InputProblem("/experiment", "is neither the address of a record, nor the id of one, or a job"))
    path = entry_path("experiments", where)
    names = [name for name, _ in _catalogs(sources)]
    for number, name in enumerate(names):
        try:
            return _in_catalog(sources, principal, name, path)
        except InputError:
            if number == len(names) - 1:
                raise
    raise InputError(
        InputProblem("/experiment", f"{where} is no address, and this broker has no catalog to look it up in"),
        hint=f"Give the address of its record: {HOME}{path}",
    )


def _catalogs(sources: Sources) -> list[tuple[str, str]]:
    """Names and homes of the configured catalogs, those that count before those for tests."""
    offers = sorted(sources.publishers().offered(), key=lambda offer: offer.test)
    return [(offer.name, offer.home.rstrip("/") + "/") for offer in offers if offer.home is not None]


def _in_catalog(sources: Sources, principal: Principal, name: str, path: str) -> Experiment:
    def look(tree: Tree) -> Experiment:
        return resolve(HOME + path, _reader(tree, sources.egress))

    return sources.publishers().tree(name, principal.owner, principal.project, look)


def _reader(tree: Tree, egress: Egress) -> Read:
    """Reads what the catalog has from there, and all else from its address."""
    paths = frozenset(tree.paths())

    def read(address: str, limit: int) -> bytes:
        path = address.removeprefix(HOME)
        if path not in paths:
            if paths and address.startswith(HOME):
                raise StagingError(f"The catalog has no {path[:200]}.")
            return egress.get_bytes(address, limit)
        content = tree.read(path) or b""
        if len(content) > limit:
            raise StagingError(f"{path[:200]} has more than {limit} bytes.")
        return content

    return read


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


# ---- its package


def _read(sources: Sources, found: Experiment, package: Package) -> tuple[Deployment, Inspection]:
    """Raises PackageError and its kinds, LimitError, EgressRefused, StagingError."""
    content, media_type = package.content, package.media_type
    if content is None:
        unit = {"executionUnit": {"href": package.href, "type": media_type}}
        return sources.read_package(json.dumps(unit).encode(), UNIT_TYPE, None)
    if content.lstrip()[:1] == b"{" and _is_bundle(content):
        return sources.read_package(content, BUNDLE_TYPE, None)
    if found.entry is not None and media_type in CWL_TYPES:  # its digest counts the name that it had, too
        text = content.decode("utf-8", "replace")
        bundle = {"kind": "cwl", "entry": found.entry, "documents": {found.entry.partition("#")[0]: text}, "files": {}}
        return sources.read_package(json.dumps(bundle).encode(), BUNDLE_TYPE, None)
    return sources.read_package(content, media_type, None)


def _is_bundle(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "documents" in found and "entry" in found


def _other_package(found: Experiment, digest: str) -> Remark:
    message = (
        f"Its package is not the one that ran: the digest is {digest[:16]}…, and was {(found.digest or '')[:16]}… then."
    )
    advice = "To run what is there now, deploy it (broker deploy) and run it: that is no reproduction."
    return Remark("error", "digest-differs", message, advice)


def _other_images(found: Experiment, process: Process) -> Iterator[Remark]:
    """Images that are pinned here to others than those that ran."""
    pinned = {str(Reference.parse(image)): digest for image, digest in (process.images or {}).items()}
    for image, digest in found.images.items():
        if pinned.get(image, digest) != digest:
            message = f"The image {image} is {pinned[image][:19]}… here, and was {digest[:19]}… when it ran."
            advice = f"To run the one that it was, undeploy {process.id}: it is then deployed with that one."
            yield Remark("warning", "image-differs", message, advice)


def _here(
    tx: Connection, principal: Principal, digest: str | None, name: str | None
) -> tuple[Process, Inspection] | tuple[None, None]:
    """The process with a package, if one may run it; best the one of a name."""
    process = None if digest is None else processes.with_digest(tx, digest, principal.reach, prefer=name)
    if process is None:
        return None, None
    return process, Inspection.from_json(processes.inspection(tx, process.digest))


def _deployed(sources: Sources, principal: Principal, found: Draft) -> Process:
    """The package as a private process of who asks, under the first name that is free."""
    deployment, inspection = found.deployment, found.inspection
    if deployment is None or inspection is None:
        raise InputError(InputProblem("/experiment", "has no package"))
    name = found.experiment.process_id or deployment.process_id or found.experiment.workflow.get("id") or "experiment"
    images = replace(sources.images, meant=found.experiment.images)
    for wanted in _names(name, deployment.bundle.digest):
        try:
            made, _ = deploy(
                sources.database, principal, deployment, lambda _: inspection, images=images, process_id=wanted
            )
            return made
        except (DuplicatedProcess, ImmutableProcess):
            continue
    raise DuplicatedProcess(f"The process {name!r} is already deployed.", hint="Deploy the package under another id.")


def _names(name: str, digest: str) -> Iterator[str]:
    yield name
    yield f"{name}-{digest[:8]}"
    for number in range(2, MOST_NAMES):
        yield f"{name}-{digest[:8]}-{number}"


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
        platform = str(placed(tx, needs, principal.project, named=made.request.platform, stage=stage).platform)
    except BrokerError as error:
        remarks.append(Remark("error", "no-platform", error.detail, error.hint))
    return replace(made, remarks=tuple(remarks), order=order, platform=platform)
