"""Quotas: what one may have, has, and has left; operators set those of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.access.quota import HOUR, NAMES, Kind, Quota, Quotas, Tenant, tenants
from broker.api import bodies, quotapages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, mendable
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import quotas as deciding
from broker.store import projects, usage
from broker.store import quotas as rows
from broker.web import HTML

router = guarded("Quotas")
QUOTAS = ConformanceClass(router, (), (("/quota", "related", "What you may have, and have"),))
Of = Annotated[
    Literal["person", "project", "delegate"],
    Path(description="Whose: person, project or delegate (a platform that acts for people)."),
]
Subject = Annotated[str, Path(max_length=200, description="The id of the person or project; the delegate's name.")]


MOST_PROJECTS = 100
OFFERS = {"json": JSON, "html": HTML}


class Limits(BaseModel):
    """What is left out is as in the settings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    queued: int | None = Field(None, ge=0)
    running: int | None = Field(None, ge=0)
    cpu_hours: float | None = Field(None, ge=0, allow_inf_nan=False)
    storage_bytes: int | None = Field(None, ge=0)
    scatter_width: int | None = Field(None, ge=0)
    results_days: float | None = Field(None, ge=0, allow_inf_nan=False)
    logs_days: float | None = Field(None, ge=0, allow_inf_nan=False)
    uploads_days: float | None = Field(None, gt=0, allow_inf_nan=False)


@router.get("/quota", name="quota")
async def mine(request: Request, caller: Caller, f: Representation = None) -> Response:
    """One's own quotas, those of one's projects, and of the platform that asks: limits, used, left."""
    kind = representation(request, OFFERS)
    site = site_of(request)
    document = await site.rows.read(_mine, site.broker.quotas.now(), caller)
    document["links"] = [link(f"{site.base(request)}/quota", "self", "Your quotas")]
    if kind == "html":
        return quotapages.mine(request, document["quotas"])
    return Json(document)


def _mine(tx: Connection, quotas: Quotas, caller: Principal) -> dict[str, Any]:
    mine = tenants(caller.owner, caller.project, caller.delegate)
    mine += [Tenant(Kind.PROJECT, one.id) for one in projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)]
    return {"quotas": [_document(tx, quotas, tenant) for tenant in dict.fromkeys(mine)]}


def _document(tx: Connection, quotas: Quotas, tenant: Tenant) -> dict[str, Any]:
    limits = quotas.of(tenant).to_json()
    used = deciding.used(tx, tenant)
    now = {
        "queued": used.queued,
        "running": used.running,
        "cpu_hours": round(used.core_seconds / HOUR, 4),
        "storage_bytes": used.storage_bytes,
    }
    return {
        "kind": tenant.kind.value,
        "subject": tenant.id,
        "limits": limits,
        "used": now,
        "left": {name: max(0, round(limits[name] - now[name], 4)) for name in now if name in limits},
        "months": [_month(row) for row in usage.months(tx, tenant)],
    }


def _month(row: Mapping[str, Any]) -> dict[str, Any]:
    year, month = divmod(row["period"], 100)
    return {
        "month": f"{year}-{month:02}",
        "jobs": int(row["jobs"]),
        "cpu_hours": round(row["core_seconds"] / HOUR, 4),
        "measured_cpu_hours": round(row["cpu_seconds"] / HOUR, 4),
    }


@router.get("/quotas", name="quotas")
async def every(request: Request, caller: Caller, f: Representation = None) -> Response:
    """For operators: the defaults, and all quotas that were set for one person, project or delegate."""
    caller.need(Scope.ADMIN)
    chosen = representation(request, OFFERS)
    document = await _every(site_of(request))
    if chosen == "html":
        return quotapages.listing(request, **document)
    return Json(document | {"links": [link(f"{site_of(request).base(request)}/quotas", "self")]})


async def _every(site: Site) -> dict[str, Any]:
    found = await site.rows.read(rows.every)
    defaults = {kind.value: site.broker.quotas.now().defaults[kind].to_json() for kind in Kind}
    set_ = [{"kind": one.kind.value, "subject": one.id, "limits": limits.to_json()} for one, limits in found.items()]
    return {"defaults": defaults, "quotas": set_}


