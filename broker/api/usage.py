"""Usage: what jobs took and cost, in sums that add up with the jobs, as page, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access import period as periods
from broker.access.principal import Principal
from broker.access.quota import HOUR
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.budgets import budgets_of, projects_of
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import errors, mendable
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.errors import BrokerError, InputError, InputProblem, NoSuchProject
from broker.store import accounts, platforms
from broker.store.accounts import GROUPS, Span
from broker.web import HTML, page

router = guarded("Usage")
USAGE = ConformanceClass(router, (), (("/usage", "related", "What jobs took and cost"),))
OFFERS = {"json": JSON, "html": HTML, "csv": "text/csv"}
COSTS = ("credits", "own_credits")  # of the project; of people, in accounts of their own at the platform
SUMS = ("jobs", "successful", "hours", "cpu_hours", "measured_cpu_hours", "memory_gib_hours", "result_bytes", *COSTS)
DEFAULT_GROUPS = ("month", "project", "platform", "sponsorship")
Text = Annotated[str | None, Query(max_length=255)]


@router.get("/usage", name="usage")
async def usage(
    request: Request,
    caller: Caller,
    period: Annotated[str | None, Query(description="2026, 2026-11, 2026-11-05, or A/B; default: this month.")] = None,
    by: Annotated[str | None, Query(description=f"Comma-separated: {', '.join(GROUPS)}.")] = None,
    project: Text = None,
    platform: Text = None,
    sponsorship: Text = None,
    f: Representation = None,
) -> Response:
    """What your jobs, and those of your projects, took and cost; for operators everybody's. Sums of jobs that ended in
    the period."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    name = period or datetime.now(UTC).strftime("%Y-%m")
    given = {"period": name, "by": by or ",".join(DEFAULT_GROUPS), "project": project, "platform": platform}
    given |= {"sponsorship": sponsorship}
    try:
        begin, end = periods.span(name)
        groups = _groups(by)
        whole = Span(begin, end, None, None, platform or None, sponsorship or None)
        found = await site.rows.read_long(_report, caller, whole, groups, project or None)
    except BrokerError as refused:
        if chosen != "html":
            raise
        return await _page(request, caller, _document(name, (), []), given, refused, mendable(request, refused))
    if chosen == "csv":
        return _csv(found, groups, name)
    document = _document(name, groups, found)
    if chosen == "html":
        return await _page(request, caller, document, given)
    here = f"{site.base(request)}/usage?{_query(given)}"
    links = [
        link(here, "self", "This report"),
        link(f"{here}&f=csv", "alternate", "As a table for spreadsheets", "text/csv"),
        link(f"{here}&f=html", "alternate", "As a page", HTML),
    ]
    return Json(document | {"links": links})


def _query(given: Mapping[str, str | None]) -> str:
    return urlencode({name: value for name, value in given.items() if value})


def _document(name: str, groups: Sequence[str], found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"period": name, "by": list(groups), "usage": found, "total": _total(found)}


async def _page(
    request: Request,
    caller: Principal,
    document: Mapping[str, Any],
    given: Mapping[str, str | None],
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    known, there = await site_of(request).rows.read(_choices, caller)
    wrong = {"alternate": None} if refused else {}  # what is refused is no report
    context = {**document, **wrong}
    return page(
        request,
        "usage.html",
        status=status,
        title="Usage",
        **context,
        sums=SUMS,
        budgets=known,
        platforms=there,
        given={name: value or "" for name, value in given.items()},
        report=f"/usage?{_query(given)}",
        command=["broker", "usage", *(word for name, value in given.items() if value for word in (f"--{name}", value))],
        groups=GROUPS,
        errors=errors(refused),
    )


def _choices(tx: Connection, caller: Principal) -> tuple[list[dict[str, Any]], list[str]]:
    """(the budgets, the names of the platforms) for the page."""
    return budgets_of(tx, caller), [one.name for one in platforms.candidates(tx)]


def _groups(by: str | None) -> tuple[str, ...]:
    groups = tuple(dict.fromkeys(one for one in (by or "").split(",") if one)) or DEFAULT_GROUPS
    if unknown := [one for one in groups if one not in GROUPS]:
        raise InputError(InputProblem("/by", f"{unknown[0]!r} is none of {', '.join(GROUPS)}"))
    return groups


def _report(
    tx: Connection, caller: Principal, span: Span, groups: Sequence[str], project: str | None
) -> list[dict[str, Any]]:
    rows = accounts.report(tx, _seen(tx, caller, span, project), groups)
    return [{name: row[name] for name in groups} | {"currency": row["currency"]} | _sums(row) for row in rows]


def _seen(tx: Connection, caller: Principal, span: Span, project: str | None) -> Span:
    """The span, of what one may see of it. Raises NoSuchProject."""
    whose = {name: getattr(span, name) for name in ("begin", "end", "platform", "sponsorship")}
    if project is not None:
        if not caller.reach.everything and project not in projects_of(tx, caller):
            raise NoSuchProject(f"There is no project {project!r} of yours.")
        return Span(**whose, projects=(project,))
    if caller.reach.everything:
        return span
    return Span(**whose, owner=caller.owner, projects=tuple(projects_of(tx, caller)))


def _sums(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "jobs": int(row["jobs"]),
        "successful": int(row["successful"]),
        "hours": round(row["held_seconds"] / HOUR, 6),
        "cpu_hours": round(row["core_seconds"] / HOUR, 6),
        "measured_cpu_hours": round(row["cpu_seconds"] / HOUR, 6),
        "memory_gib_hours": round(row["mib_seconds"] / 1024 / HOUR, 6),
        "result_bytes": int(row["bytes"]),
        **{name: None if row[name] is None else round(row[name], 6) for name in COSTS},
    }


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of all rows; costs by currency, for euros and credits are not added."""
    found: dict[str, Any] = {name: round(sum(row[name] for row in rows), 6) for name in SUMS if name not in COSTS}
    return found | {name: _by_currency(rows, name) for name in COSTS}


def _by_currency(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    costs: dict[str, float] = {}
    for row in rows:
        if row[name] is not None:
            costs[row["currency"]] = costs.get(row["currency"], 0.0) + row[name]
    return {currency: round(value, 6) for currency, value in sorted(costs.items())}


def _csv(rows: Sequence[Mapping[str, Any]], groups: Sequence[str], name: str) -> Response:
    sink = io.StringIO()
    columns = [*groups, "currency", *SUMS]
    writer = csv.DictWriter(sink, columns)
    writer.writeheader()
    writer.writerows({column: _cell(row[column]) for column in columns} for row in rows)
    file = f'attachment; filename="usage-{name.replace("/", "-to-")}.csv"'
    return Response(sink.getvalue(), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": file})


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula is a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
