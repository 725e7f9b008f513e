"""Collect: the outputs of a job that succeeded on its platform are moved to storage, file by file."""

from __future__ import annotations

import time
from mimetypes import guess_type

from broker.errors import PlatformUnavailable, StorageError, StorageFull
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase
from broker.platform import Platform
from broker.storage import Storage
from broker.store import claims, files
from broker.store.database import Database
from broker.store.files import KeptFile

SLICE_SECONDS = 20.0  # a task moves files for about this long, then gives way; one large file may take longer
RENEW_BYTES = 64 * 2**20
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


def go_on(database: Database, platform: Platform, storage: Storage, job: Job) -> Job:
    """Move files of a job that the caller holds, for a slice; the job as saved: ended, or due again."""
    try:
        change = lifecycle.dismissed() if job.dismiss_requested else _move(database, platform, storage, job)
    except PlatformUnavailable as error:
        change = lifecycle.unavailable(job, error)
    except StorageFull as error:
        change = _waiting(job, f"Outputs wait for space in storage: {error.detail}")
    except StorageError as error:
        change = _waiting(job, f"Outputs wait for storage: {error.detail}")
    with database.write() as tx:
        return claims.save(tx, job, change)


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
            left = files.not_kept(tx, job.id, 50)
        if not left:
            return lifecycle.collected()
        for file in left:
            _keep(database, platform, storage, job, file)
            if time.monotonic() > end:
                return Change("", due_in=0.0)


def _keep(database: Database, platform: Platform, storage: Storage, job: Job, file: KeptFile) -> None:
    renewed = 0

    def moved(total: int) -> None:
        nonlocal renewed
        if total - renewed >= RENEW_BYTES:  # a large file outlives a lease
            renewed = total
            with database.write() as tx:
                claims.renew(tx, job)

    kind = media_type(file.path, file.media_type)
    with platform.open(job.attempt_of(), file.ref) as source:
        there = storage.keep(key(job, job.attempt, file.path), source, media_type=kind, progress=moved)
    with database.write() as tx:
        files.kept(tx, job.id, file.path, size=there.size, sha256=there.sha256, media_type=kind)
        claims.renew(tx, job)


def _waiting(job: Job, message: str) -> Change:
    event = "" if message == job.message else "storage-unavailable"
    return Change(event, message=message, due_in=lifecycle.backoff(2))