@router.post("/quotas", name="quotaSetForm", include_in_schema=False)
async def put_by_form(request: Request, caller: Caller) -> Response:
    """The form of the page: set limits for whom it names."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    fields = await form(request)
    try:
        tenant = _tenant(fields.get("kind", ""), fields.get("subject", "").strip())
        await _put(site, caller, tenant, quotapages.body(fields))
    except BrokerError as refused:
        status = mendable(request, refused)
        return quotapages.listing(request, **await _every(site), typed=fields, refused=refused, status=status)
    return done(f"{site.base(request)}{_path(tenant)}?f=html")


def _tenant(kind: str, subject: str) -> Tenant:
    if kind not in list(Kind):
        raise InputError(InputProblem("/kind", f"is none of {', '.join(Kind)}"))
    if not 0 < len(subject) <= 200 or not subject.isprintable() or "/" in subject:
        raise InputError(InputProblem("/subject", "an id of 1 to 200 characters"))
    return Tenant(Kind(kind), subject)


def _path(tenant: Tenant) -> str:
    return f"/quotas/{tenant.kind.value}/{quote(tenant.id, safe='')}"


@router.get("/quotas/{kind}/{subject}", name="quotaOf")
async def one(request: Request, kind: Of, subject: Subject, caller: Caller, f: Representation = None) -> Response:
    """For operators: the quota of one person, project or delegate, with what is used of it."""
    caller.need(Scope.ADMIN)
    tenant = Tenant(Kind(kind), subject)
    if representation(request, OFFERS) == "html":
        return await _page(request, tenant)
    return await _shown(site_of(request), tenant)


async def _page(
    request: Request,
    tenant: Tenant,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    site = site_of(request)
    document = await site.rows.read(_document, site.broker.quotas.now(), tenant)
    own = await site.rows.read(rows.get, tenant)
    limits = None if own is None else own.to_json()
    return quotapages.shown(request, document, limits, typed=typed, refused=refused, status=status)


@router.post("/quotas/{kind}/{subject}", name="quotaForm", include_in_schema=False)
async def form_of(request: Request, kind: Of, subject: Subject, caller: Caller) -> Response:
    """The forms of its page: `do` is set or unset."""
    caller.need(Scope.ADMIN)
    site, tenant = site_of(request), Tenant(Kind(kind), subject)
    fields = await form(request)
    try:
        match fields.get("do"):
            case "set":
                await _put(site, caller, tenant, quotapages.body(fields))
            case "unset":
                await _remove(site, caller, tenant)
            case _:
                raise InputError(InputProblem("/do", "is nothing that this page can do"))
    except BrokerError as refused:
        return await _page(request, tenant, fields, refused, mendable(request, refused))
    return done(f"{site.base(request)}{_path(tenant)}?f=html")


@router.put("/quotas/{kind}/{subject}", name="quotaSet")
async def put(request: Request, kind: Of, subject: Subject, caller: Caller) -> Response:
    """For operators: set limits for one of them, in place of those set before; counts within seconds."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    tenant = Tenant(Kind(kind), subject)
    await _put(site, caller, tenant, body)
    return await _shown(site, tenant)


async def _put(site: Site, caller: Principal, tenant: Tenant, body: Mapping[str, Any]) -> None:
    await site.rows.quick(deciding.put, site.broker.database, caller, tenant, _limits(body))
    site.broker.quotas.forget()


@router.delete("/quotas/{kind}/{subject}", name="quotaUnset", status_code=204)
async def delete(request: Request, kind: Of, subject: Subject, caller: Caller) -> Response:
    """For operators: from now on the defaults of the settings count."""
    await _remove(site_of(request), caller, Tenant(Kind(kind), subject))
    return Response(status_code=204)


async def _remove(site: Site, caller: Principal, tenant: Tenant) -> None:
    await site.rows.quick(deciding.remove, site.broker.database, caller, tenant)
    site.broker.quotas.forget()


async def _shown(site: Site, tenant: Tenant) -> Response:
    return Json(await site.rows.read(_document, site.broker.quotas.now(), tenant))


def _limits(body: Mapping[str, Any]) -> Quota:
    """Raises InputError."""
    given = bodies.modelled(Limits, body, f"The limits are: {', '.join(NAMES)}.")
    return Quota(**given.model_dump())
