"""The package of an experiment: read as a deployment reads it, held against what ran, found here or deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from broker.access.principal import Principal
from broker.errors import DuplicatedProcess, ImmutableProcess
from broker.execution.deploy import deploy
from broker.execution.experiments import Sources
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.images import Reference
from broker.packages.media import BUNDLE_TYPE, CWL_TYPES
from broker.results.experiment import Experiment
from broker.results.workflowkind import Package, Remark
from broker.store import processes
from broker.store.processes import Process

UNIT_TYPE = "application/ogcapppkg+json"
MOST_NAMES = 20  # that are tried for a process
_ID = re.compile(r"[\w.-]{1,100}\Z")


def read(sources: Sources, found: Experiment, package: Package) -> tuple[Deployment, Inspection]:
    """What a deployment of the package reads. Raises PackageError and its kinds, LimitError, EgressRefused,
    StagingError."""
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


def other_package(found: Experiment, digest: str) -> Remark:
    """That what is there now is not what ran."""
    message = (
        f"Its package is not the one that ran: the digest is {digest[:16]}…, and was {(found.digest or '')[:16]}… then."
    )
    advice = "To run what is there now, deploy it (broker deploy) and run it: that is no reproduction."
    return Remark("error", "digest-differs", message, advice)


def other_images(found: Experiment, process: Process) -> Iterator[Remark]:
    """Images that are pinned here to others than those that ran."""
    pinned = {str(Reference.parse(image)): digest for image, digest in (process.images or {}).items()}
    for image, digest in found.images.items():
        if pinned.get(image, digest) != digest:
            message = f"The image {image} is {pinned[image][:19]}… here, and was {digest[:19]}… when it ran."
            advice = f"To run the one that it was, undeploy {process.id}: it is then deployed with that one."
            yield Remark("warning", "image-differs", message, advice)


def here(
    tx: Connection, principal: Principal, digest: str | None, name: str | None
) -> tuple[Process, Inspection] | tuple[None, None]:
    """The process with a package, if one may run it; best the one of a name."""
    process = None if digest is None else processes.with_digest(tx, digest, principal.reach, prefer=name)
    if process is None:
        return None, None
    return process, Inspection.from_json(processes.inspection(tx, process.digest))


def deployed(
    sources: Sources, principal: Principal, found: Experiment, deployment: Deployment, inspection: Inspection
) -> Process:
    """The package as a private process of who asks, under the first name that is free; with the images that ran.

    Raises as `execution.deploy.deploy`.
    """
    names = (found.process_id, deployment.process_id, found.workflow.get("id"))
    name = next((one for one in names if one and _ID.match(one)), "experiment")
    images = replace(sources.images, meant=found.images)
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
