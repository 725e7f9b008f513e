"""Notices of platforms: where other servers say that a job has changed (their `subscriber`)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from broker.api.classes import ConformanceClass, public
from broker.api.site import site_of
from broker.execution import notices

router = public("Platforms")
NOTICES = ConformanceClass(router)


@router.post("/notices/{job_id}/{token}", name="notice", status_code=204)
async def notice(
    request: Request,
    job_id: Annotated[str, Path(max_length=100)],
    token: Annotated[str, Path(max_length=100)],
) -> Response:
    """A platform's server says that a job has changed there: it is looked at soon. The body is not read, and the answer
    tells nothing."""
    site = site_of(request)
    if await site.rows.quick(notices.heard, site.broker.database, site.broker.vault, job_id, token):
        site.relay.wake()
    return Response(status_code=204)
