"""Collect: the outputs of a job that succeeded on its platform are moved to storage, file by file.

Of a job that ended elsewhere it is asked first what it left: its log, its steps, its outputs, or why it failed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from mimetypes import guess_type
from typing import Any

from sqlalchemy import Connection

from broker.errors import NoSuchFile, PlatformError, PlatformRefused, PlatformUnavailable, StorageError, StorageFull
from broker.execution.hold import alone, held
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase, Step
from broker.jobs.observation import State
from broker.platform import Collected, LogChunk, Near, Platform
from broker.storage import Storage
from broker.store import children, claims, files, provenance
from broker.store.database import Database
from broker.store.files import KeptFile

SLICE_SECONDS = 20.0  # a task moves files for about this long, then gives way; one large file may take longer
LOG_PAGES = 8  # of one look; the rest comes with the next
BATCH, BATCH_SECONDS = 100, 3.0  # files told to the database at once
MEDIA_TYPES = {  # by suffix, what `mimetypes` does not know or calls otherwise
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".nc": "application/netcdf",
    ".zarr": "application/vnd+zarr",
    ".parquet": "application/vnd.apache.parquet",
    ".cwl": "application/cwl",
    ".log": "text/plain",
}


def collect(database: Database, platform: Platform, storage: Storage, holder: str) -> Job | None:
    """Go on with one job that is due; the job as saved, None where there is none."""
    with database.write() as tx:
        taken = claims.claim_due(tx, platform.name, [Phase.COLLECTING], holder, 1)
    return go_on(database, platform, storage, taken[0]) if taken else None


def go_on(database: Database, platform: Platform, storage: Storage, job: Job) -> Job | None:
    """Move files of a job that the caller holds, for a slice; the job as saved (ended, or due again).

    None where somebody else has the job now.
    """
    with held(database, [job]):
        return alone(database, job, lambda: _slice(database, platform, storage, job))


def begin(tx: Connection, job: Job, change: Change, found: Collected, *, hold: bool = False, **columns: Any) -> Job:
    """One row per output file before any byte moves: the rows say from now on what there is to move.

    The job as saved: `collecting`, or at its end where there is no file. `hold`: go on with it.
    """
    files.announce(tx, job.id, job.attempt, found.files)
    change = replace(change, outputs=found.outputs, data={"files": len(found.files), **change.data})
    job = claims.save(tx, job, change, hold=hold, **columns)
    return job if found.files else claims.save(tx, job, lifecycle.collected(job))


def _kept(database: Database, job: Job) -> Change:
    """All files are in storage: it has succeeded, or other platforms are to have them."""
    if job.needs.elsewhere:
        with database.read() as tx:
            if children.any_of_attempt(tx, job):
                return lifecycle.waiting()
    return lifecycle.collected(job)


def _slice(database: Database, platform: Platform, storage: Storage, job: Job) -> Job:
    columns: dict[str, Any] = {}
    try:
        if _to_ask(database, platform, job):
            job = _asked(database, platform, job)
            if job.phase is not Phase.COLLECTING:
                return job
        change = lifecycle.dismissed() if job.dismiss_requested else _move(database, platform, storage, job)
    except PlatformUnavailable as error:
        change = lifecycle.unavailable(job, error)
    except PlatformRefused as error:
        change = lifecycle.refused(job, error)
    except OSError as error:  # of the platform's stream: what storage has to say are StorageErrors
        change = lifecycle.unavailable(job, PlatformUnavailable(f"an output cannot be read: {error}"))
    except NoSuchFile:  # what was to be reused
        change, columns = lifecycle.not_reused(), {"reused": None}
    except StorageFull as error:
        change = _waiting(job, f"Outputs wait for space in storage: {error.detail}")
    except StorageError as error:
        change = _waiting(job, f"Outputs wait for storage: {error.detail}")
    with database.write() as tx:
        return claims.save(tx, job, change, **columns)


def _to_ask(database: Database, platform: Platform, job: Job) -> bool:
    """Whether of a job all that is known is that it has ended."""
    if job.outputs is not None or job.reused is not None or job.dismiss_requested or isinstance(platform, Near):
        return False
    with database.read() as tx:
        return not (job.needs.elsewhere and children.any_of_attempt(tx, job))


def _asked(database: Database, platform: Platform, job: Job) -> Job:
    """Ask what an attempt left that has ended elsewhere; the job as saved, held where there is something to move.
    Raises PlatformUnavailable, PlatformRefused."""
    attempt = job.attempt_of()
    change, facts, found = Change("", due_in=0.0), {}, None
    if job.failure is not None:
        seen = next(iter(platform.observe([attempt])), None)
        told = seen is not None and seen.state is State.FAILED and seen.failure is not None
        change = lifecycle.observed(job, seen) if seen is not None and told else lifecycle.failed(job.failure)
        facts = dict(seen.facts) if seen is not None else {}
    chunks, cursor = new_logs(platform, job, to_the_end=True)
    if job.failure is None:
        found = platform.collect(attempt)
        facts = dict(found.facts)
    steps: Sequence[Step] = found.steps if found is not None else ()
    if not steps:
        with contextlib.suppress(PlatformError):  # nice to have
            steps = platform.steps(attempt)
    with database.write() as tx:
        files.add_logs(tx, job.id, job.attempt, chunks)
        provenance.note(tx, job.id, {**provenance.noted(tx, job.id), **facts})
        if steps:
            files.put_steps(tx, job.id, job.attempt, steps)
        if found is not None:
            change = replace(change, event="collecting", message="Collecting outputs.")
            return begin(tx, job, change, found, hold=True, log_cursor=cursor)
        return claims.save(tx, job, change, log_cursor=cursor)


def new_logs(platform: Platform, job: Job, *, to_the_end: bool) -> tuple[list[LogChunk], str | None]:
    """Log text since the last look. A platform that cannot give it now does not hold up the job."""
    chunks: list[LogChunk] = []
    cursor = job.log_cursor
    try:
        for _ in range(LOG_PAGES * (4 if to_the_end else 1)):
            page = platform.logs(job.attempt_of(), cursor)
            chunks += page.chunks
            cursor = page.cursor
            if not page.more:
                break
    except PlatformError:
        pass
    return chunks, cursor


def key(job: Job, attempt: int, path: str) -> str:
    """Where a file is in storage: relative links inside a STAC catalog keep working below it."""
    return f"{job.owner}/{job.id}/{attempt}/{path}"


def media_type(path: str, said: str | None = None) -> str:
    """What the package said, else by the file's suffix, else application/octet-stream."""
    if said:
        return said
    for suffix, known in MEDIA_TYPES.items():
        if path.lower().endswith(suffix):
            return known
    return guess_type(path)[0] or "application/octet-stream"


