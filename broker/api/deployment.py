"""Deploy, replace, undeploy: packages become processes. Also a check of a package that leaves nothing behind."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import bodies
from broker.api.answers import Json
from broker.api.authentication import Caller
from broker.api.classes import PART2, ConformanceClass, guarded
from broker.api.platforms import fitting
from broker.api.processes import summary
from broker.api.site import Site, site_of
from broker.execution import deploy as deploying
from broker.packages import source
from broker.packages.bundle import Bundle
from broker.packages.describe import describe
from broker.packages.media import taken
from broker.store import processes
from broker.store.processes import Process

router = guarded("Deployment")
DEPLOYMENT = ConformanceClass(
    router, (PART2 + "deploy-replace-undeploy", PART2 + "ogcapppkg", PART2 + "cwl", PART2 + "docker")
)
Which = Annotated[str | None, Query(max_length=200, description="Which process of a document with many (`$graph`).")]


@router.post("/processes", name="deploy", status_code=201)
async def deploy(request: Request, caller: Caller, w: Which = None) -> Response:
    """Deploy an application package: CWL (application/cwl, +json, +yaml), an openEO process
    (application/vnd.openeo+json;type=process), or application/ogcapppkg+json, which holds one of these, a link, a git
    repository with commit and path, or a container image."""
    caller.need(Scope.DEPLOY)
    site = site_of(request)
    body = await bodies.read(request, most_bytes(site))
    process, warnings = await site.rows.abroad(
        caller.owner, deploy_package, site, caller, body, _content_type(request), w
    )
    base = site.base(request)
    shown: dict[str, Any] = summary(process, base)
    if warnings:
        shown["warnings"] = list(warnings)
    return Json(shown, 201, {"Location": f"{base}/processes/{quote(process.id, safe='')}"})


def deploy_package(
    site: Site, caller: Principal, body: bytes, content_type: str, w: str | None
) -> tuple[Process, tuple[str, ...]]:
    """(the new process, warnings). Raises PackageError and its kinds, DuplicatedProcess, ImmutableProcess."""
    broker = site.broker
    package, inspection = broker.read_package(body, content_type, w)
    return deploying.deploy(broker.database, caller, package, lambda _: inspection, images=broker.images)


def most_bytes(site: Site) -> int:
    """Bytes of the body of a package: a document of the largest size, also when it is escaped inside JSON."""
    return site.settings.limits.document_bytes * 3 // 2


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


@router.put("/processes/{process_id}", name="replace", status_code=204)
async def replace(request: Request, process_id: str, caller: Caller, w: Which = None) -> Response:
    """Replace a process: jobs of the old revision go on. 204; the summary with `Prefer: return=representation`."""
    caller.need(Scope.DEPLOY)
    taken(_content_type(request))  # before it is asked whether there is such a process: part 2's suite names none
    site = site_of(request)
    body = await bodies.read(request, most_bytes(site))
    process, warnings = await site.rows.abroad(
        caller.owner, replace_package, site, caller, body, _content_type(request), w, process_id
    )
    if "return=representation" not in request.headers.get("prefer", "").replace(" ", "").lower():
        return Response(status_code=204)
    shown = summary(process, site.base(request))
    if warnings:
        shown["warnings"] = list(warnings)
    return Json(shown, headers={"Preference-Applied": "return=representation"})


def replace_package(
    site: Site, caller: Principal, body: bytes, content_type: str, w: str | None, process_id: str
) -> tuple[Process, tuple[str, ...]]:
    """(the process with its new revision, warnings). Raises as `deploy_package`, and NoSuchProcess, Forbidden."""
    broker = site.broker
    with broker.database.read() as tx:
        processes.get_to_change(tx, process_id, caller.reach)
    package, inspection = broker.read_package(body, content_type, w)
    return deploying.replace(broker.database, caller, package, lambda _: inspection, process_id, images=broker.images)


@router.delete("/processes/{process_id}", name="undeploy", status_code=204)
async def undeploy(request: Request, process_id: str, caller: Caller) -> Response:
    """Undeploy: no new jobs, also not of older revisions; those that were accepted go on, with all they need."""
    site = site_of(request)
    await site.rows.quick(deploying.undeploy, site.broker.database, caller, process_id)
    return Response(status_code=204)


@router.post("/check", name="checkPackage")
async def check(request: Request, caller: Caller, w: Which = None) -> Response:
    """What deploying this package would give, without doing it: description, needs, warnings, fitting platforms."""
    caller.need(Scope.DEPLOY)
    site = site_of(request)
    body = await bodies.read(request, most_bytes(site))
    _, report = await site.rows.abroad(caller.owner, check_package, site, body, _content_type(request), w)
    return Json(report)


def check_package(site: Site, body: bytes, content_type: str, w: str | None) -> tuple[Bundle, dict[str, Any]]:
    """(the closed package, what deploying it would give). Raises PackageError and its kinds."""
    package, inspection = site.broker.read_package(body, content_type, w)
    site.broker.images.check(inspection.needs.images)
    description = describe(inspection, process_id=package.process_id, overrides=package.description_overrides)
    with site.broker.database.read() as tx:
        fits = fitting(tx, inspection.needs)
    return package.bundle, {
        "process": description,
        "digest": package.bundle.digest,
        "source": source.completed(package.source, inspection.process),
        "needs": inspection.needs.to_json(),
        "steps": list(inspection.steps),
        "warnings": list(inspection.warnings),
        "bestPractice": [dict(one) for one in inspection.practice],
        "platforms": fits,
    }
