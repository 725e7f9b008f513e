"""What the forms of a process page do: run it, check what would run, write it for a command line, undeploy it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import bodies, chosenfiles, processpages, receiving
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.executeforms import Filled, Unreadable, command, directory, request_of
from broker.api.executerequest import execute_request
from broker.api.execution import report
from broker.api.forms import done, form, is_form
from broker.api.inputfields import PLACES, Field, fields
from broker.api.multipart import MULTIPART, Part, form_of
from broker.api.problems import BodyTooLarge, WrongMediaType, document
from broker.api.processes import Revision, described
from broker.api.processpages import Sent
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import deploy as deploying
from broker.execution.accept import Key, Ticket, prepare
from broker.jobs.model import Job
from broker.store import processes
from broker.store.processes import Process
from broker.web import page

router = guarded("Processes")
FORMS = ConformanceClass(router)
DEEPEST = 32  # folders in each other
FOLDER = "folder:"  # what the name of a field begins with that brings a folder


@router.post("/processes/{process_id}", name="processForm", include_in_schema=False)
async def forms(request: Request, process_id: str, caller: Caller, revision: Revision = None) -> Response:
    """The forms of its page: what browsers cannot say with JSON, PUT and DELETE."""
    if is_form(request):
        return await _small(request, process_id, caller)
    if bodies.media_type(request) != MULTIPART:
        raise WrongMediaType(InputProblem("", "this is for the forms of the page; programs use .../execution"))
    site = site_of(request)
    process = await site.rows.read(_process, process_id, revision, caller)
    wanted = fields(process.description)
    filled, refused = await _filled(request, site, caller, wanted)
    body, wrong = request_of(wanted, filled)
    wrong |= refused
    if filled.one("do") == "twin":
        return page(
            request,
            "twin.html",
            title="",
            process_id=process_id,
            body=body,
            lacking=sorted(wrong),
            command=command(process_id, body),
            revision=revision,
        )
    sent = Sent(filled, wrong, status=400) if wrong else await _run(site, caller, process, revision, body, filled)
    if isinstance(sent, Job):
        return done(f"{site.base(request)}/jobs/{sent.id}?f=html")
    return await processpages.shown(request, caller, process, described(process, site.base(request)), sent)


def _process(tx: Connection, process_id: str, revision: int | None, caller: Principal) -> Process:
    return processes.get(tx, process_id, revision, reach=caller.reach)


async def _small(request: Request, process_id: str, caller: Principal) -> Response:
    fields_of = await form(request)
    if fields_of.get("do") != "undeploy":
        raise InputError(InputProblem("/do", "is nothing that this page can do"))
    site = site_of(request)
    await site.rows.read(processes.get_to_change, process_id, caller.reach)
    if fields_of.get("sure") != process_id:
        raise InputError(InputProblem("/sure", "write the process's id there to undeploy it"))
    await site.rows.quick(deploying.undeploy, site.broker.database, caller, process_id)
    return done(f"{site.base(request)}/processes?f=html")


async def _filled(
    request: Request, site: Site, caller: Principal, inputs: list[Field]
) -> tuple[Filled, dict[str, str]]:
    """(what the form holds; its files are uploads by then, why a file was not taken by input)."""
    caller.need(Scope.RUN)
    taken = {f"file:{one.id}": one.id for one in inputs if one.kind in PLACES.values()}
    taken |= {f"{FOLDER}{one.id}": one.id for one in inputs if one.kind == PLACES["Directory"]}
    bodies.refuse_longer(request, site.settings.uploads.max_bytes)
    sent = await form_of(request)
    filled, refused = Filled(), dict[str, str]()
    folders: dict[str, list[tuple[str, str]]] = {}
    left = site.settings.limits.document_bytes
    while (part := await sent.part()) is not None:
        if part.filename is None:
            text = await sent.text(left)
            left -= len(text) + len(part.name)
            if left <= 0:
                raise BodyTooLarge(f"A form may have {site.settings.limits.document_bytes} bytes beside its files.")
            filled.texts.setdefault(part.name, []).append(text)
        elif part.filename and part.name in taken and _part_of(part):
            try:
                kept = await receiving.receive(site, caller, part.filename, part.media_type, sent.chunks())
            except BrokerError as problem:  # the rest of the form is kept
                refused[taken[part.name]] = problem.detail
                continue
            href = f"{site.base(request)}/uploads/{kept.id}"
            if part.name.startswith(FOLDER):
                folders.setdefault(taken[part.name], []).append((part.filename, href))
            else:
                filled.files.setdefault(part.name, []).append(href)
    for name, files in folders.items():
        try:
            filled.files.setdefault(f"file:{name}", []).append(json.dumps(directory(files)))
        except Unreadable as error:
            refused[name] = str(error)
    return filled, refused


def _part_of(part: Part) -> bool:
    """Whether it is one that is taken: of a folder, what is below it and not hidden there."""
    path = part.filename or ""
    if not part.name.startswith(FOLDER):
        return True
    return 0 < path.count("/") <= DEEPEST and not path.startswith("/") and chosenfiles.wanted(path)


async def _run(
    site: Site, caller: Principal, process: Process, revision: int | None, body: dict[str, Any], filled: Filled
) -> Sent | Job:
    try:
        wanted = execute_request(body)
        if filled.one("do") == "check":
            found = await site.rows.slow(report, site, caller, process.id, wanted)
            return Sent(filled, report=found)
        look = site.rows.read_long
        key = _key(process.id, body, filled)
        ticket = await look(prepare, caller, process.id, wanted, upload_id=site.upload_id, revision=revision, key=key)
        job, made = await site.rows.admit(ticket) if isinstance(ticket, Ticket) else (ticket, False)
    except BrokerError as problem:
        wrong, left = _by_input(problem)
        return Sent(filled, wrong, left, int(document(problem)["status"]))
    if made:
        site.relay.wake()
    return job


def _key(process_id: str, body: dict[str, Any], filled: Filled) -> Key | None:
    """A form that is sent twice, as it is, makes one job: its page has a name of its own."""
    once = filled.one("once")
    if not once.isalnum() or len(once) > 64:
        return None
    hashed = hashlib.sha256(f"{process_id} {json.dumps(body)}".encode()).hexdigest()
    return Key(f"{once}-{hashed}", hashed)


def _by_input(problem: BrokerError) -> tuple[dict[str, str], BrokerError | None]:
    """(what is wrong by input, what is wrong besides)."""
    if not isinstance(problem, InputError):
        return {}, problem
    wrong: dict[str, str] = {}
    left = []
    for one in problem.problems:
        kind, _, rest = one.pointer.removeprefix("/").partition("/")
        name, _, inside = rest.partition("/")
        if kind != "inputs" or not name:
            left.append(one)
            continue
        name = name.replace("~1", "/").replace("~0", "~")
        said = f"{inside}: {one.detail}" if inside else one.detail
        wrong[name] = f"{wrong[name]}; {said}" if name in wrong else said[:1].upper() + said[1:]
    return wrong, InputError(*left) if left else None
