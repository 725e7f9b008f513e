"""Budgets: what projects may spend on platforms in a month, who pays, and what is used of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.access.quota import month_begins
from broker.api import bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, errors, form, mendable, number
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import budgeting
from broker.store import budgets, platforms, projects
from broker.store.budgets import Budget
from broker.web import HTML, page

router = guarded("Budgets")
BUDGETS = ConformanceClass(router)
OFFERS = {"json": JSON, "html": HTML}
MOST_PROJECTS = 100
LONGEST = 4096
LABELS = {
    "project": "Project",
    "platform": "Platform",
    "credits": "Budget of a month",
    "currency": "Currency",
    "sponsorship": "Sponsorship",
}
Of = Annotated[str, Path(max_length=255, description="The project's id.")]
On = Annotated[str, Path(max_length=255, description="The platform's name.")]


class Wanted(BaseModel):
    """`credits` of a calendar month (None: unlimited), in `currency` (None: whichever the platform's costs are in, each
    for itself). `sponsorship`: the id of who pays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    credits: float | None = Field(None, ge=0, allow_inf_nan=False)
    currency: str | None = Field(None, min_length=1, max_length=20, pattern=r"^[A-Za-z][A-Za-z-]*$")
    sponsorship: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")


@router.get("/budgets", name="budgets")
async def of_all(request: Request, caller: Caller, f: Representation = None) -> Response:
    """The budgets of your projects; for operators all of them."""
    if representation(request, OFFERS) == "html":
        return await _page(request, caller)
    site = site_of(request)
    return Json(
        {"budgets": await site.rows.read(budgets_of, caller), "links": [link(f"{site.base(request)}/budgets", "self")]}
    )


def budgets_of(tx: Connection, caller: Principal) -> list[dict[str, Any]]:
    """What the caller may see of them, with what is used this month."""
    whose = None if caller.reach.everything else [caller.project, *projects_of(tx, caller)]
    return [one.to_json() for one in budgets.of(tx, whose, month_begins(time.time()))]


def projects_of(tx: Connection, caller: Principal) -> list[str]:
    """The ids of the caller's projects."""
    return [one.id for one in projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)]


async def _page(
    request: Request,
    caller: Principal,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    found, there, known = await site_of(request).rows.read(_shown, caller)
    asked = {name: request.query_params.get(name, "")[:255] for name in ("project", "platform")}
    return page(
        request,
        "budgets.html",
        status=status,
        title="Budgets",
        budgets=found,
        platforms=there,
        projects=known,
        may_set=Scope.ADMIN in caller.scopes,
        typed=asked if typed is None else typed,
        labels=LABELS,
        errors=errors(refused),
    )


def _shown(tx: Connection, caller: Principal) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """(the budgets, the names of the platforms, the ids of projects to choose from)."""
    whose = None if Scope.ADMIN in caller.scopes else caller.owner
    known = [one.id for one in projects.page(tx, whose, caller.owner, limit=MOST_PROJECTS)]
    return budgets_of(tx, caller), [one.name for one in platforms.candidates(tx)], [*known, caller.project]


@router.post("/budgets", name="budgetForm", include_in_schema=False)
async def by_form(request: Request, caller: Caller) -> Response:
    """The forms of the page: `do` is set or unset."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    fields = await form(request)
    project, platform = fields.get("project", "").strip(), fields.get("platform", "")
    try:
        match fields.get("do"):
            case "set":
                await _put(site, caller, _named(project), platform, _body(fields))
            case "unset":
                await site.rows.quick(budgeting.remove, site.broker.database, caller, project, platform)
            case _:
                raise InputError(InputProblem("/do", "is nothing that this page can do"))
    except BrokerError as refused:
        return await _page(request, caller, fields, refused, mendable(request, refused))
    return done(f"{site.base(request)}/budgets?f=html")


def _named(project: str) -> str:
    if not 0 < len(project) <= 255 or not project.isprintable():
        raise InputError(InputProblem("/project", "the id of a project, or of a person for their own"))
    return project


def _body(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a program would send in the place of the form; what was left empty is left out."""
    found: dict[str, Any] = {}
    if credits := fields.get("credits", "").strip():
        found["credits"] = number(credits)
    for name in ("currency", "sponsorship"):
        if text := fields.get(name, "").strip():
            found[name] = text
    return found


@router.put("/budgets/{project}/{platform}", name="budgetSet")
async def put(request: Request, project: Of, platform: On, caller: Caller) -> Response:
    """For operators: what a project may spend on a platform in a month, and whose sponsorship pays for it."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    await _put(site, caller, project, platform, (await bodies.parsed_object(request, LONGEST))[0])
    found = await site.rows.read(budgets.of, [project], month_begins(time.time()))
    return Json(next(one for one in found if one.platform == platform).to_json())


async def _put(site: Site, caller: Principal, project: str, platform: str, body: Mapping[str, Any]) -> None:
    wanted = bodies.modelled(Wanted, body)
    budget = Budget(project, platform, wanted.credits, wanted.sponsorship, wanted.currency)
    await site.rows.quick(budgeting.put, site.broker.database, caller, budget)


@router.delete("/budgets/{project}/{platform}", name="budgetUnset")
async def remove(request: Request, project: Of, platform: On, caller: Caller) -> Response:
    """For operators: the project may spend there what it likes, and nobody is named who pays."""
    caller.need(Scope.ADMIN)
    await site_of(request).rows.quick(budgeting.remove, site_of(request).broker.database, caller, project, platform)
    return Response(status_code=204)
