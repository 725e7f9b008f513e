"""What happened in a job: its logs (text, JSON, or followed as server-sent events), steps, events and inputs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.access.principal import Reach
from broker.api import answers, jobpages, logpages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.processes import unexecuted
from broker.api.site import Site, site_of
from broker.errors import InputProblem, InvalidParameter, NoSuchJob
from broker.jobs.model import Job
from broker.store import files, jobs
from broker.store.files import LogRow
from broker.web import HTML

router = guarded("Job records")
RECORDS = ConformanceClass(router)
CHUNKS = 500  # of one answer
FOLLOW_SECONDS = 1.0  # how often followed rows are looked at when no wake-up comes
KEEPALIVE_SECONDS = 15.0
REPRESENTATIONS = {"json": JSON, "text": "text/plain; charset=utf-8", "sse": "text/event-stream", "html": HTML}
OFFERS = {"json": JSON, "html": HTML}
After = Annotated[int, Query(ge=0, le=2**62, description="The cursor of the answer before.")]
StepName = Annotated[str | None, Query(max_length=500, description="Only the log of this step (`engine`: the runner).")]
Which = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only this attempt.")]


@router.get("/jobs/{job_id}/logs", name="logs")
async def logs(
    request: Request,
    job_id: str,
    caller: Caller,
    step: StepName = None,
    attempt: Which = None,
    after: After = 0,
    f: Representation = None,
) -> Response:
    """Log text as it was kept, from a cursor on. As text/event-stream it follows the job to its end."""
    chosen = representation(request, REPRESENTATIONS)
    site = site_of(request)
    if chosen == "sse":
        after = max(after, _last_event(request))
        job = await site.rows.read(jobs.get_light, job_id, caller.reach)
        return StreamingResponse(
            _follow(site, job.id, caller.reach, step, attempt, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    step = step or None  # a form sends what was left empty too
    job, found = await site.rows.read(_page, job_id, caller.reach, step, attempt, after)
    if chosen == "html":
        streams = await site.rows.read(files.streams, job_id)
        more = len(found) == CHUNKS
        return logpages.log(request, job, found, streams, step=step, attempt=attempt, after=after, more=more)
    cursor = found[-1].id if found else after
    fields = {"Log-Cursor": str(cursor), "Job-Status": job.phase.value}
    if chosen == "text":
        text = "".join(row.text for row in found)
        return Response(text, headers=unexecuted(fields), media_type=REPRESENTATIONS["text"])
    here = f"{site.base(request)}/jobs/{job_id}/logs"
    query = {"after": cursor, "step": step, "attempt": attempt}
    following = f"{here}?{urlencode({key: value for key, value in query.items() if value is not None})}"
    return Json(
        {
            "logs": [_chunk(row) for row in found],
            "cursor": cursor,
            "more": len(found) == CHUNKS,
            "ended": job.terminal,
            "links": [link(here, "self", "This log"), link(following, "next", "What comes after")],
        },
        headers=fields,
    )


def _page(
    tx: Connection, job_id: str, reach: Reach | None, step: str | None, attempt: int | None, after: int
) -> tuple[Job, list[LogRow]]:
    job = jobs.get_light(tx, job_id, reach)
    return job, files.logs(tx, job_id, after=after, stream=step, attempt=attempt, limit=CHUNKS)


def _chunk(row: LogRow) -> dict[str, Any]:
    return {"id": row.id, "step": row.stream, "attempt": row.attempt, "at": answers.time(row.at), "text": row.text}


def _last_event(request: Request) -> int:
    """Where an EventSource that reconnects has got to."""
    given = request.headers.get("last-event-id", "")
    if not given:
        return 0
    if not given.isdecimal() or len(given) > 18:
        raise InvalidParameter(InputProblem("Last-Event-ID", "is not a cursor of this log"))
    return int(given)


async def _follow(
    site: Site, job_id: str, reach: Reach, step: str | None, attempt: int | None, after: int
) -> AsyncIterator[bytes]:
    """Events `log` (data: JSON of a chunk, id: cursor) and `status` (first, and
    whenever something about the job has changed: ask for it), then one `end` with the job's phase.

    It also ends, without a word, when the job is not shared with the reader any more, and when the server stops: an
    EventSource then comes back with the cursor that it has got to.
    """
    spoken = time.monotonic()
    told = 0.0  # of the job's `updated`
    with site.wakeups.watch(job_id) as changed:
        while not site.wakeups.over:
            try:
                job, found = await site.rows.read(_page, job_id, reach, step, attempt, after)
            except NoSuchJob:
                return
            for row in found:
                after = row.id
                yield b"event: log\nid: %d\ndata: %s\n\n" % (row.id, orjson.dumps(_chunk(row)))
            if job.updated != told and not job.terminal:
                told, spoken = job.updated, time.monotonic()
                yield b'event: status\ndata: {"phase":"%s"}\n\n' % job.phase.value.encode()
            if job.terminal and not found:
                yield b'event: end\ndata: {"phase":"%s"}\n\n' % job.phase.value.encode()
                return
            if found:
                spoken = time.monotonic()
                continue
            if time.monotonic() - spoken > KEEPALIVE_SECONDS:
                spoken = time.monotonic()
                yield b": still here\n\n"
            await changed.wait(FOLLOW_SECONDS)


@router.get("/jobs/{job_id}/steps", name="steps")
async def steps(
    request: Request, job_id: str, caller: Caller, attempt: Which = None, f: Representation = None
) -> Response:
    """The steps that ran, with command, image digest, exit code and resource use."""
    if representation(request, OFFERS) == "html":
        return jobpages.to_part(request, job_id, "steps")
    number, found = await site_of(request).rows.read(_steps, job_id, caller.reach, attempt)
    return Json({"attempt": number, "steps": [_timed(step.to_json()) for step in found]})


def _steps(tx: Connection, job_id: str, reach: Reach | None, attempt: int | None) -> tuple[int, list[Any]]:
    number = attempt or jobs.get_light(tx, job_id, reach).attempt
    if attempt is not None:
        jobs.get_light(tx, job_id, reach)  # other people's jobs do not exist
    return number, list(files.steps(tx, job_id, number))


def _timed(step: dict[str, Any]) -> dict[str, Any]:
    for name in ("started", "finished"):
        if step[name] is not None:
            step[name] = answers.time(step[name])
    return step


@router.get("/jobs/{job_id}/events", name="events")
async def events(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """Everything that happened to the job, oldest first."""
    if representation(request, OFFERS) == "html":
        return jobpages.to_part(request, job_id, "history")
    found = await site_of(request).rows.read(_events, job_id, caller.reach)
    return Json({"events": found})


def _events(tx: Connection, job_id: str, reach: Reach | None) -> list[dict[str, Any]]:
    jobs.get_light(tx, job_id, reach)
    # the rows' keys are no plain `str`, which orjson wants
    names = ("attempt", "event", "phase", "data")
    return [
        {"at": answers.time(event["at"])} | {name: event[name] for name in names} for event in jobs.events(tx, job_id)
    ]


@router.get("/jobs/{job_id}/inputs", name="inputs")
async def inputs(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """What the job was asked for, as the client sent it, and the CWL job order that was made of it."""
    if representation(request, OFFERS) == "html":
        return jobpages.to_part(request, job_id, "inputs")
    job = await site_of(request).rows.read(jobs.get, job_id, caller.reach)
    given = {name: job.request[name] for name in ("inputs", "outputs", "response") if name in job.request}
    return Json({**given, "processID": job.process_id, "revision": job.process_revision, "jobOrder": job.job_order})
