"""The pages of uploads: the list with the form that brings a file, and one upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import sharepages
from broker.api.forms import errors
from broker.api.sharepages import Offer
from broker.api.site import site_of
from broker.errors import BrokerError, Forbidden
from broker.store import people, projects, uploads
from broker.store.uploads import Upload
from broker.web import page

MOST_PROJECTS = 200


async def listing(
    request: Request,
    caller: Principal,
    found: Sequence[Upload],
    links: Sequence[Mapping[str, str]],
    *,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The list that the query asks for, and the form for one more."""
    site = site_of(request)
    query = request.query_params if request.method == "GET" else {}
    mine = await site.rows.read(projects.page, caller.owner, caller.owner, limit=MOST_PROJECTS)
    names = await site.rows.read(people.names, {one.owner for one in found})
    views = [("", "Everybody's" if caller.lists is None else "Yours")]
    views += [(f"project={one.id}", one.title) for one in mine] + [("public=true", "Public")]
    chosen = f"project={query['project']}" if "project" in query else "public=true" if "public" in query else ""
    return page(
        request,
        "uploads.html",
        status=status,
        title="Uploads",
        uploads=found,
        links=links,
        views=views,
        chosen=chosen,
        me=caller.owner,
        names=names,
        may_upload=Scope.RUN in caller.scopes,
        most=site.settings.uploads.max_bytes,
        errors=errors(refused),
    )


async def shown(request: Request, caller: Principal, upload_id: str) -> Response:
    """The page of one."""
    upload, offer, owner, changes = await site_of(request).rows.read(_one, upload_id, caller)
    return page(request, "upload.html", title=upload.name, upload=upload, offer=offer, owner=owner, changes=changes)


def _one(tx: Connection, upload_id: str, caller: Principal) -> tuple[Upload, Offer, str, bool]:
    """(the upload, how it is shared, its owner's name, whether the caller may delete it)."""
    upload = uploads.get(tx, upload_id, caller.reach)
    owner = people.names(tx, [upload.owner]).get(upload.owner, upload.owner)
    offer = sharepages.offer(tx, "upload", upload_id, caller)
    try:
        caller.need(Scope.RUN)
        uploads.get_to_change(tx, upload_id, caller.reach)
    except Forbidden:
        return upload, offer, owner, False
    return upload, offer, owner, True
