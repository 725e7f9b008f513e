"""The pages of processes: the list, and a description with the form that runs it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import sharepages
from broker.api.executeforms import Filled, command, request_of
from broker.api.inputfields import Field, fields, texts
from broker.api.platforms import fitting
from broker.api.sharepages import Offer
from broker.api.site import site_of
from broker.errors import BrokerError, Forbidden, ImmutableProcess, NoSuchProcess
from broker.jobs.model import Job
from broker.packages.inputs import unqualified
from broker.packages.types import CRS84
from broker.store import jobs, processes
from broker.store.processes import Process, Revision
from broker.web import page

_ROLES = {
    "author": "Author", "contributor": "Contributor", "license": "Licence", "codeRepository": "Code",
    "citation": "Cite it as", "url": "More",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Around:
    """What a page shows beside the process itself."""

    revisions: Sequence[Revision]
    platforms: Sequence[Mapping[str, Any]]
    changes: bool  # whether the caller may replace and undeploy it
    offer: Offer | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a form: what was wrong with it, by input and as a whole, or what a check of it found."""

    filled: Filled = field(default_factory=Filled)
    wrong: Mapping[str, str] = field(default_factory=dict)
    problem: BrokerError | None = None
    status: int = 200
    report: Mapping[str, Any] | None = None


def listing(
    request: Request, shown: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, str]], words: str
) -> Response:
    """The page of a list of processes, as documents."""
    query = request.query_params
    return page(
        request,
        "processes.html",
        title="Processes",
        processes=shown,
        links=links,
        words=words,
        public=query.get("public", "") not in ("", "false", "0"),
        project=query.get("project", ""),
        filtered=any(query.get(name) for name in ("q", "project", "public", "owner")),
    )


def around(tx: Connection, process: Process, caller: Principal) -> Around:
    """What there is to know and to do: less where it was undeployed, and only old revisions are seen."""
    changes, offer = Scope.DEPLOY in caller.scopes, None
    try:
        offer = sharepages.offer(tx, "process", process.id, caller)
        processes.get_to_change(tx, process.id, caller.reach)
    except (Forbidden, ImmutableProcess, NoSuchProcess):
        changes = False
    revisions = processes.revisions(tx, process.id, reach=caller.reach)
    return Around(revisions, fitting(tx, process.needs, caller), changes, offer)


async def shown(
    request: Request, caller: Principal, process: Process, document: Mapping[str, Any], sent: Sent | None = None
) -> Response:
    """The page of a process. `document`: its description as JSON clients get it; `sent`: a form that was sent."""
    rows = site_of(request).rows
    found = await rows.read(around, process, caller)
    newest = next((one.revision for one in found.revisions if one.current), None)
    wanted = fields(process.description)
    if sent is None:
        again = request.query_params.get("job")
        job = await rows.read(jobs.get, again, caller.reach) if again else None
        sent = Sent(_as_of(job, wanted) if job else _started(wanted))
    body, lacking = request_of(wanted, sent.filled)
    return page(
        request,
        "process.html",
        status=sent.status,
        title=str(document.get("title") or process.id),
        process=process,
        document=document,
        fields=wanted,
        outputs=fields({"inputs": document.get("outputs", {})}),
        about=list(_about(document)),
        sent=sent,
        body=body,
        lacking=sorted(lacking),
        command=command(process.id, body),
        around=found,
        current=newest == process.revision,
        newest=newest,
        runs=Scope.RUN in caller.scopes and newest is not None,
        once=uuid.uuid4().hex,
        crs84=CRS84,
    )


def _about(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what it is, its words, where it leads, if to the web) of each of the metadata and of the package's source."""
    for one in document.get("metadata") or ():
        role = str(one.get("role") or "").rstrip("/").rpartition("/")[2].rpartition("#")[2] or "about"
        yield (
            _ROLES.get(role, role.capitalize()),
            str(one.get("title") or one.get("href") or "").removeprefix("https://"),
            _web(one.get("href")),
        )
    for one in document["links"]:
        if one["rel"] == "via":
            yield "Source", one.get("title") or one["href"], _web(one["href"])


def _web(href: Any) -> str:
    return href if isinstance(href, str) and href.startswith(("https://", "http://")) else ""


def _started(wanted: Sequence[Field]) -> Filled:
    """A form that nobody has touched: the defaults."""
    return _with({one.id: one.start for one in wanted}, wanted)


def _as_of(job: Job, wanted: Sequence[Field]) -> Filled:
    """The form with the inputs of a job, to run it again with others. Its process may be another one by now."""
    inputs = job.request.get("inputs") or {}
    given = {one.id: texts(unqualified(inputs[one.id]), one.kind, one.many) for one in wanted if one.id in inputs}
    filled = _with(given, wanted)
    filled.texts |= {"title": [job.title], "tags": [", ".join(job.tags)]}
    if job.request.get("reuse"):
        filled.texts["reuse"] = ["yes"]
    return filled


def _with(given: Mapping[str, Sequence[str]], wanted: Sequence[Field]) -> Filled:
    filled = Filled()
    for one in wanted:
        found = list(given.get(one.id, ()))
        bbox = one.kind == "bbox" and bool(found)
        if bbox:
            filled.texts[f"crs:{one.id}"] = found[4:]
        filled.texts[f"in:{one.id}"] = found[:4] if bbox else found
    return filled
