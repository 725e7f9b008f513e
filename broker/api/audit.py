"""The audit: who did what for whom. Everybody reads their own entries, operators all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.access.principal import Scope
from broker.api import answers, auditpage
from broker.api.answers import JSON, Json, page_links, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import mendable
from broker.api.jobs import interval
from broker.api.paging import Limit, Representation, size
from broker.api.site import Site, site_of
from broker.errors import InputProblem, InvalidParameter
from broker.store import audit
from broker.store.audit import Filter
from broker.web import HTML

router = guarded("Audit")
AUDIT = ConformanceClass(router, (), (("/audit", "related", "Who did what"),))
LINES = "application/x-ndjson"
AT_ONCE = 1000  # rows that are read together
Word = Annotated[str | None, Query(max_length=300)]
Since = Annotated[str | None, Query(max_length=100, description="Entries from this time on, such as 2026-01-31.")]
Before = Annotated[int | None, Query(ge=0, le=2**62, description="Newest first, those before the one with this id.")]
Newest = Annotated[bool | None, Query(description="Newest first; the page's default.")]
After = Annotated[int, Query(ge=0, le=2**62, description="Entries after the one with this id.")]


@router.get("/audit", name="audit")
async def page(
    request: Request,
    caller: Caller,
    actor: Word = None,
    project: Word = None,
    action: Word = None,
    since: Since = None,
    after: After = 0,
    before: Before = None,
    newest: Newest = None,
    limit: Limit = None,
    f: Representation = None,
) -> Response:
    """Entries, oldest first: some as JSON, or all of them (or `limit`) as JSON lines (`f=jsonl`)."""
    chosen = representation(request, {"json": JSON, "html": HTML, "jsonl": LINES})
    site = site_of(request)
    try:
        wanted = Filter(actor or None, project or None, action or None, interval(since)[0] if since else None)
    except InvalidParameter as error:
        refused = InvalidParameter(*(InputProblem("?since", one.detail) for one in error.problems))
        return await auditpage.shown(request, caller, (), (), refused=refused, status=mendable(request, refused))
    if Scope.ADMIN not in caller.scopes:
        # of others one gets nobody's: whether there is such a person is not told
        wanted = replace(wanted, actor=caller.owner if wanted.actor in (None, caller.owner) else "")
    if chosen == "jsonl":
        return StreamingResponse(_lines(site, wanted, after, limit), media_type=LINES)
    count = size(limit, site.settings.api.page)
    backwards = before is not None or (newest if newest is not None else chosen == "html")
    if backwards:
        begin = audit.LAST if before is None else before
        found = await site.rows.read(audit.newest, before=begin, limit=count + 1, wanted=wanted)
    else:
        found = await site.rows.read(audit.page, after=after, limit=count + 1, wanted=wanted)
    shown = found[:count]
    going_on = {"before" if backwards else "after": str(shown[-1]["id"]), "limit": str(count)} if shown else {}
    following = going_on if len(found) > count else None
    links = page_links(site.base(request), "/audit", request, following, "These entries")
    if chosen == "html":
        return await auditpage.shown(request, caller, shown, links)
    return Json({"entries": [document(row) for row in shown], "links": links})


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its time for people; `at` is the number that the hash was made of."""
    return {"id": row["id"], "time": answers.time(row["at"]), **row}


async def _lines(site: Site, wanted: Filter, after: int, limit: int | None) -> AsyncIterator[bytes]:
    left = limit
    while left is None or left > 0:
        most = AT_ONCE if left is None else min(left, AT_ONCE)
        rows = await site.rows.read(audit.page, after=after, limit=most, wanted=wanted)
        if rows:
            yield b"".join(orjson.dumps(document(row)) + b"\n" for row in rows)
            after = rows[-1]["id"]
        if len(rows) < most:
            return
        left = None if left is None else left - len(rows)
