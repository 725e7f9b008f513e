"""Projects, their members, and invitations: as documents here, as pages with their forms in `projectpages`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Part, Principal
from broker.api import bodies, projectpages
from broker.api.answers import JSON, Json, link, page_links, representation, time
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, is_form
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.site import site_of
from broker.errors import InputError, InputProblem
from broker.execution import projects as verbs
from broker.store import invitations, people, projects
from broker.store.invitations import Invitation
from broker.store.projects import Member, Project
from broker.web import HTML

router = guarded("Projects")
PROJECTS = ConformanceClass(router, (), (("/projects", "related", "Your projects"),))
OFFERS = {"json": JSON, "html": HTML}
MOST_BYTES = 64 * 1024
Everybody = Annotated[bool, Query(description="All projects; operators only see more than their own.")]
ME = "me"  # stands for the caller among the members


@router.get("/projects", name="projects")
async def page(
    request: Request,
    caller: Caller,
    all: Everybody = False,
    limit: Limit = None,
    cursor: Cursor = None,
    f: Representation = None,
) -> Response:
    """One's own projects, by id."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    count = size(limit, site.settings.api.page)
    whose = None if all and caller.reach.everything else caller.owner
    found = await site.rows.read(projects.page, whose, caller.owner, limit=count + 1, after=cursor)
    shown = found[:count]
    following = {"cursor": shown[-1].id, "limit": str(count)} if len(found) > count else None
    base = site.base(request)
    links = page_links(base, "/projects", request, following, "This list")
    if chosen == "html":
        return projectpages.listing(request, shown, links)
    return Json({"projects": [document(project, base) for project in shown], "links": links})


def document(project: Project, base: str) -> dict[str, Any]:
    """`part` is left out where an operator looks in."""
    here = f"{base}/projects/{project.id}"
    full = {"id": project.id, "title": project.title, "created": time(project.created)}
    if project.part is not None:
        full["part"] = project.part.value
    links = [
        link(here, "self", "This project"),
        link(f"{here}/members", "related", "Its members"),
        link(f"{base}/jobs?project={project.id}", "related", "Jobs shared with it"),
        link(f"{base}/uploads?project={project.id}", "related", "Uploads shared with it"),
    ]
    return {**full, "links": links}


@router.post("/projects", name="projectCreate", status_code=201)
async def create(request: Request, caller: Caller) -> Response:
    """Make a project; its maker is its maintainer."""
    site = site_of(request)
    from_page = is_form(request)
    given = await form(request) if from_page else await _members(request, "id", "title")
    title = _text(given, "title", "")
    made = await site.rows.quick(verbs.create, site.broker.database, caller, _text(given, "id"), title)
    site.gate.forget()
    base = site.base(request)
    here = f"{base}/projects/{made.id}"
    return done(here) if from_page else Json(document(made, base), 201, {"Location": here})


@router.get("/projects/{project_id}", name="project")
async def one(request: Request, project_id: str, caller: Caller, f: Representation = None) -> Response:
    """A project."""
    chosen = representation(request, OFFERS)
    if chosen == "html":
        return await projectpages.shown(request, caller, project_id)
    site = site_of(request)
    found = await site.rows.read(projects.get, project_id, caller.reach)
    return Json(document(found, site.base(request)))


@router.put("/projects/{project_id}", name="projectRename")
async def rename(request: Request, project_id: str, caller: Caller) -> Response:
    """Give a project another title."""
    site = site_of(request)
    given = await _members(request, "title", "id")
    changed = await site.rows.quick(verbs.rename, site.broker.database, caller, project_id, _text(given, "title"))
    return Json(document(changed, site.base(request)))


@router.delete("/projects/{project_id}", name="projectDelete", status_code=204)
async def delete(request: Request, project_id: str, caller: Caller) -> Response:
    """Delete a project in which nothing lives any more."""
    site = site_of(request)
    await site.rows.quick(verbs.remove, site.broker.database, caller, project_id)
    site.gate.forget()
    return Response(status_code=204)


@router.post("/projects/{project_id}", name="projectForm", include_in_schema=False)
async def forms(request: Request, project_id: str, caller: Caller) -> Response:
    """The forms of its page: what browsers cannot say with PUT and DELETE."""
    return await projectpages.act(request, caller, project_id)


# ---- members


@router.get("/projects/{project_id}/members", name="projectMembers")
async def members(request: Request, project_id: str, caller: Caller, f: Representation = None) -> Response:
    """Who belongs to a project, maintainers first."""
    representation(request, {"json": JSON})
    site = site_of(request)
    found = await site.rows.read(_members_of, project_id, caller)
    here = f"{site.base(request)}/projects/{project_id}/members"
    return Json({"members": [_member(one) for one in found], "links": [link(here, "self", "This list")]})


def _members_of(tx: Connection, project_id: str, caller: Principal) -> list[Member]:
    projects.get(tx, project_id, caller.reach)
    return projects.members_of(tx, project_id)


def _member(one: Member) -> dict[str, Any]:
    return {"person": one.person, "name": one.name, "part": one.part.value, "since": time(one.since)}


@router.get("/projects/{project_id}/members/{person}", name="projectMember")
async def member(request: Request, project_id: str, person: str, caller: Caller, f: Representation = None) -> Response:
    """One member; `me` is oneself."""
    representation(request, {"json": JSON})
    found = await site_of(request).rows.read(_members_of, project_id, caller)
    named = _person(person, caller)
    for one in found:
        if one.person == named:
            return Json(_member(one))
    raise projects.no_member(project_id, person)


