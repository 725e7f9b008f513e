"""Health of this process, for whoever starts and watches it: no token needed, nothing told."""

from __future__ import annotations

from sqlalchemy import Connection, select
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import Json
from broker.api.classes import ConformanceClass, public
from broker.api.site import site_of
from broker.store.tables import now

router = public("Health")
HEALTH = ConformanceClass(router)


@router.get("/health/live", name="live")
async def live(request: Request) -> Response:
    """The process answers."""
    return Json({"status": "ok"})


@router.get("/health/ready", name="ready")
async def ready(request: Request) -> Response:
    """The process can do its work: the database answers. 503 otherwise."""
    await site_of(request).rows.read(_ping)
    return Json({"status": "ok"})


def _ping(tx: Connection) -> None:
    tx.execute(select(now())).scalar_one()
