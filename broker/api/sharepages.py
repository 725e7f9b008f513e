"""The form that shares a process, a job or an upload: part of their pages, and a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Part, Principal
from broker.api.forms import done, form, mendable
from broker.api.site import site_of
from broker.errors import BrokerError, Forbidden, ImmutableProcess
from broker.execution import sharing as verbs
from broker.store import projects, sharing
from broker.store.sharing import Kind
from broker.store.visible import PRIVATE, PROJECT, PUBLIC
from broker.web import page

PATHS: Mapping[Kind, str] = {"process": "processes", "job": "jobs", "upload": "uploads"}
MOST_PROJECTS = 200
OF_PROJECT = "project:"  # what a choice of the form begins with that names a project


@dataclass(frozen=True, slots=True)
class Offer:
    """What the macro `sharing` of parts.html shows. `path`: of what is shared; `chosen`: how it is now, as one of the
    `choices` (value, words); no choices for who only sees it."""

    kind: Kind
    id: str
    path: str
    words: str
    chosen: str
    choices: tuple[tuple[str, str], ...]


def offer(tx: Connection, kind: Kind, row_id: str, caller: Principal) -> Offer:
    """For a page of a process, a job or an upload: with whom it is shared, and what the caller can make of that.

    Raises NoSuchProcess, NoSuchJob, NoSuchUpload.
    """
    found = sharing.get(tx, kind, row_id, caller.reach)
    chosen = f"{OF_PROJECT}{found.project}" if found.shared == PROJECT else found.shared
    words = {
        PRIVATE: "Only its owner sees it.",
        PUBLIC: "Everybody who uses this broker sees it.",
        PROJECT: f"The members of the project {found.project} see it.",
    }[found.shared]
    choices = _choices(tx, caller) if _may_share(tx, kind, row_id, caller) else []
    if choices and chosen not in dict(choices):
        choices.append((chosen, f"the project {found.project}"))
    return Offer(kind, row_id, f"/{PATHS[kind]}/{row_id}", words, chosen, tuple(choices))


def _may_share(tx: Connection, kind: Kind, row_id: str, caller: Principal) -> bool:
    try:
        caller.need(verbs.SCOPES[kind])
        sharing.get_to_change(tx, kind, row_id, caller.reach)
    except (Forbidden, ImmutableProcess):
        return False
    return True


def _choices(tx: Connection, caller: Principal) -> list[tuple[str, str]]:
    mine = projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)
    shared = [(f"{OF_PROJECT}{one.id}", f"the project {one.title}") for one in mine if one.part is not Part.VIEWER]
    return [(PRIVATE, "nobody: private"), *shared, (PUBLIC, "everybody: public")]


async def shown(
    request: Request,
    caller: Principal,
    kind: Kind,
    row_id: str,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The form as a page. `refused`: why what it said was not done."""
    found = await site_of(request).rows.read(offer, kind, row_id, caller)
    return page(
        request,
        "sharing.html",
        status=status,
        title=f"Sharing of the {kind} {row_id}",
        offer=found,
        error="" if refused is None else refused.detail,
    )


async def act(request: Request, caller: Principal, kind: Kind, row_id: str) -> Response:
    """Share as the form says, then show what is shared. Raises WrongMediaType, and as `offer` does."""
    fields = await form(request)
    site = site_of(request)
    chosen = fields.get("with", "")
    shared, project = (PROJECT, chosen.removeprefix(OF_PROJECT)) if chosen.startswith(OF_PROJECT) else (chosen, None)
    await site.rows.read(sharing.get, kind, row_id, caller.reach)
    try:
        await site.rows.quick(verbs.share, site.broker.database, caller, kind, row_id, shared, project)
    except BrokerError as refused:
        return await shown(request, caller, kind, row_id, refused, mendable(request, refused))
    return done(f"{site.base(request)}/{PATHS[kind]}/{row_id}?f=html")
