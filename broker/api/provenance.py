"""The provenance of a job: its record in the notations of PROV and as a run crate, and its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Reach
from broker.api.answers import JSON, Json, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.jobpages import to_part
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import NoSuchFile, ResultNotReady
from broker.results import crate
from broker.results.cratezip import packed
from broker.results.notations import written
from broker.store import jobs, processes, provenance
from broker.web import HTML
from broker.web.graph import picture

router = guarded("Provenance")
PROVENANCE = ConformanceClass(router)
PROFILE = "https://w3id.org/ro/crate"
OFFERS = {
    "json": JSON,
    "provn": "text/provenance-notation",
    "xml": "application/provenance+xml",
    "jsonld": "application/ld+json",
    "ttl": "text/turtle",
    "nt": "application/n-triples",
    "crate": f'application/ld+json; profile="{PROFILE}"',
    "record": "application/vnd.earthcode-broker.provenance+json",
    "svg": "image/svg+xml",
    "application/xml": "application/xml",
    "html": HTML,
}
ZIP = "application/zip"


@router.get("/jobs/{job_id}/prov", name="provenance")
async def prov(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """The provenance of a job that has ended, by Accept or `f`: json (PROV-JSON), provn, xml, jsonld, ttl, nt; crate
    (ro-crate-metadata.json of the run crate), record (the broker's own) and svg (a picture)."""
    site = site_of(request)
    wanted = representation(request, OFFERS)
    if wanted == "jsonld" and "f" not in request.query_params and PROFILE in request.headers.get("accept", ""):
        wanted = "crate"
    if wanted == "html":
        return to_part(request, job_id, "provenance")
    kind = OFFERS[wanted]
    headers = {"Vary": "Accept"}
    if wanted == "crate":
        made = await _crate(request, site, job_id, caller.reach)
        return Json(made[0], headers=headers, media_type=kind)
    record = await site.rows.read(_record, job_id, caller.reach)
    if wanted == "record":
        return Json(record, headers=headers, media_type=kind)
    if wanted == "svg":
        return Response(await site.rows.slow(picture, record), headers=headers, media_type=kind)
    notation = {"application/xml": "xml"}.get(wanted, wanted)
    body = await site.rows.slow(written, record, notation)
    return Response(body, headers=headers | {"Content-Type": kind})


@router.get("/jobs/{job_id}/crate", name="crate")
async def crate_zip(request: Request, job_id: str, caller: Caller) -> Response:
    """The run crate of a job as a zip: metadata, the package as it was run, the record of provenance. No data."""
    site = site_of(request)
    metadata, record, bundle = await _crate(request, site, job_id, caller.reach)
    body = await site.rows.slow(packed, metadata, record, bundle)
    name = f"run-{record['job']['id']}.crate.zip"
    return Response(body, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=ZIP)


def _record(tx: Connection, job_id: str, reach: Reach | None) -> dict[str, Any]:
    job = jobs.get_light(tx, job_id, reach)
    found = provenance.get(tx, job_id, reach)
    if found is None and not job.terminal:
        raise ResultNotReady(f"The job is {job.phase.value}; its provenance is told when it has ended.")
    if found is None:
        raise NoSuchFile(f"The job {job_id} ended before this broker kept records of provenance.")
    return found


async def _crate(
    request: Request, site: Site, job_id: str, reach: Reach | None
) -> tuple[dict[str, Any], dict[str, Any], Mapping[str, Any]]:
    """Metadata, record, bundle."""
    record, bundle, inspection = await site.rows.read_long(_with_package, job_id, reach)
    here = f"{site.base(request)}/jobs/{job_id}"
    return await site.rows.slow(crate.metadata, record, bundle, inspection, here), record, bundle


def _with_package(
    tx: Connection, job_id: str, reach: Reach | None
) -> tuple[dict[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    record = _record(tx, job_id, reach)
    if "digest" not in record["package"]:
        raise NoSuchFile(f"The record of the job {job_id} is incomplete: it does not name its package.")
    return record, *processes.package(tx, record["package"]["digest"])
