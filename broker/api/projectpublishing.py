"""What a project publishes with where nobody says otherwise, and its technical officers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.api import bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.errors import InputError, InputProblem
from broker.execution import projectpublishing as verbs
from broker.store.publishing import ProjectPublishing

router = guarded("Projects")
PROJECT_PUBLISHING = ConformanceClass(router)
MOST_BYTES = 64 * 1024


@router.get("/projects/{project_id}/publishing", name="projectPublishing")
async def shown(request: Request, project_id: str, caller: Caller, f: Representation = None) -> Response:
    """`request`: members of what is published for this project, where nobody says otherwise; `officers`: who has to
    agree, where a target asks for that (nobody named: the maintainers)."""
    representation(request, {"json": JSON})
    site = site_of(request)
    found = await site.rows.read(verbs.shown, caller, project_id)
    return Json(_document(found, f"{site.base(request)}/projects/{project_id}"))


@router.put("/projects/{project_id}/publishing", name="setProjectPublishing")
async def change(request: Request, project_id: str, caller: Caller) -> Response:
    """Set both; who is no operator leaves `officers` out, or as they are."""
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, MOST_BYTES)
    given, officers = body.get("request", {}), body.get("officers")
    if strange := set(body) - {"request", "officers", "links"}:
        raise InputError(*(InputProblem(f"/{name[:100]}", "is none of request, officers") for name in sorted(strange)))
    if not isinstance(given, dict):
        raise InputError(InputProblem("/request", "must be an object"))
    if officers is not None and not (isinstance(officers, list) and all(isinstance(one, str) for one in officers)):
        raise InputError(InputProblem("/officers", "must be a list of ids of persons"))
    named = None if officers is None else tuple(officers)
    done = await site.rows.quick(verbs.change, site.broker.database, caller, project_id, given, named)
    return Json(_document(done, f"{site.base(request)}/projects/{project_id}"))


def _document(found: ProjectPublishing, project: str) -> dict[str, Any]:
    links = [link(f"{project}/publishing", "self", "This document"), link(project, "up", "The project")]
    return {"request": found.request, "officers": list(found.officers), "links": links}
