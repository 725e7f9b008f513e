"""Usage: what jobs took and cost, in sums that add up with the jobs, as page, JSON and CSV; and budgets."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access import period as periods
from broker.access.principal import Principal, Scope
from broker.access.quota import HOUR, month_begins
from broker.api import bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.errors import InputError, InputProblem, NoSuchProject
from broker.execution import budgeting
from broker.store import accounts, budgets, projects
from broker.store.accounts import GROUPS, Span
from broker.store.budgets import Budget
from broker.web import HTML, page

router = guarded("Usage")
USAGE = ConformanceClass(router, (), (("/usage", "related", "What jobs took and cost"),))
OFFERS = {"json": JSON, "html": HTML, "csv": "text/csv"}
SUMS = ("jobs", "successful", "hours", "cpu_hours", "measured_cpu_hours", "memory_gib_hours", "result_bytes", "credits")
MOST_PROJECTS = 100
LONGEST = 4096
DEFAULT_GROUPS = ("month", "project", "platform", "sponsorship")
Text = Annotated[str | None, Query(max_length=255)]
Of = Annotated[str, Path(max_length=255, description="The project's id.")]
On = Annotated[str, Path(max_length=255, description="The platform's name.")]


class Wanted(BaseModel):
    """`credits` of a calendar month, in the platform's currency; None: unlimited. `sponsorship`: the id of who pays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    credits: float | None = Field(None, ge=0, allow_inf_nan=False)
    sponsorship: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")


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
    begin, end = periods.span(name)
    groups = _groups(by)
    found = await site.rows.read_long(
        _report, caller, Span(begin, end, None, None, platform or None, sponsorship or None), groups, project or None
    )
    if chosen == "csv":
        return _csv(found, groups, name)
    document: dict[str, Any] = {"period": name, "by": list(groups), "usage": found, "total": _total(found)}
    if chosen == "html":
        known = await site.rows.read(_budgets, caller)
        given = {"period": name, "by": ",".join(groups), "project": project, "platform": platform}
        return page(
            request, "usage.html", title="Usage", **document, sums=SUMS, budgets=known, given=given, groups=GROUPS
        )
    return Json(document | {"links": [link(f"{site.base(request)}/usage", "self", "This report")]})


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
        if not caller.reach.everything and project not in _mine(tx, caller):
            raise NoSuchProject(f"There is no project {project!r} of yours.")
        return Span(**whose, projects=(project,))
    if caller.reach.everything:
        return span
    return Span(**whose, owner=caller.owner, projects=tuple(_mine(tx, caller)))


def _mine(tx: Connection, caller: Principal) -> list[str]:
    return [one.id for one in projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)]


def _sums(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "jobs": int(row["jobs"]),
        "successful": int(row["successful"]),
        "hours": round(row["held_seconds"] / HOUR, 6),
        "cpu_hours": round(row["core_seconds"] / HOUR, 6),
        "measured_cpu_hours": round(row["cpu_seconds"] / HOUR, 6),
        "memory_gib_hours": round(row["mib_seconds"] / 1024 / HOUR, 6),
        "result_bytes": int(row["bytes"]),
        "credits": None if row["credits"] is None else round(row["credits"], 6),
    }


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of all rows; credits by currency, for euros and credits are not added."""
    found: dict[str, Any] = {name: sum(row[name] for row in rows) for name in SUMS if name != "credits"}
    costs: dict[str, float] = {}
    for row in rows:
        if row["credits"] is not None:
            costs[row["currency"]] = costs.get(row["currency"], 0.0) + row["credits"]
    return {name: round(value, 6) for name, value in found.items()} | {
        "credits": {name: round(value, 6) for name, value in sorted(costs.items())}
    }


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


@router.get("/budgets", name="budgets")
async def of_all(request: Request, caller: Caller) -> Response:
    """The budgets of your projects; for operators all of them."""
    site = site_of(request)
    return Json(
        {"budgets": await site.rows.read(_budgets, caller), "links": [link(f"{site.base(request)}/budgets", "self")]}
    )


def _budgets(tx: Connection, caller: Principal) -> list[dict[str, Any]]:
    whose = None if caller.reach.everything else [caller.project, *_mine(tx, caller)]
    return [one.to_json() for one in budgets.of(tx, whose, month_begins(time.time()))]


@router.put("/budgets/{project}/{platform}", name="budgetSet")
async def put(request: Request, project: Of, platform: On, caller: Caller) -> Response:
    """For operators: what a project may spend on a platform in a month, and whose sponsorship pays for it."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    wanted = bodies.modelled(Wanted, (await bodies.parsed_object(request, LONGEST))[0])
    budget = Budget(project, platform, wanted.credits, wanted.sponsorship)
    await site.rows.quick(budgeting.put, site.broker.database, caller, budget)
    found = await site.rows.read(budgets.of, [project], month_begins(time.time()))
    return Json(next(one for one in found if one.platform == platform).to_json())


@router.delete("/budgets/{project}/{platform}", name="budgetUnset")
async def remove(request: Request, project: Of, platform: On, caller: Caller) -> Response:
    """For operators: the project may spend there what it likes, and nobody is named who pays."""
    caller.need(Scope.ADMIN)
    await site_of(request).rows.quick(budgeting.remove, site_of(request).broker.database, caller, project, platform)
    return Response(status_code=204)