def _move(database: Database, platform: Platform, storage: Storage, job: Job) -> Change:
    """Move files until none is left, or the slice is over."""
    end = time.monotonic() + SLICE_SECONDS
    while True:
        with database.read() as tx:
            left = files.not_kept(tx, job.id, BATCH)
        if not left:
            return _kept(database, job)
        _keep_some(database, platform, storage, job, left)
        if time.monotonic() > end:
            return Change("", due_in=0.0)


def _keep_some(database: Database, platform: Platform, storage: Storage, job: Job, batch: Sequence[KeptFile]) -> None:
    """Move some files, and say so in one transaction, also when one of them could not be moved."""
    moved: list[KeptFile] = []
    end = time.monotonic() + BATCH_SECONDS
    try:
        for file in batch:
            moved.append(_keep(platform, storage, job, file))
            if time.monotonic() > end:
                break
    finally:
        with database.write() as tx:
            claims.confirm(tx, job)
            files.kept(tx, job.id, moved)


def _keep(platform: Platform, storage: Storage, job: Job, file: KeptFile) -> KeptFile:
    """Move one file; a file on this machine whose hash is known is adopted, not copied. Of a reused job there is a copy
    of each: either may be deleted before the other."""
    attempt, kind = job.attempt_of(), media_type(file.path, file.media_type)
    where = key(job, job.attempt, file.path)
    if job.reused is not None:
        storage.copy(file.ref, where)
        return replace(file, kept=True)
    if isinstance(platform, Near) and file.sha256 is not None:
        platform.open(attempt, file.ref).close()  # it says in its own words that a file is gone
        path = platform.path(attempt, file.ref)
        there = storage.adopt(where, path, sha256=file.sha256, size=file.size, media_type=kind)
    else:
        with platform.open(attempt, file.ref) as source:
            there = storage.keep(where, source, media_type=kind)
    return replace(file, kept=True, size=there.size, sha256=there.sha256, media_type=kind)


def _waiting(job: Job, message: str) -> Change:
    event = "" if message == job.message else "storage-unavailable"
    return Change(event, message=message, due_in=lifecycle.backoff(2))
