"""Whose rows a list shows: one's own, those shared with a project, or public ones."""

from __future__ import annotations

from typing import Annotated, TypedDict

from fastapi import Query

from broker.access.principal import Principal
from broker.api.site import Site
from broker.errors import Forbidden
from broker.store import projects

OfProject = Annotated[str | None, Query(max_length=200, description="What is shared with this project of one's own.")]
Public = Annotated[bool, Query(description="What everybody sees.")]
Owner = Annotated[str | None, Query(max_length=200, description="Of one person: for operators.")]


class Whose(TypedDict):
    """The part of a list's filter that says whose rows; None, False: whichever."""

    owner: str | None
    project: str | None
    public: bool


async def listed(
    site: Site, caller: Principal, project: str | None = None, public: bool = False, owner: str | None = None
) -> Whose:
    """What the parameters of a list say. Raises NoSuchProject for other people's, Forbidden for other people."""
    if owner not in (None, caller.owner) and not caller.reach.everything:
        raise Forbidden("Only operators list what other people own.", hint="Leave ?owner out.")
    if project is not None:
        await site.rows.read(projects.get, project, caller.reach)
    elif not public and owner is None:
        owner = caller.lists
    return {"owner": owner, "project": project, "public": public}
