"""The pages of jobs: the list, the live page of one; and what its forms do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.access.principal import Principal, Scope
from broker.api import logpages, resultpages
from broker.api.forms import done, form, is_form
from broker.api.given import given
from broker.api.problems import WrongMediaType
from broker.api.sharepages import Offer, offer
from broker.api.site import Site, site_of
from broker.egress import shown as address
from broker.errors import InputError, InputProblem, WrongPhase
from broker.execution import dismiss as dismissing
from broker.execution import notify
from broker.execution.accept import ExecuteRequest, Ticket, prepare
from broker.execution.comparisons import name_of
from broker.execution.retention import delete_results
from broker.jobs import lifecycle
from broker.jobs.model import Job, Phase, Step
from broker.store import callbacks, children, comparisons, files, jobs, projects, provenance, publications
from broker.store.callbacks import Callback
from broker.store.children import Shown
from broker.store.comparisons import Comparison
from broker.store.files import KeptFile, LogRow
from broker.store.projects import Project
from broker.store.publications import Publication
from broker.web import faults, page

PAGE = 25  # jobs of one page, where nobody asks for another number
MOST_PROJECTS = 20  # that the list offers
MOST_EVENTS = 200
MOST_PUBLICATIONS = 20
LONGEST_COMMAND = 4000  # characters of a request that is shown as a command
MOST_STEPS = 500
STATUSES = ("accepted", "running", "successful", "failed", "dismissed")


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows that the page of a job shows."""

    job: Job
    steps: Sequence[Step]
    events: Sequence[Mapping[str, Any]]
    log: Sequence[LogRow]
    kept: Sequence[KeptFile]
    sharing: Offer
    changeable: bool
    recorded: bool  # whether its provenance can be told
    told: Sequence[Callback]
    compared: Sequence[Comparison]
    published: Sequence[Publication]
    children: Sequence[Shown]


async def listing(
    request: Request, caller: Principal, shown: Sequence[Job], links: Sequence[Mapping[str, str]]
) -> Response:
    """The page of a list of jobs: whose they are, the filters, the jobs."""
    site = site_of(request)
    query = request.query_params
    found = await site.rows.read(_projects, caller)
    views = [("", "Everybody's" if caller.lists is None else "Mine")]
    views += [(f"?project={one.id}", one.title) for one in found]
    views.append(("?public=true", "Public"))
    project = query.get("project")
    here = f"?project={project}" if project else "?public=true" if query.get("public") in ("true", "1") else ""
    filters = {name: ",".join(query.getlist(name)) for name in ("status", "processID", "tag", "datetime")}
    return page(
        request,
        "jobs.html",
        title="Jobs",
        jobs=[(job, _state(job), _took(job)) for job in shown],
        links=links,
        views=views,
        view=here,
        filters=filters,
        minimum=query.get("minDuration", ""),
        maximum=query.get("maxDuration", ""),
        owner=query.get("owner", ""),
        statuses=[("", "any"), *((one, one) for one in STATUSES)],
        filtered=any(filters.values()) or bool(query.get("minDuration") or query.get("maxDuration")),
        others=here != "" or caller.lists is None,
        live=any(not job.terminal for job in shown) and "cursor" not in query,
        cli=_list_command(filters, project, here),
    )


def _projects(tx: Connection, caller: Principal) -> Sequence[Project]:
    return projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)


def _list_command(filters: Mapping[str, str], project: str | None, view: str) -> list[str]:
    """The words of the same from the command line."""
    words = ["broker", "jobs"]
    for name, option in (("status", "--status"), ("processID", "--process"), ("tag", "--tag")):
        if filters[name]:
            words += [option, filters[name]]
    if project:
        words += ["--project", project]
    elif view:
        words.append("--public")
    return words


async def shown(request: Request, caller: Principal, job_id: str) -> Response:
    """The page of one job."""
    site = site_of(request)
    found = await site.rows.read(_whole, job_id, caller)
    job = found.job
    position, trouble = await site.line.position(job), await site.trouble.of(job, found.children)
    there = job.phase is Phase.SUCCESSFUL and job.swept is None
    view = await resultpages.view_of(site, job, found.kept, site.base(request)) if there else None
    return page(
        request,
        "job.html",
        title=job.title or f"Job of {job.process_id}",
        job=job,
        state=_state(job),
        took=_took(job),
        position=position,
        trouble=trouble,
        percent=_percent(job),
        failure=job.failure if job.phase is Phase.FAILED else None,
        whose=faults.whose(job.failure.fault.value) if job.failure else "",
        todo=faults.what_to_do(job.failure.fault.value, job.failure.reason.value) if job.failure else "",
        steps=found.steps[:MOST_STEPS],
        more_steps=max(0, len(found.steps) - MOST_STEPS),
        step_took=_step_took,
        children=[(one, lifecycle.status(one.phase, one.dismiss_requested)) for one in found.children],
        events=_told(found.events),
        log=logpages.end(found.log),
        cursor=found.log[-1].id if found.log else 0,
        inputs=given(job.request.get("inputs")),
        again=_short_request(job),
        view=view,
        recorded=found.recorded,
        told=[(one, address(one.uri)) for one in found.told],
        subscribed=job.subscriber is not None,
        compared=[(one, name_of(one.against)) for one in found.compared],
        published=found.published,
        may_publish=Scope.PUBLISH in caller.scopes and found.changeable and bool(site.settings.publish.targets),
        offer=found.sharing,
        mine=job.owner == caller.owner,
        may_run=Scope.RUN in caller.scopes,
        may_change=Scope.RUN in caller.scopes and found.changeable,
        **resultpages.drawing(site),
    )


