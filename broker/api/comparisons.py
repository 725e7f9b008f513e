"""Comparisons: the outputs of a job against those of another run, as a report and as a page with pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Reach, Scope
from broker.api import answers, bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, is_form
from broker.api.jobpages import to_part
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.egress import shown
from broker.errors import InputError, InputProblem
from broker.execution.comparisons import name_of
from broker.execution.comparisons import newest as newest_of
from broker.execution.comparisons import request as ask
from broker.execution.comparisons import withdraw as take_back
from broker.results.verdict import Tolerance
from broker.store import comparisons, jobs
from broker.store.comparisons import COMPARING, WAITING, Comparison
from broker.web import HTML, page

router = guarded("Comparison")
COMPARISON = ConformanceClass(router)
MOST_BYTES = 4 * 2**20
OFFERS = {"json": JSON, "html": HTML}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@router.get("/jobs/{job_id}/comparisons", name="jobComparisons")
async def of_job(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """What the outputs of a job were compared with, and what came of it; the newest first."""
    if representation(request, OFFERS) == "html":
        return to_part(request, job_id, "comparisons")
    site = site_of(request)
    here = _job(request, job_id)
    found = await site.rows.read(_of_job, job_id, caller.reach)
    links = [link(f"{here}/comparisons", "self", "This list"), link(here, "up", "The job")]
    return Json({"comparisons": [document(one, here) for one in found], "links": links})


@router.get("/jobs/{job_id}/comparison", name="jobComparison")
async def newest(
    request: Request,
    job_id: str,
    caller: Caller,
    with_: Annotated[str | None, Query(alias="with", description="The one with this job.")] = None,
    id: Annotated[str | None, Query(description="The one with this id.")] = None,
    f: Representation = None,
) -> Response:
    """The newest comparison of a job with its report: for each output identical, equivalent or different, and why."""
    site = site_of(request)
    found, report = await site.rows.read_long(_newest, job_id, caller.reach, with_, id)
    if representation(request, OFFERS) == "html":
        may_change = found.state in (WAITING, COMPARING) and await site.rows.read(_may_change, job_id, caller)
        context: dict[str, Any] = {"found": found, "with_": name_of(found.against), "report": report}
        return page(request, "comparison.html", title="Comparison", may_change=may_change, **context)
    return Json(document(found, _job(request, job_id)) | ({} if report is None else {"report": report}))


@router.post("/jobs/{job_id}/comparisons", name="compare")
async def compare(request: Request, job_id: str, caller: Caller) -> Response:
    """Compare the outputs of a job when it has ended. `with`: the id of another job, or {name, href, outputs: {path:
    {sha256, size, href}}} as a record tells of them. `tolerance`: {relative, absolute, coordinates, share}."""
    site = site_of(request)
    given = _of_form(await form(request)) if is_form(request) else (await bodies.parsed_object(request, MOST_BYTES))[0]
    against, tolerance = against_of(given.get("with")), tolerance_of(given.get("tolerance"))
    comparison_id = await site.rows.quick(ask, site.broker.database, caller, job_id, against, tolerance)
    here = _job(request, job_id)
    where = f"{here}/comparison?id={comparison_id}"
    if is_form(request):
        return done(f"{where}&f=html")
    found, _ = await site.rows.read(_newest, job_id, caller.reach, None, comparison_id)
    return Json(document(found, here), 201, {"Location": where})


@router.delete("/jobs/{job_id}/comparison", name="comparisonWithdraw")
async def withdraw(
    request: Request,
    job_id: str,
    caller: Caller,
    with_: Annotated[str | None, Query(alias="with", description="The one with this job.")] = None,
    id: Annotated[str | None, Query(description="The one with this id.")] = None,
) -> Response:
    """Take back a comparison that is not made yet: the newest one, or the one that is named."""
    site = site_of(request)
    found = await site.rows.quick(take_back, site.broker.database, caller, job_id, with_, id)
    return Json(document(found, _job(request, job_id)))


@router.post("/jobs/{job_id}/comparison", name="comparisonForm", include_in_schema=False)
async def act(request: Request, job_id: str, caller: Caller) -> Response:
    """The button of the page that takes one back."""
    fields = await form(request)
    if fields.get("do") != "withdraw":
        raise InputError(InputProblem("/do", "is not withdraw"))
    site = site_of(request)
    found = await site.rows.quick(take_back, site.broker.database, caller, job_id, None, fields.get("id"))
    return done(f"{_job(request, job_id)}/comparison?id={found.id}&f=html")


def _job(request: Request, job_id: str) -> str:
    return f"{site_of(request).base(request)}/jobs/{job_id}"


def _of_job(tx: Connection, job_id: str, reach: Reach) -> list[Comparison]:
    jobs.get_light(tx, job_id, reach)
    return comparisons.of_job(tx, job_id, reach)


def _newest(
    tx: Connection, job_id: str, reach: Reach, with_job: str | None, comparison_id: str | None
) -> tuple[Comparison, dict[str, Any] | None]:
    jobs.get_light(tx, job_id, reach)
    found = newest_of(tx, reach, job_id, with_job, comparison_id)
    return found, comparisons.report(tx, found.id)


def _may_change(tx: Connection, job_id: str, caller: Principal) -> bool:
    return Scope.RUN in caller.scopes and jobs.may_change(tx, job_id, caller.reach)


def document(one: Comparison, here: str) -> dict[str, Any]:
    """A comparison without its report. `here`: the address of its job."""
    full = {
        "id": one.id,
        "job": one.job_id,
        "with": _told(one.against),
        "tolerance": one.tolerance,
        "state": one.state,
        "verdict": one.verdict,
        "message": one.message,
        "created": answers.time(one.created),
        "updated": answers.time(one.updated),
        "links": [
            link(f"{here}/comparison?id={one.id}", "self", "This comparison"),
            link(f"{here}/comparison?id={one.id}&f=html", "alternate", "The report as a page", HTML),
            link(here, "up", "The job"),
        ],
    }
    return {name: value for name, value in full.items() if value is not None}


def _told(against: Mapping[str, Any]) -> dict[str, Any]:
    """What it is compared with, without its outputs and without what may be secret in its address."""
    told = {name: value for name, value in against.items() if name != "outputs" and value is not None}
    return told | ({"href": shown(told["href"])} if "href" in told else {})


def tolerance_of(given: Any) -> Tolerance:
    """Of a request; what it leaves out is as always. Raises InputError."""
    if given is None:
        return Tolerance()
    known = Tolerance().to_json()
    if not isinstance(given, Mapping) or not given.keys() <= known.keys():
        raise InputError(InputProblem("/tolerance", f"is no object with the members {', '.join(known)}"))
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(InputProblem(f"/tolerance/{name}", "is no number"))
    try:
        return Tolerance(**given)
    except ValueError as error:
        raise InputError(InputProblem("/tolerance", str(error))) from None


def against_of(given: Any) -> dict[str, Any]:
    """What a request wants a job to be compared with, as `store.comparisons.ask` takes it. Raises InputError."""
    if isinstance(given, str) and given:
        return {"kind": "job", "id": given}
    outputs = given.get("outputs") if isinstance(given, Mapping) else None
    if not isinstance(outputs, Mapping):
        raise InputError(InputProblem("/with", "is neither the id of a job, nor an object with outputs"))
    for path, told in outputs.items():
        if not _is_output(told):
            wanted = "is no {sha256: 64 hexadecimal digits or null, size: bytes or null, href: an address or null}"
            raise InputError(InputProblem(f"/with/outputs/{path[:80]}", wanted))
    name, href = given.get("name", "a record"), given.get("href")
    if not isinstance(name, str) or not isinstance(href, str | None):
        raise InputError(InputProblem("/with", "has a name or an address that is no text"))
    return {"kind": "experiment", "name": name[:200], "href": href, "outputs": dict(outputs)}


def _is_output(told: Any) -> bool:
    if not isinstance(told, Mapping):
        return False
    sha256, size, href = (told.get(name) for name in ("sha256", "size", "href"))
    return (
        (sha256 is None or (isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None))
        and (size is None or (isinstance(size, int) and size >= 0))
        and (href is None or isinstance(href, str))
    )


def _of_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """The members of a request, of the fields of the page: with, and what is not empty of the tolerance."""
    tolerance = {}
    for name in Tolerance().to_json():
        if text := fields.get(name, "").strip():
            try:
                tolerance[name] = float(text)
            except ValueError:
                raise InputError(InputProblem(f"/{name}", "is no number")) from None
    return {"with": fields.get("with", "").strip(), "tolerance": tolerance}
