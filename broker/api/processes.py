"""Processes: the list, the descriptions, and the packages that were deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Reach
from broker.api import openapi, processpages
from broker.api.answers import JSON, OGC, Json, link, page_links, representation, sharing
from broker.api.authentication import Caller
from broker.api.classes import PART1, ConformanceClass, guarded
from broker.api.listed import OfProject, Owner, Public, listed
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.site import site_of
from broker.store import processes
from broker.store.processes import Process
from broker.web import HTML

router = guarded("Processes")
PROCESSES = ConformanceClass(
    router, (PART1 + "ogc-process-description",), (("/processes", OGC + "processes", "What can be run here"),)
)
OFFERS = {"json": JSON, "html": HTML}
Revision = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="An older revision, as a job names the one it ran.")
]
Words = Annotated[str, Query(max_length=100, description="Words that the id, title, description or keywords hold.")]
Version = Annotated[str | None, Query(max_length=200, description="The newest revision that has this version.")]


@router.get("/processes", name="processes")
async def page(
    request: Request,
    caller: Caller,
    project: OfProject = None,
    public: Public = False,
    owner: Owner = None,
    q: Words = "",
    limit: Limit = None,
    cursor: Cursor = None,
    f: Representation = None,
) -> Response:
    """What can be run here: all that one sees, or only what is shared with a project, is public, is somebody's."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    base = site.base(request)
    count = size(limit, site.settings.api.page)
    whose = await listed(site, caller, project, public, owner)
    if owner is None:
        whose["owner"] = None  # not only one's own: what others share can be run as well
    found = await site.rows.read(processes.page, limit=count + 1, after=cursor, reach=caller.reach, words=q, **whose)
    shown = [summary(process, base) for process in found[:count]]
    following = {"cursor": shown[-1]["id"], "limit": str(count)} if len(found) > count else None
    links = page_links(base, "/processes", request, following, "This list")
    if chosen == "html":
        return processpages.listing(request, shown, links, q)
    return Json({"processes": shown, "links": links})


def summary(process: Process, base: str) -> dict[str, Any]:
    """processSummary.yaml with Part 2's `mutable`."""
    return {
        **process.summary,
        "version": process.version,
        "mutable": process.mutable,
        **sharing(process.shared, process.shared_with),
        "links": [
            link(f"{base}/processes/{process.id}", "self", "The process description"),
            link(f"{base}/processes/{process.id}", "alternate", "The process description"),
        ],
    }


def described(process: Process, base: str) -> dict[str, Any]:
    """process.yaml: the description with its links, and which digest each image was pinned to (None: it was not)."""
    here = f"{base}/processes/{process.id}"
    return {
        **process.description,
        "version": process.version,
        "mutable": process.mutable,
        **sharing(process.shared, process.shared_with),
        "revision": process.revision,
        "digest": process.digest,
        "source": process.source,
        "images": {image: (process.images or {}).get(image) for image in sorted(process.needs.images)},
        "links": [
            link(here, "self", "This description"),
            link(f"{here}?f=html", "alternate", "This description as HTML, with a form that runs it", HTML),
            link(f"{here}/execution", OGC + "execute", "Run it"),
            link(f"{here}/api", "service-desc", "Its execution as OpenAPI", openapi.MEDIA_TYPE),
            link(f"{here}/package?revision={process.revision}", "describedby", "The package", process.media_type),
            link(f"{base}/jobs?processID={process.id}", OGC + "job-list", "Your jobs of this process"),
            *origin(process),
        ],
    }


def origin(process: Process) -> list[dict[str, str]]:
    """Links to where the package came from, and to its licence where that is one."""
    source = process.source or {}
    found = []
    if "repository" in source:
        found.append(link(source["repository"], "via", f"{source['path']} at {source['commit']}", None))
    elif "href" in source:
        found.append(link(source["href"], "via", "Where the package was read", None))
    if str(source.get("license", "")).startswith(("https://", "http://")):
        found.append(link(source["license"], "license", "The licence", None))
    return found


def described_by(tx: Connection, reach: Reach, process_id: str, revision: int | None, version: str | None) -> Process:
    """The process in the revision or the version that a request names, else as it is. Raises NoSuchProcess."""
    if revision is None and version is not None:
        revision = processes.revision_of(tx, process_id, version, reach=reach)
    return processes.get(tx, process_id, revision, reach=reach)


@router.get("/processes/{process_id}", name="process")
async def one(
    request: Request,
    process_id: str,
    caller: Caller,
    revision: Revision = None,
    version: Version = None,
    f: Representation = None,
) -> Response:
    """The description of a process: its inputs and outputs."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    process = await site.rows.read(described_by, caller.reach, process_id, revision, version)
    document = described(process, site.base(request))
    if chosen == "html":
        return await processpages.shown(request, caller, process, document)
    return Json(document)


def _package(
    tx: Connection, reach: Reach, process_id: str, revision: int | None, version: str | None
) -> tuple[bytes, str]:
    found = described_by(tx, reach, process_id, revision, version)
    return processes.body(tx, process_id, found.revision)


@router.get("/processes/{process_id}/package", name="package")
async def package(
    request: Request, process_id: str, caller: Caller, revision: Revision = None, version: Version = None
) -> Response:
    """What was deployed, byte by byte."""
    body, media_type = await site_of(request).rows.read(_package, caller.reach, process_id, revision, version)
    return Response(body, headers=unexecuted({"Content-Type": media_type}))


def unexecuted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of bytes that users brought: no browser takes them for a page of ours."""
    return {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        **headers,
    }
