"""Platforms: where jobs can run, and what each offers, as last checked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.api import aboutpages
from broker.api.answers import JSON, Json, link, representation
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.execution.placing import wish
from broker.jobs.model import Needs
from broker.jobs.placement import Candidate, against
from broker.store import platforms
from broker.web import HTML

router = guarded("Platforms")
OFFERS = {"json": JSON, "html": HTML}
PLATFORMS = ConformanceClass(router, (), (("/platforms", "related", "Where jobs can run"),))


@router.get("/platforms", name="platforms")
async def page(request: Request, f: Representation = None) -> Response:
    """All platforms, in the order in which the broker tries them."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    base = site.base(request)
    found = [_document(candidate) for candidate in await site.rows.read(platforms.candidates)]
    if chosen == "html":
        return aboutpages.platforms(request, found)
    return Json(
        {
            "platforms": found,
            "links": [link(f"{base}/platforms", "self", "This list")],
        }
    )


@router.get("/platforms/{name}", name="platform")
async def one(request: Request, name: str, f: Representation = None) -> Response:
    """One platform."""
    chosen = representation(request, OFFERS)
    found = _document(await site_of(request).rows.read(platforms.one, name))
    return aboutpages.platforms(request, [found], name) if chosen == "html" else Json(found)


def _document(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "available": candidate.available,
        "paused": candidate.paused,
        "message": candidate.message,
        "capabilities": candidate.capabilities.to_json(),
    }


def fitting(tx: Connection, needs: Needs, project: str | None = None) -> list[dict[str, Any]]:
    """For each platform, whether it can run the package (for a project), and why not."""
    candidates = platforms.candidates(tx)
    wanted = wish(tx, candidates, needs, project)
    return [
        {
            "name": candidate.name,
            "fits": not (why := against(wanted, candidate)),
            "reasons": list(why),
            "available": candidate.takes_jobs,
        }
        for candidate in candidates
    ]