@router.put("/projects/{project_id}/members/{person}", name="projectPart")
async def change_part(request: Request, project_id: str, person: str, caller: Caller) -> Response:
    """Change what a member is: viewer, member or maintainer. (An operator also adds people.)"""
    site = site_of(request)
    part = _part(await _members(request, "part"))
    named = _person(person, caller)
    await site.rows.quick(verbs.change_part, site.broker.database, caller, project_id, named, part)
    site.gate.forget()
    return Json({"person": named, "part": part.value})


@router.delete("/projects/{project_id}/members/{person}", name="projectLeave", status_code=204)
async def take_out(request: Request, project_id: str, person: str, caller: Caller) -> Response:
    """Take somebody out of a project, or leave it oneself (`me`)."""
    site = site_of(request)
    await site.rows.quick(verbs.take_out, site.broker.database, caller, project_id, _person(person, caller))
    site.gate.forget()
    return Response(status_code=204)


def _person(person: str, caller: Principal) -> str:
    return caller.owner if person == ME else person


# ---- invitations


@router.get("/projects/{project_id}/invitations", name="projectInvitations")
async def open_invitations(request: Request, project_id: str, caller: Caller, f: Representation = None) -> Response:
    """The invitations that nobody has accepted yet, for maintainers. Their codes are not kept."""
    representation(request, {"json": JSON})
    site = site_of(request)
    found = await site.rows.read(projectpages.invitations_of, project_id, caller)
    here = f"{site.base(request)}/projects/{project_id}/invitations"
    return Json({"invitations": [_invitation(one) for one in found], "links": [link(here, "self", "This list")]})


def _invitation(one: Invitation) -> dict[str, Any]:
    return {
        "id": one.id,
        "project": one.project,
        "part": one.part.value,
        "note": one.note,
        "invitedBy": one.invited_by,
        "created": time(one.created),
        "expires": time(one.expires),
    }


@router.post("/projects/{project_id}/invitations", name="projectInvite", status_code=201)
async def invite(request: Request, project_id: str, caller: Caller) -> Response:
    """Invite somebody: whoever opens the link and is logged in becomes what `part` says, once. It is shown only now."""
    site = site_of(request)
    given = await _members(request, "part", "note", "days")
    part, days = _part(given, Part.MEMBER), given.get("days", verbs.DAYS)
    if isinstance(days, bool) or not isinstance(days, (int, float)):
        raise InputError(InputProblem("/days", "is not a number of days"))
    note = _text(given, "note", "")
    database = site.broker.database
    made, code = await site.rows.quick(verbs.invite, database, caller, project_id, part, note, days)
    base = site.base(request)
    full = {**_invitation(made), "code": code, "href": f"{base}/invitations/{code}"}
    where = {"Location": f"{base}/projects/{project_id}/invitations/{made.id}", "Cache-Control": "no-store"}
    return Json(full, 201, where)


@router.delete("/projects/{project_id}/invitations/{invitation_id}", name="projectRevoke", status_code=204)
async def revoke(request: Request, project_id: str, invitation_id: str, caller: Caller) -> Response:
    """Take an invitation back."""
    site = site_of(request)
    await site.rows.quick(verbs.revoke, site.broker.database, caller, project_id, invitation_id)
    return Response(status_code=204)


@router.get("/invitations/{code}", name="invitation")
async def invitation(request: Request, code: str, caller: Caller, f: Representation = None) -> Response:
    """What an invitation is to, for whoever has its code."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    found, title, by = await site.rows.read(_invited, code, caller)
    if chosen == "html":
        return projectpages.invited(request, code, found, title, by)
    kept = {**_invitation(found), "title": title, "invitedBy": by}
    return Json(kept, headers={"Cache-Control": "no-store"})


def _invited(tx: Connection, code: str, caller: Principal) -> tuple[Invitation, str, str]:
    """(invitation, title of the project, name of who invites)."""
    found = invitations.get(tx, code)
    title = projects.title_of(tx, found.project)
    return found, title, people.names(tx, [found.invited_by]).get(found.invited_by, found.invited_by)


@router.post("/invitations/{code}", name="invitationAccept")
async def accept(request: Request, code: str, caller: Caller) -> Response:
    """Accept an invitation: one is a member then, and the invitation is used up."""
    site = site_of(request)
    from_page = is_form(request)
    joined = await site.rows.quick(verbs.accept, site.broker.database, caller, code)
    site.gate.forget()
    base = site.base(request)
    return done(f"{base}/projects/{joined.id}") if from_page else Json(document(joined, base))


# ---- bodies


async def _members(request: Request, *known: str) -> dict[str, Any]:
    """The JSON object of the body. Raises InputError for members that mean nothing here."""
    given, _ = await bodies.parsed_object(request, MOST_BYTES)
    strange = [InputProblem(f"/{name[:100]}", f"is none of {', '.join(known)}") for name in given if name not in known]
    if strange:
        raise InputError(*strange[:50])
    return given


def _text(given: dict[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise InputError(InputProblem(f"/{name}", "is not a text" if name in given else "is missing"))
    return value


def _part(given: dict[str, Any], default: Part | None = None) -> Part:
    value = given.get("part", default)
    if value not in list(Part):
        raise InputError(InputProblem("/part", f"is none of {', '.join(Part)}"))
    return Part(value)
