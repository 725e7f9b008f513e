"""Sharing: with whom a process, a job or an upload is shared."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal
from broker.api import bodies, sharepages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.sharepages import PATHS
from broker.api.site import site_of
from broker.errors import InputError, InputProblem
from broker.execution import sharing as verbs
from broker.store import sharing
from broker.store.sharing import Kind, Sharing
from broker.web import HTML

router = guarded("Sharing")
SHARING = ConformanceClass(router)
MOST_BYTES = 64 * 1024
OFFERS = {"json": JSON, "html": HTML}


@router.get("/processes/{process_id}/sharing", name="processSharing")
async def of_process(request: Request, process_id: str, caller: Caller, f: Representation = None) -> Response:
    """With whom a process is shared."""
    return await _shown(request, caller, "process", process_id)


@router.put("/processes/{process_id}/sharing", name="processShare")
async def share_process(request: Request, process_id: str, caller: Caller) -> Response:
    """Share a process with a project (its members see and execute it), with everybody (public), or with nobody."""
    return await _share(request, caller, "process", process_id)


@router.post("/processes/{process_id}/sharing", name="processShareForm", include_in_schema=False)
async def form_of_process(request: Request, process_id: str, caller: Caller) -> Response:
    """The form of its page."""
    return await sharepages.act(request, caller, "process", process_id)


@router.get("/jobs/{job_id}/sharing", name="jobSharing")
async def of_job(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """With whom a job is shared."""
    return await _shown(request, caller, "job", job_id)


@router.put("/jobs/{job_id}/sharing", name="jobShare")
async def share_job(request: Request, job_id: str, caller: Caller) -> Response:
    """Share a job, with its inputs, results, logs, steps and events."""
    return await _share(request, caller, "job", job_id)


@router.post("/jobs/{job_id}/sharing", name="jobShareForm", include_in_schema=False)
async def form_of_job(request: Request, job_id: str, caller: Caller) -> Response:
    """The form of its page."""
    return await sharepages.act(request, caller, "job", job_id)


@router.get("/uploads/{upload_id}/sharing", name="uploadSharing")
async def of_upload(request: Request, upload_id: str, caller: Caller, f: Representation = None) -> Response:
    """With whom an upload is shared."""
    return await _shown(request, caller, "upload", upload_id)


@router.put("/uploads/{upload_id}/sharing", name="uploadShare")
async def share_upload(request: Request, upload_id: str, caller: Caller) -> Response:
    """Share an upload: others may use it as an input."""
    return await _share(request, caller, "upload", upload_id)


@router.post("/uploads/{upload_id}/sharing", name="uploadShareForm", include_in_schema=False)
async def form_of_upload(request: Request, upload_id: str, caller: Caller) -> Response:
    """The form of its page."""
    return await sharepages.act(request, caller, "upload", upload_id)


async def _shown(request: Request, caller: Principal, kind: Kind, row_id: str) -> Response:
    if representation(request, OFFERS) == "html":
        return await sharepages.shown(request, caller, kind, row_id)
    site = site_of(request)
    found = await site.rows.read(sharing.get, kind, row_id, caller.reach)
    return Json(_document(found, f"{site.base(request)}/{PATHS[kind]}/{row_id}"))


async def _share(request: Request, caller: Principal, kind: Kind, row_id: str) -> Response:
    site = site_of(request)
    given, _ = await bodies.parsed_object(request, MOST_BYTES)
    shared, project = given.get("shared"), given.get("project")
    if not isinstance(shared, str):
        raise InputError(InputProblem("/shared", "is not one of private, project, public"))
    if project is not None and not isinstance(project, str):
        raise InputError(InputProblem("/project", "is not the id of a project"))
    done = await site.rows.quick(verbs.share, site.broker.database, caller, kind, row_id, shared, project)
    return Json(_document(done, f"{site.base(request)}/{PATHS[kind]}/{row_id}"))


def _document(found: Sharing, of: str) -> dict[str, Any]:
    links = [link(f"{of}/sharing", "self", "This"), link(of, "up", "What is shared")]
    return {"shared": found.shared, "project": found.project, "links": links}
