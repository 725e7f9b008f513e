"""The pages of projects and invitations, and what their forms do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Part, Principal
from broker.api.forms import done, form, is_form
from broker.api.problems import WrongMediaType
from broker.api.site import Site, site_of
from broker.errors import InputError, InputProblem
from broker.execution import projects as verbs
from broker.store import invitations, projects
from broker.store.invitations import Invitation
from broker.store.projects import Member, Project
from broker.web import page

PARTS = (
    (Part.VIEWER.value, "viewer: sees what is shared with the project"),
    (Part.MEMBER.value, "member: also works in its name"),
    (Part.MAINTAINER.value, "maintainer: also changes what is shared, and the members"),
)


def listing(request: Request, shown: Sequence[Project], links: Sequence[Mapping[str, str]]) -> Response:
    """The page of a list of projects, with the form that makes one."""
    following = next((one["href"] for one in links if one["rel"] == "next"), None)
    return page(request, "projects.html", title="Projects", projects=shown, following=following)


async def shown(request: Request, caller: Principal, project_id: str, made: str | None = None) -> Response:
    """The page of one project. `made`: the link of an invitation that has just been made, to be shown this once."""
    site = site_of(request)
    project, members, invited = await site.rows.read(_all, project_id, caller)
    return page(
        request,
        "project.html",
        title=project.title,
        project=project,
        members=members,
        invitations=invited,
        maintains=_maintains(project, caller),
        me=caller.owner,
        parts=PARTS,
        made=made,
        days=verbs.DAYS,
    )


def _all(tx: Connection, project_id: str, caller: Principal) -> tuple[Project, list[Member], list[Invitation]]:
    project = projects.get(tx, project_id, caller.reach)
    invited = invitations.of_project(tx, project_id) if _maintains(project, caller) else []
    return project, projects.members_of(tx, project_id), invited


def invitations_of(tx: Connection, project_id: str, caller: Principal) -> list[Invitation]:
    """The open ones. Raises NoSuchProject, Forbidden."""
    projects.get_maintained(tx, project_id, caller.reach)
    return invitations.of_project(tx, project_id)


def _maintains(project: Project, caller: Principal) -> bool:
    return project.part is Part.MAINTAINER or caller.reach.everything


def invited(request: Request, code: str, found: Invitation, title: str, by: str) -> Response:
    """The page that an invitation's link opens."""
    words = dict(PARTS)[found.part.value]
    return page(
        request, "invitation.html", title=f"Invitation to {title}", code=code, invitation=found, by=by, words=words
    )


async def act(request: Request, caller: Principal, project_id: str) -> Response:
    """What a form of the page asks for (its field `do`), then the page again. Raises as the verbs do."""
    if not is_form(request):
        raise WrongMediaType(InputProblem("", "this is for the forms of the page; programs use PUT and DELETE"))
    fields = await form(request)
    site = site_of(request)
    base = site.base(request)
    if fields.get("do") == "invite":
        code = await site.rows.quick(_invite, site, caller, project_id, fields)
        return await shown(request, caller, project_id, made=f"{base}/invitations/{code}")
    await site.rows.quick(_do, site, caller, project_id, fields)
    site.gate.forget()
    gone = fields["do"] in ("delete", "leave")
    return done(f"{base}/projects" if gone else f"{base}/projects/{project_id}")


def _invite(site: Site, caller: Principal, project_id: str, fields: Mapping[str, str]) -> str:
    days = fields.get("days", "")
    if not days.isdecimal() or len(days) > 4:
        raise InputError(InputProblem("/days", "is not a number of days"))
    note = fields.get("note", "")
    _, code = verbs.invite(site.broker.database, caller, project_id, _part(fields), note, int(days))
    return code


def _do(site: Site, caller: Principal, project_id: str, fields: Mapping[str, str]) -> None:
    given = (site.broker.database, caller, project_id)
    match fields.get("do"):
        case "rename":
            verbs.rename(*given, fields.get("title", ""))
        case "delete":
            if fields.get("sure") != project_id:
                raise InputError(InputProblem("/sure", "write the project's id there to delete it"))
            verbs.remove(*given)
        case "leave":
            verbs.take_out(*given, caller.owner)
        case "remove":
            verbs.take_out(*given, fields.get("person", ""))
        case "part":
            verbs.change_part(*given, fields.get("person", ""), _part(fields))
        case "revoke":
            verbs.revoke(*given, fields.get("invitation", ""))
        case _:
            raise InputError(InputProblem("/do", "is nothing that this page can do"))


def _part(fields: Mapping[str, str]) -> Part:
    try:
        return Part(fields.get("part", ""))
    except ValueError:
        raise InputError(InputProblem("/part", f"is none of {', '.join(Part)}")) from None
