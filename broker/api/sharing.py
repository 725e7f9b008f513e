"""Sharing: with whom a process, a job or an upload is shared."""

from __future__ import annotations

from typing import Any

from fastapi import Path
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


# what can be shared -> (the parameter of its path, what sharing it means)
SHARED: dict[Kind, tuple[str, str]] = {
    "process": (
        "process_id",
        "Share a process with a project (its members see and execute it), with everybody (public), or with nobody.",
    ),
    "job": ("job_id", "Share a job, with its inputs, results, logs, steps and events."),
    "upload": ("upload_id", "Share an upload: others may use it as an input."),
}


def _routes(kind: Kind, parameter: str, meaning: str) -> None:
    """The three routes of what can be shared."""
    path, row = f"/{PATHS[kind]}/{{{parameter}}}/sharing", Path(alias=parameter)

    @router.get(
        path, name=f"{kind}Sharing", description=f"With whom {'an' if kind == 'upload' else 'a'} {kind} is shared."
    )
    async def of(request: Request, caller: Caller, row_id: str = row, f: Representation = None) -> Response:
        return await _shown(request, caller, kind, row_id)

    @router.put(path, name=f"{kind}Share", description=meaning)
    async def share(request: Request, caller: Caller, row_id: str = row) -> Response:
        return await _share(request, caller, kind, row_id)

    @router.post(path, name=f"{kind}ShareForm", include_in_schema=False)
    async def form(request: Request, caller: Caller, row_id: str = row) -> Response:
        return await sharepages.act(request, caller, kind, row_id)


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


for _kind, (_parameter, _meaning) in SHARED.items():
    _routes(_kind, _parameter, _meaning)
