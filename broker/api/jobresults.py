"""The results of a job, in the packaging that the request or the client asks for (Part 1 v1.0, table of results)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.access.principal import Reach
from broker.api import jobpages, problems, resultpages
from broker.api.answers import JSON, Json, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.jobfiles import refuse_swept, send, streamed
from broker.api.outputs import Outputs, chosen, is_a, located, object_type
from broker.api.paging import Representation
from broker.api.resultdocument import document, reads, transmission
from broker.api.site import Site, site_of
from broker.api.status import status_info
from broker.errors import JobFailed, NoSuchOutput, ResultNotReady
from broker.execution.collect import key
from broker.execution.retention import delete_results
from broker.jobs.model import Job, Phase
from broker.storage import Storage
from broker.store import files, jobs
from broker.store.files import KeptFile
from broker.web import HTML

router = guarded("Results")
RESULTS = ConformanceClass(router)
CWL_OUTPUT = "application/vnd.commonwl.output+json"
MULTIPART = "multipart/related"
TEXT = "text/plain; charset=utf-8"
INLINE = 16 * 2**20  # bytes of a file that goes into a multipart body unless it was asked for by value
OFFERS = {"raw": MULTIPART, "json": JSON, "cwl": CWL_OUTPUT, "html": HTML}
Packaging = Annotated[
    Literal["raw", "document"] | None, Query(description="Instead of the `response` of the execute request.")
]


@router.get("/jobs/{job_id}/results", name="results")
async def results(
    request: Request, job_id: str, caller: Caller, response: Packaging = None, f: Representation = None
) -> Response:
    """The outputs of a successful job: as the request asked for them, or by Accept or `f`: json (document), cwl."""
    site = site_of(request)
    if response is None and representation(request, OFFERS) == "html":
        job, kept = await site.rows.read(_whole, job_id, caller.reach)
        if job.phase is not Phase.SUCCESSFUL:
            return jobpages.to_part(request, job_id, "state")
        refuse_swept(job)
        return await resultpages.results(request, job, kept)
    return await of_job(request, site, job_id, caller.reach, {}, response)


@router.get("/jobs/{job_id}/results/{output}", name="result")
async def result(request: Request, job_id: str, output: str, caller: Caller) -> Response:
    """One output, raw."""
    site = site_of(request)
    job, kept = await site.rows.read(_whole, job_id, caller.reach)
    if (failed := _no_results(job)) is not None:
        return failed
    outputs = located(job, kept, site.base(request))
    if output not in outputs.values:
        known = ", ".join(outputs.values) or "none"
        raise NoSuchOutput(f"The job has no output {output!r}.", hint=f"It has: {known}.")
    return await _raw(request, site, job, outputs, output, {})


@router.delete("/jobs/{job_id}/results", name="resultsDelete")
async def delete(request: Request, job_id: str, caller: Caller) -> Response:
    """Delete the results of a job that has ended; its status, logs and history stay."""
    site = site_of(request)
    job = await site.rows.quick(delete_results, site.broker.database, caller, job_id)
    return Json(status_info(job, site.base(request)))


def _whole(tx: Connection, job_id: str, reach: Reach | None) -> tuple[Job, list[KeptFile]]:
    """The job with its outputs, and its files once there are any to show."""
    job = jobs.get(tx, job_id, reach)
    return job, files.of_job(tx, job_id) if job.phase is Phase.SUCCESSFUL else []


def _no_results(job: Job) -> Response | None:
    """The problem of a job that ended without results; None where there are some. Raises ResultNotReady, and
    ResultsGone for those that were deleted."""
    if job.phase is Phase.SUCCESSFUL:
        refuse_swept(job)
        return None
    if job.failure is not None and job.phase is Phase.FAILED:
        failure = job.failure
        error = JobFailed(failure.message, failed_fault=failure.fault.value, failed_reason=failure.reason.value)
        return problems.answer(error, jobID=job.id, failure=failure.to_json())
    if job.phase is Phase.DISMISSED or job.dismiss_requested:
        gone = JobFailed("The job was dismissed: it has no results.", failed_fault="input", failed_reason="dismissed")
        return problems.answer(gone, jobID=job.id)
    raise ResultNotReady(f"The job is {job.phase.value}; its results are not there yet.", hint="Ask for its status.")


async def of_job(
    request: Request,
    site: Site,
    job_id: str,
    reach: Reach | None,
    headers: dict[str, str],
    packaging: str | None = None,
) -> Response:
    """The results of a job that has ended, or the problem that says why there are none."""
    job, kept = await site.rows.read(_whole, job_id, reach)
    if (failed := _no_results(job)) is not None:
        failed.headers.update(headers)
        return failed
    outputs = located(job, kept, site.base(request))
    chosen_format = packaging or _packaging(request, job)
    if chosen_format == "cwl":
        return Json(outputs.cwl(), headers=headers, media_type=CWL_OUTPUT)
    wanted = job.request.get("outputs")
    values = chosen(outputs.values, wanted)
    if chosen_format == "document":
        return Json(await _document(site, job, outputs), headers=headers)
    names = list(wanted or outputs.values)
    if len(names) == 1 and names[0] in outputs.values:
        return await _raw(request, site, job, outputs, names[0], headers, transmission(wanted, names[0]))
    return _many(site, job, outputs, values, headers)


def _packaging(request: Request, job: Job) -> str:
    """cwl where it is asked for; else what the execute request said; where it said nothing, what Accept likes."""
    offers = {name: OFFERS[name] for name in ("raw", "json", "cwl")}
    like = representation(request, offers)
    if like == "cwl" or "f" in request.query_params:
        return {"json": "document"}.get(like, like)
    if not job.request.get("responseDefault"):
        return str(job.request.get("response", "raw"))
    return "document" if like == "json" else "raw"


async def _document(site: Site, job: Job, outputs: Outputs) -> dict[str, Any]:
    if reads(job, outputs):
        return await site.rows.slow(document, site.broker.storage, job, outputs)
    return document(site.broker.storage, job, outputs)


async def _raw(
    request: Request,
    site: Site,
    job: Job,
    outputs: Outputs,
    name: str,
    headers: dict[str, str],
    mode: str | None = None,
) -> Response:
    """One output in its own media type; 204 with a Link where it was asked for by reference or is null."""
    value = outputs.values[name]
    if value is None:
        return Response(status_code=204, headers=headers)
    if mode == "reference":
        return Response(status_code=204, headers=_with_links(headers, outputs, {name: value}))
    row = outputs.kept(value)
    if row is not None:
        return await send(request, site, job, row, headers)
    body, media_type = literal(outputs, value, as_json=_wants_json(request))
    return Response(body, headers=headers | {"Content-Type": media_type})


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "json" in accept and "text/plain" not in accept and "*/*" not in accept


def literal(outputs: Outputs, value: Any, *, as_json: bool = False) -> tuple[bytes, str]:
    """A value that is no single File: text as it is, everything else as JSON; Files in it are links."""
    if isinstance(value, str) and not as_json:
        return value.encode(), TEXT
    plain = value if not isinstance(value, Mapping) or is_a(value, "Directory") else None
    shown = outputs.document(value) if plain is not None else outputs.document([value])[0]
    return orjson.dumps(shown), object_type(value) if isinstance(value, Mapping) else JSON


def _with_links(headers: dict[str, str], outputs: Outputs, values: Mapping[str, Any]) -> dict[str, str]:
    links = [
        f'<{target["href"]}>; rel="item"; type="{target["type"]}"; title="{name}"'
        for name, value in values.items()
        for target in _targets(outputs, name, value)
    ]
    if "Link" in headers:
        links.insert(0, headers["Link"])
    return headers | {"Link": ", ".join(links)}


def _targets(outputs: Outputs, name: str, value: Any) -> list[dict[str, str]]:
    """Where an output is, by reference: a File's bytes, a Directory's catalog, else the single output itself."""
    if is_a(value, "File"):
        return [outputs.file_link(value)]
    if is_a(value, "Directory"):
        return [outputs.directory_link(value)]
    if isinstance(value, list) and value and all(is_a(one, "File") or is_a(one, "Directory") for one in value):
        return [target for one in value for target in _targets(outputs, name, one)]
    return [{"href": f"{outputs.here}/results/{name}", "type": JSON}]


def _many(site: Site, job: Job, outputs: Outputs, values: Mapping[str, Any], headers: dict[str, str]) -> Response:
    """204 with links where all were asked for by reference, else multipart/related with one part per output."""
    wanted = job.request.get("outputs")
    if values and all(transmission(wanted, name) == "reference" for name in values):
        return Response(status_code=204, headers=_with_links(headers, outputs, values))
    boundary = secrets.token_hex(16)
    parts = _parts(site.broker.storage, job, outputs, values, boundary)
    kind = f'multipart/related; boundary="{boundary}"'
    return StreamingResponse(_flow(parts), headers=headers | {"Content-Type": kind})


async def _flow(parts: Iterator[bytes | Iterator[bytes]]) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        else:
            async for chunk in streamed(part):
                yield chunk


def _parts(
    storage: Storage, job: Job, outputs: Outputs, values: Mapping[str, Any], boundary: str
) -> Iterator[bytes | Iterator[bytes]]:
    wanted = job.request.get("outputs")
    for name, value in values.items():
        mode = transmission(wanted, name)
        row = outputs.kept(value)
        if mode == "reference" or is_a(value, "Directory") or (row and mode is None and (row.size or 0) > INLINE):
            for target in _targets(outputs, name, value):
                yield _head(boundary, name, target["type"], target["href"])
        elif row is not None:
            yield _head(boundary, name, row.media_type or "application/octet-stream")
            yield storage.open(key(job, row.attempt, row.path))
        else:
            body, media_type = literal(outputs, value)
            yield _head(boundary, name, media_type) + body
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _head(boundary: str, name: str, media_type: str, location: str | None = None) -> bytes:
    lines = [f"--{boundary}", f"Content-Type: {media_type}", f"Content-ID: <{name}>"]
    if location is not None:
        lines.append(f"Content-Location: {location}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
