"""The pages of a job's results and of its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from broker.api.outputs import Outputs, located
from broker.api.resultviews import MOST_FILES, View, link, view
from broker.api.site import Site, site_of
from broker.errors import NoSuchFile
from broker.execution.collect import key
from broker.jobs.model import Job
from broker.storage import Storage
from broker.store.files import KeptFile
from broker.web import page


async def view_of(site: Site, job: Job, kept: Sequence[KeptFile], base: str) -> View:
    """What there is to show of the results; catalogs are read from storage."""
    return await site.rows.slow(_view, site.broker.storage, job, kept, base)


def _view(storage: Storage, job: Job, kept: Sequence[KeptFile], base: str) -> View:
    def content(file: KeptFile) -> bytes:
        return b"".join(storage.open(key(job, file.attempt, file.path)))

    return view(located(job, kept, base), content)


def drawing(site: Site) -> dict[str, Any]:
    """What a page with pictures and a map needs: the tiles, and the places that its policy opens."""
    settings = site.settings
    s3 = settings.storage.s3
    files = [_origin(s3.public_endpoint)] if s3 is not None and s3.public_endpoint else []
    tiles = [_origin(settings.map.tiles)] if settings.map.tiles else []
    return {"map": settings.map, "pictures": [*files, *tiles], "data": files}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def results(request: Request, job: Job, kept: Sequence[KeptFile]) -> Response:
    """The page of the results of a successful job."""
    site = site_of(request)
    shown = await view_of(site, job, kept, site.base(request))
    return page(
        request,
        "results.html",
        title=f"Results of {job.title or job.process_id}",
        job=job,
        view=shown,
        **drawing(site),
    )


def listing(request: Request, job: Job, kept: Sequence[KeptFile], prefix: str, after: str) -> Response:
    """The page of the files below a directory, so many at a time. Raises NoSuchFile where there are none."""
    site = site_of(request)
    below = f"{prefix}/" if prefix else ""
    found = [file for file in kept if file.path.startswith(below)]
    if prefix and not found:
        raise NoSuchFile(f"The job has no output file and no directory {prefix!r}.")
    rest = [file for file in found if file.path > after]
    outputs = Outputs({}, {}, f"{site.base(request)}/jobs/{job.id}")
    return page(
        request,
        "jobfiles.html",
        title=f"Files in {prefix}" if prefix else "Files",
        job=job,
        files=[link(outputs, file, below) for file in rest[:MOST_FILES]],
        count=len(found),
        total=sum(file.size or 0 for file in found),
        following=rest[MOST_FILES - 1].path if len(rest) > MOST_FILES else None,
    )
