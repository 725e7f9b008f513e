"""Reproductions: an experiment of a catalog, or a job, is run again and its outputs are compared; checked only, too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import bodies, reachability
from broker.api.answers import Json
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.comparisons import tolerance_of
from broker.api.executerequest import execute_request, idempotency_key
from broker.api.execution import created, subscribed
from broker.api.forms import done, errors, form, is_form, mendable
from broker.api.site import Site, site_of
from broker.bootstrap import input_policy
from broker.egress import Egress
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution.accept import Ticket
from broker.execution.reproduce import Asked, Draft, accept, draft
from broker.jobs.model import Job
from broker.web import page

router = guarded("Reproduction")
REPRODUCTIONS = ConformanceClass(router)
OWN_MEMBERS = ("experiment", "files", "tolerance", "check")
MOST_FILES = 50
LONGEST = 2000  # characters of an address
_PATH = re.compile(r"(?:\w[\w.-]*/){2}\w[\w.-]*\Z")  # of a file in a catalog: folder/entry/file
Check = Annotated[bool, Query(description="Say what was found and what would be run; nothing is kept.")]
Which = Annotated[str, Query(max_length=LONGEST, description="Address of its record, id in a catalog, or a job's id.")]


@router.post("/reproductions", name="reproduce", status_code=201)
async def reproduce(request: Request, caller: Caller, check: Check = False) -> Response:
    """Run an experiment again, and compare what it makes with what was published. `experiment`: the address of its
    record, its id in a configured catalog, or the id of a job; `files`: the records themselves {path in the catalog:
    text}; `tolerance`: of the comparison; `check`: only say what would be done; all members of an execute request,
    whose inputs win over those of the experiment."""
    if is_form(request):
        return await _form(request, caller)
    return await _reproduce(request, caller, only_check=check)


@router.post("/jobs", name="reproduceJob", status_code=201)
async def execute(request: Request, caller: Caller) -> Response:
    """The same as POST /reproductions. Other jobs are made with POST /processes/{processID}/execution."""
    return await _reproduce(request, caller, only_check=False)


@router.get("/reproductions/new", name="reproductionForm", include_in_schema=False)
async def new(request: Request, caller: Caller, experiment: Which = "") -> Response:
    """What was found of an experiment, and the form that runs it again."""
    caller.need(Scope.RUN)
    if not experiment.strip():
        return _shown(request, {})
    return await _found(request, caller, {"experiment": experiment.strip()})


async def _reproduce(request: Request, caller: Principal, *, only_check: bool) -> Response:
    site = site_of(request)
    body, raw = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    asked = asked_of(body)
    if asked.request.subscriber is not None:
        asked = asked.with_request(subscribed(site, asked.request, site.base(request)))
    if only_check or _flag(body.get("check")):
        caller.need(Scope.RUN)
        found = await site.rows.abroad(caller.owner, draft, site.broker.sources, caller, asked, site.upload_id)
        return Json(await site.rows.abroad(caller.owner, document, site, found))
    key = idempotency_key(request, "reproductions", raw)
    job = await _admitted(site, caller, asked, key)
    return created(job, site.base(request))


async def _admitted(site: Site, caller: Principal, asked: Asked, key: Any = None) -> Job:
    found = await site.rows.abroad(caller.owner, accept, site.broker.sources, caller, asked, site.upload_id, key)
    job, made = await site.rows.admit(found) if isinstance(found, Ticket) else (found, False)
    if made:
        site.relay.wake()
    return job


def asked_of(body: Mapping[str, Any]) -> Asked:
    """The body of a request, read. Raises InputError with every wrong member."""
    problems = []
    which = body.get("experiment")
    if not isinstance(which, str) or not 0 < len(which.strip()) <= LONGEST or not which.isprintable():
        message = "is not the address of an experiment's record, the id of one in a catalog, or the id of a job"
        problems.append(InputProblem("/experiment", message))
    files = body.get("files") or {}
    texts = isinstance(files, dict) and all(isinstance(one, str) for one in files.values())
    if not texts or len(files) > MOST_FILES:
        problems.append(InputProblem("/files", f"is not an object of at most {MOST_FILES} texts: {{path: content}}"))
    elif odd := [path for path in files if not _PATH.match(path)]:
        problems.append(InputProblem("/files", f"{odd[0][:100]!r} is no path in a catalog: FOLDER/ENTRY/FILE"))
    elif files and which not in files:
        problems.append(InputProblem("/experiment", "is not the path of a record among the files"))
    if problems:
        raise InputError(*problems, hint="To run a process: POST /processes/{processID}/execution")
    request = execute_request({name: value for name, value in body.items() if name not in OWN_MEMBERS})
    content = {path: text.encode("utf-8", "replace") for path, text in files.items()}
    return Asked(str(which).strip(), content, tolerance_of(body.get("tolerance")), request)


def _flag(value: Any) -> bool:
    if value not in (None, True, False):
        raise InputError(InputProblem("/check", "is neither true nor false"))
    return bool(value)


def document(site: Site, found: Draft) -> dict[str, Any]:
    """A draft, with what its links answer."""
    experiment = found.experiment
    links = []
    if found.order is not None:
        with Egress(input_policy(site.settings)) as egress:
            links = reachability.report(egress, found.order.stage)
    findings = [one.to_json() for one in found.remarks]
    for one in links:
        if not one["reachable"]:
            message = f"{one['url']} cannot be read: {one.get('detail', '')}"
            findings.append({"level": "error", "code": "input-unreachable", "message": message})
    full = {
        "experiment": {**found.origin, "environment": dict(experiment.environment) or None},
        "runnable": not any(one["level"] == "error" for one in findings),
        "findings": findings,
        "processID": found.process.id if found.process else None,
        "deploys": found.process is None and found.deployment is not None,
        "package": experiment.package.href if experiment.package else None,
        "inputs": dict(found.request.inputs),
        "platform": found.platform,
        "links": links,
        "outputs": dict(experiment.outputs),
    }
    return {name: value for name, value in full.items() if value is not None}


# ---- the page


async def _form(request: Request, caller: Principal) -> Response:
    """Look it up again, or run it: then to the job."""
    caller.need(Scope.RUN)
    given = await form(request)
    if given.get("do") != "run":
        return await _found(request, caller, given)
    site = site_of(request)
    try:
        job = await _admitted(site, caller, asked_of(_body(given)))
    except BrokerError as refused:
        return await _found(request, caller, given, refused)
    return done(f"{site.base(request)}/jobs/{job.id}?f=html")


def _body(given: Mapping[str, str]) -> dict[str, Any]:
    """The request that a form stands for. Raises InputError."""
    body: dict[str, Any] = {"experiment": given.get("experiment", "")}
    body |= {name: given[name].strip() for name in ("platform", "title") if given.get(name, "").strip()}
    if given.get("inputs", "").strip():
        try:
            body["inputs"] = json.loads(given["inputs"])
        except (ValueError, RecursionError) as error:
            raise InputError(InputProblem("/inputs", f"is not JSON: {error}")) from None
    return body


async def _found(
    request: Request, caller: Principal, given: Mapping[str, str], refused: BrokerError | None = None
) -> Response:
    """The page with what is known of an experiment; `refused`: why it was not run."""
    site = site_of(request)
    status = 200 if refused is None else mendable(request, refused)
    try:
        asked = asked_of(_body(given))
        found = await site.rows.abroad(caller.owner, draft, site.broker.sources, caller, asked, site.upload_id)
    except BrokerError as error:
        return _shown(request, given, refused=refused or error, status=mendable(request, error))
    report = await site.rows.abroad(caller.owner, document, site, found)
    return _shown(request, given, found, report, refused if report["runnable"] else None, status)


def _shown(
    request: Request,
    given: Mapping[str, str],
    found: Draft | None = None,
    report: Mapping[str, Any] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    return page(
        request,
        "reproduction.html",
        status=status,
        title="Run an experiment again",
        alternate=None,
        given=given,
        found=found,
        report=report,
        inputs=given.get("inputs") or json.dumps(report["inputs"] if report else {}, indent=2, ensure_ascii=False),
        errors=errors(refused),
    )
