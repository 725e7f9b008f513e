"""What a project publishes with where nobody says otherwise, and its technical officers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Part, Principal
from broker.api import bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, errors, form, mendable
from broker.api.paging import Representation
from broker.api.publicationpages import lists_of
from broker.api.publishfields import contacts_of, field_of, fields_of, names_of, request_of
from broker.api.site import site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import projectpublishing as verbs
from broker.store import projects
from broker.store.projects import Member, Project
from broker.store.publishing import ProjectPublishing
from broker.web import HTML, page

router = guarded("Projects")
PROJECT_PUBLISHING = ConformanceClass(router)
MOST_BYTES = 64 * 1024


@router.get("/projects/{project_id}/publishing", name="projectPublishing")
async def shown(request: Request, project_id: str, caller: Caller, f: Representation = None) -> Response:
    """`request`: members of what is published for this project, where nobody says otherwise; `officers`: who has to
    agree, where a target asks for that (nobody named: the maintainers)."""
    chosen = representation(request, {"json": JSON, "html": HTML})
    site = site_of(request)
    found = await site.rows.read(verbs.shown, caller, project_id)
    if chosen == "html":
        return await _page(request, caller, project_id, found)
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


@router.post("/projects/{project_id}/publishing", name="projectPublishingForm", include_in_schema=False)
async def send(request: Request, project_id: str, caller: Caller) -> Response:
    """The form of its page."""
    site = site_of(request)
    before = await site.rows.read(verbs.shown, caller, project_id)
    fields = await form(request)
    named = None
    if fields.get("do") == "officers":
        given, named = dict(before.request), tuple(fields[one] for one in names_of(fields, "officer"))
    else:
        given = request_of(fields)
    try:
        await site.rows.quick(verbs.change, site.broker.database, caller, project_id, given, named)
    except BrokerError as refused:
        status = mendable(request, refused)
        return await _page(request, caller, project_id, before, typed=fields, refused=refused, status=status)
    return done(f"{site.base(request)}/projects/{project_id}/publishing?f=html")


async def _page(
    request: Request,
    caller: Principal,
    project_id: str,
    found: ProjectPublishing,
    *,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The form, for who may change it; for the others what it says."""
    site = site_of(request)
    publishers = site.broker.publishers
    catalog = next((one.name for one in publishers.offered() if not one.repository), None)
    lists = await site.rows.slow(lists_of, publishers, catalog, caller.owner, project_id)
    project, members = await site.rows.read(_people, caller, project_id)
    fields = {**fields_of(found.request), **(typed or {})}
    wrong: dict[str, list[tuple[str, str]]] = {}
    for member, words in errors(refused).items():
        wrong.setdefault(field_of(member.removeprefix("request/"), fields), []).append(("error", words))
    return page(
        request,
        "projectpublishing.html",
        status=status,
        title=f"Publishing of {project.title}",
        project=project,
        found=wrong,
        fields=fields,
        names={name: names_of(fields, name) for name in ("themes", "variables", "missions")},
        numbers=contacts_of(fields),
        lists=lists,
        members=members,
        officers=found.officers,
        maintains=project.part is Part.MAINTAINER or caller.reach.everything,
        operates=caller.reach.everything,
        given=found.request,
    )


def _people(tx: Connection, caller: Principal, project_id: str) -> tuple[Project, list[Member]]:
    return projects.get(tx, project_id, caller.reach), projects.members_of(tx, project_id)


def _document(found: ProjectPublishing, project: str) -> dict[str, Any]:
    links = [link(f"{project}/publishing", "self", "This document"), link(project, "up", "The project")]
    return {"request": found.request, "officers": list(found.officers), "links": links}
