"""Deploy: a closed, digested package and its inspection become a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.execution.images import Images
from broker.packages import source
from broker.packages.bundle import Bundle
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.describe import describe, summary
from broker.packages.needs import OPENEO
from broker.packages.shape import shaped
from broker.store import audit, platforms, processes
from broker.store.database import Database
from broker.store.processes import NewProcess, Process
from broker.store.visible import PRIVATE, PUBLIC

Inspect = Callable[[Bundle], Inspection]


def deploy(
    database: Database,
    principal: Principal,
    deployment: Deployment,
    inspect: Inspect,
    *,
    images: Images | None = None,
    mutable: bool = True,
    process_id: str | None = None,
) -> tuple[Process, tuple[str, ...]]:
    """Store the package as a new process; gives the process and the warnings of its inspection and of its images.

    Raises PackageError, DuplicatedProcess, ImmutableProcess; nothing is registered then.
    """
    new, bundle, inspection, warnings = _prepare(database, principal, deployment, inspect, images, mutable, process_id)
    with database.write() as tx:
        processes.keep_package(tx, bundle.digest, bundle.to_json(), inspection.to_json())
        process = processes.add(tx, new)
        if mutable:
            audit.record(tx, _entry(principal, "deploy", process))
        return process, warnings


def replace(
    database: Database,
    principal: Principal,
    deployment: Deployment,
    inspect: Inspect,
    process_id: str,
    *,
    images: Images | None = None,
) -> tuple[Process, tuple[str, ...]]:
    """Store the package as the next revision of a process. Raises also NoSuchProcess, ImmutableProcess."""
    new, bundle, inspection, warnings = _prepare(database, principal, deployment, inspect, images, True, process_id)
    with database.write() as tx:
        processes.keep_package(tx, bundle.digest, bundle.to_json(), inspection.to_json())
        process = processes.replace(tx, new, principal.reach)
        audit.record(tx, _entry(principal, "replace", process))
        return process, warnings


def undeploy(database: Database, principal: Principal, process_id: str) -> None:
    """No new jobs from now on; running ones are left alone. Raises NoSuchProcess, ImmutableProcess."""
    principal.need(Scope.DEPLOY)
    with database.write() as tx:
        processes.remove(tx, process_id, principal.reach)
        audit.record(tx, audit.entry(principal, "undeploy", f"process/{process_id}"))


def _entry(principal: Principal, verb: str, process: Process) -> audit.Entry:
    """What the audit says of a deployment: the revision, and the commit that it is of."""
    origin = {key: value for key, value in (process.source or {}).items() if key in ("repository", "commit", "href")}
    return audit.entry(principal, verb, f"process/{process.id}", revision=process.revision, **origin)


def _strange(tx: Connection, named: frozenset[str]) -> Iterator[str]:
    """A warning for each platform that steps name and that is not here."""
    there = {one.name for one in platforms.candidates(tx)}
    for name in sorted(named - there - {OPENEO}):
        yield f"A step is to run on the platform {name}, which is not here; there are: {', '.join(sorted(there))}."


def _prepare(
    database: Database,
    principal: Principal,
    deployment: Deployment,
    inspect: Inspect,
    images: Images | None,
    mutable: bool,
    process_id: str | None,
) -> tuple[NewProcess, Bundle, Inspection, tuple[str, ...]]:
    principal.need(Scope.DEPLOY)
    inspection = inspect(deployment.bundle)
    named = {*inspection.needs.images, *inspection.needs.images_elsewhere}
    pinned, unpinned = images.pin(principal, named) if images else ({}, ())
    if inspection.needs.elsewhere:
        with database.read() as tx:
            unpinned = (*unpinned, *_strange(tx, inspection.needs.elsewhere))
    description: Mapping[str, Any] = describe(
        inspection,
        process_id=process_id or deployment.process_id,
        mutable=mutable,
        overrides=deployment.description_overrides,
    )
    origin = source.completed(deployment.source, inspection.process)
    described = source.described(origin or {}, description)
    new = NewProcess(
        id=description["id"],
        owner=principal.owner,
        project=principal.project,
        version=description["version"],
        kind=deployment.bundle.kind,
        digest=deployment.bundle.digest,
        body=deployment.body,
        media_type=deployment.media_type,
        summary=summary(described),
        description=described,
        needs=shaped(inspection.needs, deployment.bundle, inspection.process),
        mutable=mutable,
        shared=PRIVATE if mutable else PUBLIC,
        delegate=principal.delegate,
        images=pinned or None,
        source=origin,
    )
    return new, deployment.bundle, inspection, (*inspection.warnings, *unpinned)