def _whole(tx: Connection, job_id: str, caller: Principal) -> Whole:
    job = jobs.get(tx, job_id, caller.reach)
    return Whole(
        job,
        files.steps(tx, job_id, job.attempt),
        jobs.events(tx, job_id),
        files.log_end(tx, job_id, logpages.TAIL),
        files.of_job(tx, job_id) if job.phase is Phase.SUCCESSFUL and job.swept is None else (),
        offer(tx, "job", job_id, caller),
        jobs.may_change(tx, job_id, caller.reach),
        job.terminal and provenance.digest(tx, job_id) is not None,
        callbacks.of_job(tx, job_id) if job.subscriber is not None else (),
        comparisons.of_job(tx, job_id, caller.reach),
        publications.page(tx, caller.reach, limit=MOST_PUBLICATIONS, job_id=job_id),
        children.shown(tx, job_id, MOST_STEPS) if job.children else (),
    )


def _state(job: Job) -> str:
    return lifecycle.status(job.phase, job.dismiss_requested)


def _took(job: Job) -> float | None:
    """Seconds that the job ran, or has been running; None before its start."""
    return None if job.started is None else (job.finished or time.time()) - job.started


def _step_took(step: Step | Shown) -> float | None:
    if step.started is None:
        return None
    return (step.finished or time.time()) - step.started


def _percent(job: Job) -> int | None:
    if job.phase is Phase.SUCCESSFUL:
        return 100
    return job.progress.percent if job.progress is not None else None


def _short_request(job: Job) -> dict[str, Any] | None:
    """The request once more, for a command line; None for one that is too long for it."""
    asked = {name: job.request[name] for name in ("inputs", "outputs", "response") if name in job.request}
    return asked if len(orjson.dumps(asked)) <= LONGEST_COMMAND else None


def _told(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The events that changed something: what was only looked at again is left out; the last of very many."""
    kept = [one for one in events if one["event"] != "observed" or one["data"]]
    return kept[-MOST_EVENTS:]


def to_part(request: Request, job_id: str, part: str) -> Response:
    """To the part of the job's page that shows this."""
    base = site_of(request).base(request)
    return RedirectResponse(f"{base}/jobs/{job_id}?f=html#{part}", 303, {"Cache-Control": "no-store", "Vary": "Accept"})


async def act(request: Request, caller: Principal, job_id: str) -> Response:
    """What a form of the page asks for (its field `do`), then the page. Raises as the verbs do."""
    if not is_form(request):
        raise WrongMediaType(InputProblem("", "this is for the forms of the page; programs use DELETE"))
    fields = await form(request)
    site = site_of(request)
    match fields.get("do"):
        case "dismiss":
            with suppress(WrongPhase):  # it ended before the button was pressed: the page says how
                await site.rows.quick(dismissing.request, site.broker.database, caller, job_id)
            site.relay.wake()
        case "delete-results":
            if fields.get("sure") != "yes":
                raise InputError(InputProblem("/sure", "tick the box: deleted results do not come back"))
            await site.rows.quick(delete_results, site.broker.database, caller, job_id)
        case "repeat-callbacks":
            await site.rows.quick(notify.again, site.broker.database, caller, job_id)
        case "again":
            job_id = await _again(site, caller, job_id)
        case _:
            raise InputError(InputProblem("/do", "is nothing that this page can do"))
    return done(f"{site.base(request)}/jobs/{job_id}?f=html")


async def _again(site: Site, caller: Principal, job_id: str) -> str:
    """A new job of the same revision with the same request, in the name of who asks; its id."""
    ticket = await site.rows.read_long(_ticket, site, caller, job_id)
    job, _ = await site.rows.admit(ticket)
    site.relay.wake()
    return job.id


def _ticket(tx: Connection, site: Site, caller: Principal, job_id: str) -> Ticket:
    caller.need(Scope.RUN)
    job = jobs.get(tx, job_id, caller.reach)
    asked = job.request
    wanted = ExecuteRequest(
        inputs=asked.get("inputs", {}),
        outputs=asked.get("outputs"),
        response=asked.get("response", "raw"),
        title=job.title,
        tags=job.tags,
        extra={"responseDefault": True} if asked.get("responseDefault") else {},
    )
    found = prepare(tx, caller, job.process_id, wanted, upload_id=site.upload_id, revision=job.process_revision)
    assert isinstance(found, Ticket)  # noqa: S101 - without a key, no earlier job is meant
    return found
