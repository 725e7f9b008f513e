"""Estimates: what a job would take and cost, before it runs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import bodies
from broker.api.answers import Json
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.executerequest import execute_request
from broker.api.site import Site, site_of
from broker.execution.accept import ExecuteRequest, ordered

router = guarded("Execution")
ESTIMATES = ConformanceClass(router)


@router.post("/processes/{process_id}/estimate", name="estimate")
async def estimate(request: Request, process_id: str, caller: Caller) -> Response:
    """What an execution with this body would take and cost on each platform (or the one that it names); makes no job.

    `basis` says whose word it is: the platform's, that of your last jobs (history), or of the operator's prices.
    """
    caller.need(Scope.RUN)
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    found = await site.rows.slow(_estimates, site, caller, process_id, execute_request(body))
    return Json({"processID": process_id, "estimates": found})


def _estimates(site: Site, caller: Principal, process_id: str, wanted: ExecuteRequest) -> list[dict[str, Any]]:
    from broker.execution.estimate import estimates  # noqa: PLC0415 - few ask

    broker = site.broker
    with broker.database.read() as tx:
        process, order = ordered(tx, caller, process_id, wanted, upload_id=site.upload_id)
    return estimates(
        broker.database, broker.storage, broker.platforms, caller, process, order, broker.limits, wanted.platform
    )
