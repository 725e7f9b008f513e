"""The page that deploys: a package pasted, chosen, linked or in git is checked, and its diagnosis shown beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import chosenfiles, multipart
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.deployment import check_package, deploy_package, most_bytes, replace_package
from broker.api.forms import done
from broker.api.inputfields import Field, fields
from broker.api.multipart import form_of
from broker.api.problems import document
from broker.api.site import Site, site_of
from broker.errors import (
    BrokerError,
    DuplicatedProcess,
    InputError,
    InputProblem,
    NoSuchProcess,
    PackageError,
)
from broker.packages.media import BUNDLE_TYPE
from broker.store import processes
from broker.web import page

router = guarded("Deployment")
DEPLOY_PAGE = ConformanceClass(router)
NAMES = ("text", "link", "repository", "commit", "path", "main", "bundle", "w", "id", "replace", "do")
# what is given, in one way of these, and its words
WAYS = {"text": "text", "link": "link", "repository": "repository", "bundle": "files"}
AROUND = 3  # lines that are shown before and after the one that is wrong
LONGEST_SHOWN = 256 * 1024  # bytes of a package that is put into the page
LONGEST_HELD = 2 * 2**20  # of the files that the form keeps from a check to the deployment
PACKAGE, YAML, EITHER = "application/ogcapppkg+json", "application/cwl+yaml", "application/json"
Replaced = Annotated[str | None, Query(max_length=200, description="Which process the package replaces.")]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found out about a package. `excerpt`: (line number, its text, whether it is the wrong one)."""

    problem: BrokerError | None = None
    excerpt: Sequence[tuple[int, str, bool]] = ()
    report: Mapping[str, Any] | None = None
    deployed: str | None = None
    warnings: Sequence[str] = ()
    taken: bool = False  # there is a process of its id, and it was not said that it is to be replaced

    @property
    def inputs(self) -> list[Field]:
        return fields(self.report["process"]) if self.report else []

    @property
    def outputs(self) -> list[Field]:
        return fields({"inputs": self.report["process"]["outputs"]}) if self.report else []


@dataclass(slots=True)
class Given:
    """The form: its fields by name, the name of the file that was chosen; of several, path -> bytes.

    Once they were read, the field `bundle` holds several files as JSON (`packages.bundle.Bundle`), so that what was
    checked can be deployed without choosing it again.
    """

    fields: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, ""))
    filename: str = ""
    files: dict[str, bytes] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        found = self.fields[name]
        return found if name == "text" else found.strip()

    @property
    def bundle(self) -> dict[str, Any]:
        """What the field holds; empty where that is nothing, or nothing of ours."""
        try:
            found = json.loads(self["bundle"] or "{}")
        except (ValueError, RecursionError):
            return {}
        parts = [found.get(name) for name in ("documents", "files")] if isinstance(found, dict) else []
        return found if parts and all(isinstance(one, dict) for one in parts) else {}

    def source(self, path: str | None) -> str:
        """The text of a document of the package."""
        found = self.bundle
        if not found:
            return self["text"]
        if isinstance(text := found["documents"].get(path), str):
            return text
        try:
            return base64.b64decode(found["files"].get(path, "")).decode()
        except (ValueError, TypeError):
            return ""


@router.get("/deploy", name="deployPage", include_in_schema=False)
async def empty(request: Request, caller: Caller, replace: Replaced = None) -> Response:
    """The form; filled with the package as it is, where one is to be replaced."""
    given = Given()
    if replace is not None:
        site = site_of(request)
        await site.rows.read(processes.get_to_change, replace, caller.reach)
        body, media_type = await site.rows.read(processes.body, replace)
        given.fields |= {"id": replace, "replace": "yes"}
        if "cwl" in media_type and len(body) <= LONGEST_SHOWN:
            given.fields["text"] = body.decode("utf-8", "replace")
    return _shown(request, caller, given)


@router.post("/deploy", name="deployForm", include_in_schema=False)
async def act(request: Request, caller: Caller) -> Response:
    """Check the package, or deploy it: then to the process, unless there is something to be read first."""
    caller.need(Scope.DEPLOY)
    site = site_of(request)
    given = await _read(request, site)
    try:
        found = await site.rows.slow(_done, site, caller, given)
    except BrokerError as problem:
        return _shown(request, caller, given, Diagnosis(problem, _excerpt(problem, given)))
    if found.deployed is not None and not found.warnings:
        return done(f"{site.base(request)}/processes/{quote(found.deployed, safe='')}?f=html")
    return _shown(request, caller, given, found)


async def _read(request: Request, site: Site) -> Given:
    given = Given()
    form = await form_of(request)
    left = most_bytes(site)
    while (part := await form.part()) is not None:
        if part.name in NAMES and part.filename is None:
            given.fields[part.name] = (await form.text(most_bytes(site))).replace("\r\n", "\n")
        elif part.name in ("file", "folder") and part.filename and chosenfiles.wanted(part.filename):
            found = given.files[part.filename] = await form.whole(left)
            left -= len(found)
    if len(given.files) == 1 and not chosenfiles.is_zip(*given.files.values()):
        [(given.filename, data)] = given.files.items()
        given.files = {}
        given.fields["text"] = multipart.decoded(data)
    return given


