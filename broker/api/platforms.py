"""Platforms: where jobs can run, what each offers as last checked, and what operators do with them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import aboutpages, bodies, platformpages, platformtrial
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, is_form, mendable
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import operate
from broker.execution.placing import wish
from broker.jobs.model import Needs
from broker.jobs.placement import Candidate, against
from broker.store import platforms, processes
from broker.store.platforms import Queue
from broker.web import HTML

router = guarded("Platforms")
OFFERS = {"json": JSON, "html": HTML}
PLATFORMS = ConformanceClass(router, (), (("/platforms", "related", "Where jobs can run"),))
WORKFLOWS = {  # kind of package -> what people call it
    "cwl": "CWL 1.0 to 1.2 (application packages)",
    "openeo": "openEO processes (UDP)",
    "ogcapi": "processes of another OGC API server, by reference",
}
Name = Annotated[str, Path(max_length=255, description="The platform's name.")]
Tried = Annotated[bool, Query(description="Run a real job there, from inputs to results: `job` is its id.")]
LONGEST = 64 * 1024
EMPTY = Queue()


class New(BaseModel):
    """A platform to add: `options` as in broker.toml, below [platforms.NAME]."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    adapter: str
    options: dict[str, Any] = Field(default_factory=dict)


class Paused(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool


@router.get("/platforms", name="platforms")
async def page(request: Request, caller: Caller, f: Representation = None) -> Response:
    """All platforms, in the order in which the broker tries them."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    base = site.base(request)
    found = await site.rows.read(_documents)
    if chosen == "html":
        return await platformpages.listing(request, caller, found)
    return Json(
        {
            "platforms": found,
            "links": [link(f"{base}/platforms", "self", "This list")],
        }
    )


@router.post("/platforms", name="platformAdd")
async def add(request: Request, caller: Caller) -> Response:
    """For operators: add a platform while the broker runs, or configure anew one that was added."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    if is_form(request):
        return await _add_by_form(request, site, caller)
    new = bodies.modelled(New, (await bodies.parsed_object(request, LONGEST))[0])
    made = await _add(site, caller, new)
    where = f"{site.base(request)}/platforms/{new.name}"
    return Json(await site.rows.read(_document_of, new.name), 201 if made else 200, {"Location": where})


async def _add(site: Site, caller: Principal, new: New) -> bool:
    broker = site.broker
    made = await site.rows.slow(
        operate.add, broker.database, broker.vault, broker.fleet, caller, new.name, new.adapter, new.options
    )
    await site.rows.slow(operate.check, broker.database, broker.fleet, caller, new.name)
    return made


async def _add_by_form(request: Request, site: Site, caller: Principal) -> Response:
    fields = await form(request)
    name = fields.get("name", "").strip()
    try:
        await _add(site, caller, New(name=name, **platformpages.asked(fields)))
    except BrokerError as refused:
        status = mendable(request, refused)
        found = await site.rows.read(_documents)
        return await platformpages.listing(request, caller, found, typed=fields, refused=refused, status=status)
    return done(f"{site.base(request)}/platforms/{name}?f=html")


@router.get("/platforms/{name}", name="platform")
async def one(request: Request, name: Name, caller: Caller, f: Representation = None) -> Response:
    """One platform."""
    chosen = representation(request, OFFERS)
    found = await site_of(request).rows.read(_document_of, name)
    return await platformpages.shown(request, caller, found) if chosen == "html" else Json(found)


@router.post("/platforms/{name}", name="platformForm", include_in_schema=False)
async def by_form(request: Request, name: Name, caller: Caller) -> Response:
    """The forms of its page: `do` is ask, check, pause, resume or remove."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    broker = site.broker
    here = f"{site.base(request)}/platforms"
    try:
        match do := (await form(request)).get("do", ""):
            case "ask" | "check":
                health = await site.rows.slow(operate.check, broker.database, broker.fleet, caller, name)
                if do == "check" and health.available:
                    await platformtrial.begin(site, caller, name)
            case "pause" | "resume":
                await site.rows.quick(operate.pause, broker.database, caller, name, paused=do == "pause")
            case "remove":
                await site.rows.quick(operate.remove, broker.database, broker.fleet, caller, name)
                return done(f"{here}?f=html")
            case _:
                raise InputError(InputProblem("/do", "is nothing that this page can do"))
    except BrokerError as refused:
        status = mendable(request, refused)
        found = await site.rows.read(_document_of, name)
        return await platformpages.shown(request, caller, found, refused=refused, status=status)
    return done(f"{here}/{quote(name, safe='')}?f=html#checks")


@router.delete("/platforms/{name}", name="platformRemove")
async def remove(request: Request, name: Name, caller: Caller) -> Response:
    """For operators: remove a platform that was added while the broker runs, and has no jobs any more."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    await site.rows.quick(operate.remove, site.broker.database, site.broker.fleet, caller, name)
    return Response(status_code=204)


@router.put("/platforms/{name}/paused", name="platformPause")
async def pause(request: Request, name: Name, caller: Caller) -> Response:
    """For operators: whether a platform takes no new jobs."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    wanted = bodies.modelled(Paused, (await bodies.parsed_object(request, LONGEST))[0])
    await site.rows.quick(operate.pause, site.broker.database, caller, name, paused=wanted.paused)
    return Json(await site.rows.read(_document_of, name))


@router.post("/platforms/{name}/check", name="platformCheck")
async def check(request: Request, name: Name, caller: Caller, job: Tried = False) -> Response:
    """For operators: ask a platform now what it offers, and where it answers begin a job that tries it."""
    caller.need(Scope.ADMIN)
    site = site_of(request)
    broker = site.broker
    health = await site.rows.slow(operate.check, broker.database, broker.fleet, caller, name)
    found = await site.rows.read(_document_of, name)
    if job and health.available:
        begun = await platformtrial.begin(site, caller, name)
        where = f"{site.base(request)}/jobs/{begun.id}"
        found |= {"job": begun.id, "links": [link(where, "monitor", "The job that tries it")]}
    return Json(found)


@router.get("/processes/{process_id}/platforms", name="processPlatforms")
async def of_process(request: Request, process_id: str, caller: Caller, f: Representation = None) -> Response:
    """For each platform, whether it can run the process in your project, and which requirement fails if not."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    process, found = await site.rows.read(_of_process, process_id, caller)
    if chosen == "html":
        return aboutpages.platforms_of(request, process, found)
    here = f"{site.base(request)}/processes/{process_id}"
    links = [link(f"{here}/platforms", "self", "This list"), link(here, "up", "The process")]
    return Json(
        {"processID": process.id, "needs": process.needs.to_json(), "platforms": found, "links": links},
    )


def _of_process(tx: Connection, process_id: str, caller: Principal) -> tuple[processes.Process, list[dict[str, Any]]]:
    process = processes.get(tx, process_id, reach=caller.reach)
    return process, fitting(tx, process.needs, caller)


def _documents(tx: Connection) -> list[dict[str, Any]]:
    queues = platforms.queues(tx)
    return [_document(one, queues.get(one.name, EMPTY)) for one in platforms.candidates(tx)]


def _document_of(tx: Connection, name: str) -> dict[str, Any]:
    return _document(platforms.one(tx, name), platforms.queues(tx).get(name, EMPTY))


def _document(candidate: Candidate, queue: Queue) -> dict[str, Any]:
    offer, terms = candidate.capabilities, candidate.terms
    found = {
        "name": candidate.name,
        "title": terms.title or candidate.name,
        "kind": candidate.adapter,
        "available": candidate.available,
        "paused": candidate.paused,
        "message": candidate.message,
        "queue": {"waiting": queue.waiting, "active": queue.active, "collecting": queue.collecting},
        "workflows": [WORKFLOWS.get(kind, kind) for kind in sorted(offer.kinds)],
        "dataTypes": sorted({*offer.data_types, *terms.data_types}),
        "near": list(terms.near),
        "capabilities": offer.to_json(),
    }
    if terms.priced:
        found["prices"] = {name: getattr(terms, name) for name in ("core_hour", "gib_hour", "job", "currency")}
    return found


def fitting(tx: Connection, needs: Needs, caller: Principal | None = None) -> list[dict[str, Any]]:
    """For each platform, whether it can run the package (for the caller and their project), and why not."""
    candidates = platforms.candidates(tx)
    project, owner = (None, None) if caller is None else (caller.project, caller.owner)
    wanted = wish(tx, candidates, needs, project, owner=owner)
    return [
        {
            "name": candidate.name,
            "fits": not (why := against(wanted, candidate)),
            "reasons": list(why),
            "available": candidate.takes_jobs,
        }
        for candidate in candidates
    ]
