"""Platforms: where jobs can run, and what each offers, as last checked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import JSON, Json, link, representation
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.jobs.model import Needs
from broker.jobs.placement import Candidate, unfit
from broker.store import platforms

router = guarded("Platforms")
PLATFORMS = ConformanceClass(router, (), (("/platforms", "related", "Where jobs can run"),))


@router.get("/platforms", name="platforms")
async def page(request: Request, f: Representation = None) -> Response:
    """All platforms, in the order in which the broker tries them."""
    representation(request, {"json": JSON})
    site = site_of(request)
    base = site.base(request)
    found = await site.rows.read(platforms.candidates)
    return Json(
        {
            "platforms": [_document(candidate) for candidate in found],
            "links": [link(f"{base}/platforms", "self", "This list")],
        }
    )


@router.get("/platforms/{name}", name="platform")
async def one(request: Request, name: str, f: Representation = None) -> Response:
    """One platform."""
    representation(request, {"json": JSON})
    return Json(_document(await site_of(request).rows.read(platforms.one, name)))


def _document(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "available": candidate.available,
        "paused": candidate.paused,
        "message": candidate.message,
        "capabilities": candidate.capabilities.to_json(),
    }


def fitting(tx: Connection, needs: Needs) -> list[dict[str, Any]]:
    """For each platform, whether it can run the package, and why not."""
    return [
        {
            "name": candidate.name,
            "fits": not (why := unfit(needs, candidate.capabilities)),
            "reasons": list(why),
            "available": candidate.available and not candidate.paused,
        }
        for candidate in platforms.candidates(tx)
    ]