def package(given: Given) -> tuple[bytes, str]:
    """(the body of the deploy request that the form stands for, its media type). Raises InputError."""
    ways = [way for way in WAYS if given[way].strip()]
    if len(ways) != 1:
        said = "give a package: paste it, choose files, or name a link or a git repository"
        two = " and ".join(WAYS[way] for way in ways)
        raise InputError(InputProblem("", said if not ways else f"give one package, not two ({two})"))
    text = given["text"]
    if ways == ["link"]:
        unit: dict[str, Any] = {"href": given["link"], "type": "application/cwl"}
    elif ways == ["repository"]:
        place = {name: given[name] for name in ("repository", "commit", "path")}
        unit = {**place, "type": "application/cwl"}
    elif ways == ["bundle"]:
        unit = {"value": given.bundle, "mediaType": BUNDLE_TYPE}
    elif text.lstrip().startswith("{") and "executionUnit" in text:
        return text.encode(), PACKAGE  # it names its process itself
    elif not given["id"]:
        return text.encode(), EITHER if text.lstrip().startswith("{") else YAML
    else:
        unit = {"value": text, "mediaType": YAML}
    whole: dict[str, Any] = {"executionUnit": unit}
    if given["id"]:
        whole["processDescription"] = {"id": given["id"]}
    return json.dumps(whole).encode(), PACKAGE


def _done(site: Site, caller: Principal, given: Given) -> Diagnosis:
    which = given["w"] or None
    if given.files:
        files, given.files = given.files, {}
        given.fields["bundle"] = json.dumps(chosenfiles.bundle(files, given["main"]))
    body, media_type = package(given)
    deploys, report = given["do"] == "deploy", None
    if given["bundle"] or not deploys:
        closed, report = check_package(site, body, media_type, which)
        if given["bundle"]:  # from now on without the files that it does not refer to
            given.fields["bundle"] = json.dumps(closed.to_json())
            body, media_type = package(given)
    if report is not None and not deploys:
        with site.broker.database.read() as tx:
            there = processes.find(tx, report["process"]["id"]) is not None
        return Diagnosis(report=report, taken=there and not given["replace"])
    if not given["replace"]:
        process, warnings = deploy_package(site, caller, body, media_type, which)
        return Diagnosis(deployed=process.id, warnings=warnings)
    name = given["id"] or check_package(site, body, media_type, which)[1]["process"]["id"]
    try:
        process, warnings = replace_package(site, caller, body, media_type, which, name)
    except NoSuchProcess:
        process, warnings = deploy_package(site, caller, body, media_type, which)
    return Diagnosis(deployed=process.id, warnings=warnings)


def _excerpt(problem: BrokerError, given: Given) -> list[tuple[int, str, bool]]:
    """The lines around the one that is wrong, where it is one of the text that was sent."""
    line = problem.line if isinstance(problem, PackageError) else None
    lines = given.source(getattr(problem, "file", None)).splitlines()
    if line is None or not 0 < line <= len(lines):
        return []
    first = max(1, line - AROUND)
    return [(at, lines[at - 1][:300], at == line) for at in range(first, min(len(lines), line + AROUND) + 1)]


def _shown(request: Request, caller: Principal, given: Given, found: Diagnosis | None = None) -> Response:
    problem = found.problem if found else None
    files = [*given.bundle.get("documents", ()), *given.bundle.get("files", ())]
    if len(given["bundle"]) > LONGEST_HELD:
        given.fields["bundle"] = ""
    return page(
        request,
        "deploy.html",
        title=f"Replace {given['id']}" if given["replace"] and given["id"] else "Deploy a package",
        alternate=None,
        status=int(document(problem)["status"]) if problem else 201 if found and found.deployed else 200,
        given=given,
        files=files,
        found=found or Diagnosis(),
        place=problem.place if isinstance(problem, PackageError) else "",
        duplicated=isinstance(problem, DuplicatedProcess),
        may=Scope.DEPLOY in caller.scopes,
        command=_command(given),
        curl=_curl(given),
    )


def _command(given: Given) -> list[str]:
    """The words of the command line that does the same."""
    entry = given.bundle.get("entry")
    where = given["link"] or (given["path"] if given["repository"] else given.filename or str(entry or "package.cwl"))
    words = ["broker", "deploy", where]
    if given["repository"]:
        words += ["--git", given["repository"], "--commit", given["commit"]]
    for name, option in (("id", "--id"), ("w", "-w")):
        if given[name]:
            words += [option, given[name]]
    return [*words, "--replace"] if given["replace"] else words


def _curl(given: Given) -> tuple[str, str, str, str] | None:
    """(method, path with query, media type, the body: JSON or @file) of the request that does the same; None for
    several files, which nobody writes by hand."""
    if given["bundle"]:
        return None
    replaced = bool(given["replace"] and given["id"])
    path = f"/processes/{quote(given['id'], safe='')}" if replaced else "/processes"
    if given["w"]:
        path += f"?w={quote(given['w'], safe='')}"
    method = "PUT" if replaced else "POST"
    if not (given["link"] or given["repository"]):
        kind = YAML if not given["text"].lstrip().startswith("{") else EITHER
        return method, path, kind, f"@{given.filename or 'package.cwl'}"
    try:
        body, media_type = package(given)
    except InputError:
        body, media_type = b"", PACKAGE
    return method, path, media_type, body.decode()
