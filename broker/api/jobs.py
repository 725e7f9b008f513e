"""Jobs: the list of one's own, the status of one, and its dismissal."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal
from broker.api import jobpages
from broker.api.answers import JSON, OGC, Json, page_links, representation
from broker.api.authentication import Caller, authenticated
from broker.api.classes import PART1, ConformanceClass, guarded
from broker.api.listed import OfProject, Owner, Public, listed
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.site import site_of
from broker.api.status import status_info
from broker.errors import InputProblem, InvalidParameter
from broker.execution import dismiss as dismissing
from broker.store import children, jobs
from broker.store.jobs import Filter
from broker.web import HTML

router = guarded("Jobs")
JOBS = ConformanceClass(router, (PART1 + "job-list", PART1 + "dismiss"), (("/jobs", OGC + "job-list", "Your jobs"),))
MOST_CHILDREN = 200  # in a status
OFFERS = {"json": JSON, "html": HTML}
Names = Annotated[list[str] | None, Query()]
OF_STATUS = Field(json_schema_extra={"enum": list(jobpages.STATUSES)})  # said, not checked: commas join several
Seconds = Annotated[float | None, Query(ge=0, description="Seconds between start and end (or now).")]
When = Annotated[str | None, Query(max_length=100, description="When created: an instant, or start/end, `..` is open.")]
# a form sends what was left empty too
Span = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(lambda value: None if value == "" else value)]
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?)?\Z", re.IGNORECASE)


@router.get("/jobs", name="jobs")
async def page(
    request: Request,
    caller: Caller,
    type: Annotated[list[Annotated[str, Field(json_schema_extra={"enum": ["process"]})]] | None, Query()] = None,
    process_id: Annotated[list[str] | None, Query(alias="processID")] = None,
    status: Annotated[list[Annotated[str, OF_STATUS]] | None, Query()] = None,
    datetime: When = None,
    min_duration: Annotated[Span, Query(alias="minDuration")] = None,
    max_duration: Annotated[Span, Query(alias="maxDuration")] = None,
    tag: Names = None,
    project: OfProject = None,
    public: Public = False,
    owner: Owner = None,
    limit: Limit = None,
    cursor: Cursor = None,
    f: Representation = None,
) -> Response:
    """One's own jobs, newest first (an operator's: everybody's); those shared with a project; public ones."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    _known("?type", _split(type), ("process",))
    after, before = interval(datetime)
    whose = await listed(site, caller, project, public, owner)
    wanted = Filter(
        **whose,
        process_ids=_split(process_id),
        statuses=_known("?status", _split(status), jobpages.STATUSES),
        created_after=after,
        created_before=before,
        min_duration=_finite("?minDuration", min_duration),
        max_duration=_finite("?maxDuration", max_duration),
        tags=_split(tag),
    )
    count = size(limit, site.settings.api.page if chosen == "json" else jobpages.PAGE)
    found = await site.rows.read(jobs.page, wanted, limit=count + 1, before=cursor)
    shown = found[:count]
    base = site.base(request)
    following = {"cursor": shown[-1].id, "limit": str(count)} if len(found) > count else None
    links = page_links(base, "/jobs", request, following, "This list")
    if chosen == "html":
        return await jobpages.listing(request, caller, shown, links)
    return Json({"jobs": [status_info(job, base) for job in shown], "links": links})


def _split(values: list[str] | None) -> tuple[str, ...]:
    """Repeated and comma-separated parameters alike (style form, with and without explode)."""
    return tuple(one for value in values or () for one in value.split(",") if one)


def _known(pointer: str, values: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in known:
            raise InvalidParameter(InputProblem(pointer, f"{value[:50]!r} is none of {', '.join(known)}"))
    return values


def _finite(pointer: str, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise InvalidParameter(InputProblem(pointer, "is not a number of seconds"))
    return value


def interval(text: str | None) -> tuple[float | None, float | None]:
    """The bounds of an OGC `datetime` parameter in epoch seconds; an instant is its second or day.

    Raises InvalidParameter.
    """
    if text is None:
        return None, None
    parts = text.split("/")
    if len(parts) > 2:
        raise InvalidParameter(InputProblem("?datetime", "has more than two parts; write start/end"))
    first, last = _bounds(parts[0]), _bounds(parts[-1])
    return first[0], last[1]


def _bounds(text: str) -> tuple[float | None, float | None]:
    """(first moment, last moment) of an instant."""
    if text in ("", ".."):
        return None, None
    # a `+` of an offset arrives as a blank where the client did not encode it
    found = _TIME.match(re.sub(r" (\d\d:\d\d)\Z", r"+\1", text))
    if found is None:
        raise InvalidParameter(InputProblem("?datetime", f"{text[:40]!r} is not a time such as 2026-01-31T12:00:00Z"))
    day, clock, fraction, offset = found.groups()
    zone = "+00:00" if offset in (None, "Z", "z") else offset
    try:
        start = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{zone}").astimezone(UTC)
        span = timedelta(days=1) if clock is None else timedelta(seconds=1)
        if fraction:
            moment = start.timestamp() + float(fraction)
            return moment, moment + max(10.0 ** -(len(fraction) - 1) - 1e-6, 0.0)  # as exact as it is written
        return start.timestamp(), (start + span).timestamp() - 1e-6
    except (ValueError, OverflowError):
        raise InvalidParameter(InputProblem("?datetime", f"{text[:40]!r} is not a time that exists")) from None


@router.get("/jobs/{job_id}", name="job")
async def one(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """The status of a job."""
    return await _status(request, job_id, caller)


async def status(request: Request) -> Response:
    """The same, without FastAPI's resolving of parameters: this is what clients ask for again and again."""
    return await _status(request, request.path_params["job_id"], await authenticated(request))


async def _status(request: Request, job_id: str, caller: Principal) -> Response:
    if representation(request, OFFERS) == "html":
        return await jobpages.shown(request, caller, job_id)
    site = site_of(request)
    job = await site.rows.read(jobs.get_light, job_id, caller.reach)
    sent = await site.rows.read(children.shown, job_id, MOST_CHILDREN) if job.children else ()
    position, trouble = await site.line.position(job), await site.trouble.of(job, sent)
    return Json(status_info(job, site.base(request), position=position, children=sent, trouble=trouble))


@router.delete("/jobs/{job_id}", name="dismiss")
async def dismiss(request: Request, job_id: str, caller: Caller) -> Response:
    """Dismiss a job: it will not go on. Its record stays."""
    site = site_of(request)
    job = await site.rows.quick(dismissing.request, site.broker.database, caller, job_id)
    site.relay.wake()
    shown: dict[str, Any] = status_info(job, site.base(request))
    return Json(shown)


@router.post("/jobs/{job_id}", name="jobForm", include_in_schema=False)
async def act(request: Request, job_id: str, caller: Caller) -> Response:
    """The forms of the job's page: dismiss, run again, delete the results."""
    return await jobpages.act(request, caller, job_id)
