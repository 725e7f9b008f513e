"""Executions: a request becomes a job, and the client waits for it or not; a check makes no job."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import bodies, jobresults, reachability
from broker.api.answers import Json
from broker.api.authentication import Caller, authenticated
from broker.api.classes import ConformanceClass, guarded
from broker.api.executerequest import Preference, execute_request, idempotency_key, preference
from broker.api.platforms import fitting
from broker.api.processes import Revision
from broker.api.site import Site, site_of
from broker.api.status import status_info
from broker.bootstrap import input_policy
from broker.egress import Egress, FetchError
from broker.errors import EgressRefused, InputError, InputProblem
from broker.execution.accept import ExecuteRequest, Ticket, prepare
from broker.execution.accept import check as check_request
from broker.execution.publishrequest import Asked
from broker.jobs.model import Job
from broker.store import jobs, platforms, processes

router = guarded("Execution")
EXECUTION = ConformanceClass(router)
LOOK_SECONDS = 1.0  # a waiting client's row is looked at so often even when no wake-up comes
LONG = 64 * 1024  # bytes of a request whose checks would hold up other clients
DryRun = Annotated[bool, Query(alias="dryRun", description="Check the request only: the same as POST .../check.")]


@router.post("/processes/{process_id}/execution", name="execute", status_code=201)
async def execute(
    request: Request, process_id: str, caller: Caller, revision: Revision = None, dry_run: DryRun = False
) -> Response:
    """Run a process. Without Prefer the answer waits for the results, `respond-async` gives 201 at once, and
    `respond-async, wait=5` after 5 seconds.

    A job that takes longer than `wait` (or than this server waits) is answered with 201 too, and goes on.
    """
    return await _execute(request, process_id, caller, revision, dry_run)


async def execute_plain(request: Request) -> Response:
    """The same for a request without a query, without FastAPI's resolving of parameters: clients send many."""
    return await _execute(request, request.path_params["process_id"], await authenticated(request))


async def _execute(
    request: Request, process_id: str, caller: Principal, revision: int | None = None, dry_run: bool = False
) -> Response:
    site = site_of(request)
    body, raw = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    wanted = execute_request(body)
    if wanted.subscriber is not None:
        wanted = subscribed(site, wanted, site.base(request))
    if wanted.wish is not None:
        wanted = await site.rows.slow(to_publish, site, caller, wanted)
    if dry_run:
        return await _checked(site, caller, process_id, wanted)
    key = idempotency_key(request, process_id, raw)
    prefer = preference(request)
    look = site.rows.read if len(raw) <= LONG else site.rows.read_long
    found = await look(prepare, caller, process_id, wanted, upload_id=site.upload_id, revision=revision, key=key)
    job, made = await site.rows.admit(found) if isinstance(found, Ticket) else (found, False)
    base = site.base(request)
    if not prefer.waits:
        if made:
            site.relay.wake()
        return created(job, base, prefer.applied(site.settings.api.sync_seconds, done=False))
    return await _wait(request, site, job, prefer, base, made=made)


def subscribed(site: Site, wanted: ExecuteRequest, base: str) -> ExecuteRequest:
    """The request with the address that callbacks name; raises InputError for subscribers that may not be called."""
    problems = []
    for kind, uri in (wanted.subscriber or {}).items():
        try:
            site.broker.callbacks_egress.refuse(uri)
        except (EgressRefused, FetchError) as error:
            problems.append(InputProblem(f"/subscriber/{kind}Uri", error.detail))
    if problems:
        raise InputError(*problems, hint="Callbacks go to https addresses that the broker can reach.")
    return replace(wanted, subscriber={**(wanted.subscriber or {}), "base": base})


def created(job: Job, base: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to who started a job and does not wait for it."""
    return Json(status_info(job, base), 201, {"Location": f"{base}/jobs/{job.id}", **(headers or {})})


def to_publish(site: Site, caller: Principal, wanted: ExecuteRequest) -> ExecuteRequest:
    """The request with what is to be published of the job, as the job keeps it. Raises Forbidden, InputError."""
    from broker.execution.publish import promised  # noqa: PLC0415 - in memory where somebody publishes

    try:
        publish = promised(site.broker.desk, caller, Asked.of(wanted.wish or {}))
    except InputError as error:
        raise InputError(*(InputProblem(f"/publish{one.pointer}", one.detail) for one in error.problems)) from None
    return replace(wanted, publish=publish)


async def _wait(request: Request, site: Site, job: Job, prefer: Preference, base: str, *, made: bool) -> Response:
    """Wait for the end of the job: woken by the queue, told by the row. `made`: nothing can have come of it yet."""
    bound = site.settings.api.sync_seconds
    end = time.monotonic() + prefer.seconds(bound)
    with site.wakeups.watch(job.id) as changed:
        site.relay.wake()
        if made:
            await changed.wait(min(prefer.seconds(bound), LOOK_SECONDS))
        while True:
            job = await site.rows.read(jobs.get_light, job.id)
            left = end - time.monotonic()
            if job.terminal or left <= 0 or site.wakeups.over:
                break
            await changed.wait(min(left, LOOK_SECONDS))
    if not job.terminal:
        return created(job, base, prefer.applied(bound, done=False))
    headers = prefer.applied(bound, done=True)
    if site.settings.api.monitor_link:
        headers["Link"] = f'<{base}/jobs/{job.id}>; rel="monitor"'
    return await jobresults.of_job(request, site, job.id, None, headers)


@router.post("/processes/{process_id}/check", name="checkExecution")
async def check(request: Request, process_id: str, caller: Caller) -> Response:
    """What an execution with this body would do, without a job: job order, platforms, images, links."""
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    wanted = execute_request(body)
    if wanted.subscriber is not None:
        wanted = subscribed(site, wanted, site.base(request))
    if wanted.wish is not None:
        wanted = await site.rows.slow(to_publish, site, caller, wanted)
    return await _checked(site, caller, process_id, wanted)


async def _checked(site: Site, caller: Principal, process_id: str, wanted: ExecuteRequest) -> Response:
    caller.need(Scope.RUN)
    return Json(await site.rows.slow(report, site, caller, process_id, wanted))


def report(site: Site, caller: Principal, process_id: str, wanted: ExecuteRequest) -> dict[str, Any]:
    """What an execution would do: the job order, where it goes, which images and links it needs. Raises as `check`."""
    database = site.broker.database
    order, platform = check_request(database, caller, process_id, wanted, upload_id=site.upload_id)
    with database.read() as tx:
        process = processes.get(tx, process_id, reach=caller.reach)
        fits = fitting(tx, process.needs, caller)
        candidate = platforms.one(tx, platform)
    engine = candidate.capabilities.container_engine
    images = [
        {"image": image, "required": required, "engine": engine, "usable": engine is not None or not required}
        for image, required in process.needs.images.items()
    ]
    with Egress(input_policy(site.settings)) as egress:
        links = reachability.report(egress, order.stage)
    return {
        "ok": all(one["reachable"] for one in links),
        "processID": process.id,
        "revision": process.revision,
        "jobOrder": order.job_order,
        "stage": [_shown(item.to_json()) for item in order.stage],
        "platform": platform,
        "platforms": fits,
        "images": images,
        "links": links,
        "warnings": reachability.warnings(candidate, process.needs.images),
    }


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """A stage item without the bytes that came by value."""
    return {key: f"({len(value)} characters)" if key in ("text", "data") else value for key, value in item.items()}
