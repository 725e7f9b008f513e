"""The output files of a job: a listing, and the bytes with ranges; or a redirect to where storage gives them away."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from broker.access.principal import Reach
from broker.api import resultpages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.problems import RangeNotSatisfiable
from broker.api.processes import unexecuted
from broker.api.site import Site, site_of
from broker.errors import NoSuchFile, ResultsGone
from broker.execution.collect import key
from broker.jobs.model import Job, Phase
from broker.store import files, jobs
from broker.store.files import KeptFile
from broker.web import HTML

router = guarded("Job files")
FILES = ConformanceClass(router)
LINK_SECONDS = 3600.0  # how long a signed link to storage works
OCTETS = "application/octet-stream"
Prefix = Annotated[str, Query(max_length=2000, description="Only files below this directory.")]
AfterFile = Annotated[str, Query(max_length=2000, description="Of the page: only files after this one, by path.")]
OFFERS = {"json": JSON, "html": HTML}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


@router.get("/jobs/{job_id}/files", name="jobFiles")
async def listing(
    request: Request, job_id: str, caller: Caller, prefix: Prefix = "", after: AfterFile = "", f: Representation = None
) -> Response:
    """The kept output files."""
    site = site_of(request)
    job, kept = await site.rows.read(_all, job_id, caller.reach)
    refuse_swept(job)
    return _list(request, job, kept, prefix.strip("/"), after)


def _list(request: Request, job: Job, kept: list[KeptFile], prefix: str, after: str) -> Response:
    if representation(request, OFFERS) == "html":
        return resultpages.listing(request, job, kept, prefix, after)
    return _listing(kept, f"{site_of(request).base(request)}/jobs/{job.id}", prefix)


def _all(tx: Connection, job_id: str, reach: Reach | None) -> tuple[Job, list[KeptFile]]:
    job = jobs.get_light(tx, job_id, reach)
    return job, files.of_job(tx, job_id)


def _listing(kept: list[KeptFile], here: str, prefix: str) -> Response:
    below = f"{prefix}/" if prefix else ""
    shown = [_entry(file, here) for file in kept if file.path.startswith(below)]
    if prefix and not shown:
        raise NoSuchFile(f"The job has no output file and no directory {prefix!r}.")
    path = f"/{quote(prefix)}/" if prefix else ""
    return Json({"files": shown, "links": [link(f"{here}/files{path}", "self", "This list")]})


def _entry(file: KeptFile, here: str) -> dict[str, Any]:
    return {
        "path": file.path,
        "href": f"{here}/files/{quote(file.path)}",
        "size": file.size,
        "type": file.media_type or OCTETS,
        "sha256": file.sha256,
    }


def _one(tx: Connection, job_id: str, reach: Reach | None, path: str) -> tuple[Job, KeptFile | None]:
    job = jobs.get_light(tx, job_id, reach)
    try:
        return job, files.one(tx, job_id, path)
    except NoSuchFile:
        return job, None


@router.get("/jobs/{job_id}/files/{path:path}", name="jobFile")
@router.head("/jobs/{job_id}/files/{path:path}", name="jobFileHead", include_in_schema=False)
async def content(request: Request, job_id: str, path: str, caller: Caller) -> Response:
    """The bytes of one output file, or of a range of it; for a directory (a path with a trailing slash) its listing."""
    site = site_of(request)
    job, file = await site.rows.read(_one, job_id, caller.reach, path)
    refuse_swept(job)
    if file is not None:
        return await send(request, site, job, file)
    _, kept = await site.rows.read(_all, job_id, caller.reach)
    return _list(request, job, kept, path.strip("/"), request.query_params.get("after", ""))


def refuse_swept(job: Job) -> None:
    """Raise ResultsGone, which says when and why, where the results were deleted."""
    if job.swept is not None:
        message = job.message if job.phase is Phase.SUCCESSFUL else "What the job left was deleted."
        raise ResultsGone(
            message, hint=f"Its history and logs are there. To have them again: execute {job.process_id}."
        )


async def send(
    request: Request, site: Site, job: Job, file: KeptFile, headers: dict[str, str] | None = None
) -> Response:
    """One kept file: 200, 206, 304, 416, or 307 to storage."""
    name = file.path.rpartition("/")[2]
    where = key(job, file.attempt, file.path)
    size = file.size or 0
    fields = unexecuted(
        {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            **(headers or {}),
        }
    )
    etag = f'"{file.sha256}"' if file.sha256 else None
    if etag:
        fields["ETag"] = etag
        if _matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=fields)
    media_type = file.media_type or OCTETS
    if request.method == "HEAD":
        return Response(headers=fields | {"Content-Length": str(size), "Content-Type": media_type})
    storage = site.broker.storage
    away = await site.rows.slow(storage.public_link, where, LINK_SECONDS, name, media_type) if size else None
    if away is not None:
        return RedirectResponse(away, 307, {"Cache-Control": "no-store", **(headers or {})})
    part = _part(request, size, etag)
    start, length = part or (0, size)
    fields |= {"Content-Length": str(length), "Content-Type": media_type}
    if part is not None:
        fields["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    chunks = await run_in_threadpool(storage.open, where, start, length)
    return Chunks(chunks, 206 if part is not None else 200, fields)


class Chunks(StreamingResponse):
    """The bytes of a file, which is closed at once where the client goes away."""

    def __init__(self, chunks: Iterator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(streamed(chunks), status, headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self._chunks, Generator):
                self._chunks.close()


async def streamed(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each read in a thread, so that no thread is held while the client takes its time."""
    nothing = b""
    while chunk := await run_in_threadpool(next, chunks, nothing):
        yield chunk


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in header.split(",")]


def _part(request: Request, size: int, etag: str | None) -> tuple[int, int] | None:
    """(start, length) of a single range; None for the whole file, also where the range is not understood or the
    file has changed since (If-Range). Raises RangeNotSatisfiable."""
    header = request.headers.get("range", "").replace(" ", "")
    condition = request.headers.get("if-range")
    if not header or (condition is not None and condition.strip() != etag):
        return None
    found = _RANGE.match(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last n bytes
        length = min(int(found[2]), size)
        if length == 0:
            raise RangeNotSatisfiable(size)
        return size - length, length
    start = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, last - start + 1
