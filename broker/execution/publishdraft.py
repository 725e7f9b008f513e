"""The draft of a publication: the request with all that is known filled in, what would be sent, and what is wrong.

As JSON (`Draft.to_json`):

    {"ok": nothing keeps it from being published,
     "request": {member: value},              # drafted: what was asked, else the project's, else from package and runs
     "findings": [{"level": "error" | "warning", "target"?, "field": member or path, "message", "allowed"?: [...],
                   "grants"?: who gives it}],
     "targets": [{"target", "kind", "title", "approval": somebody has to agree,
                  "request": what goes with it,
                  "items"?: [STAC items],                                # of a repository
                  "records"?: {kind: [addresses]}, "diff"?: unified diff, # of a catalog
                  "files": [{"path", "size", "sha256"?, "mediaType"?}]}]}
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal
from broker.errors import Forbidden, InputError, InputProblem, NoSuchPublication, TargetUnavailable
from broker.execution.publishdesk import Desk
from broker.execution.publishers import Offer
from broker.execution.publishplan import SHOWN, Items, Kept, extent_of, items_of, kept_by, maker
from broker.execution.publishrequest import Asked, unknown
from broker.execution.publishsubject import Subject, of_asked, of_publication
from broker.jobs.publication import State
from broker.jobs.record import known
from broker.results import target
from broker.results.catalogplan import Plan
from broker.results.catalogschemas import licences
from broker.results.strictrules import orcid
from broker.store import publications
from broker.store.publications import Publication

Json = dict[str, Any]
DRAFT = "draft"  # the id of a publication that is not made yet
ASKED = "asked"  # the only member of a request that is not complete: what somebody asked


@dataclass(frozen=True, slots=True)
class Finding:
    """What is missing or doubtful, of items, of records, or of what a target grants. `field`: a member of the request
    (`contacts/0/orcid`), or the path of a file."""

    level: str
    field: str
    message: str
    target: str | None = None
    allowed: tuple[str, ...] = ()
    grants: str | None = None

    def to_json(self) -> Json:
        full: Json = {"level": self.level, "target": self.target, "field": self.field, "message": self.message}
        full |= {"allowed": list(self.allowed), "grants": self.grants}
        return {name: value for name, value in full.items() if value}

    def __str__(self) -> str:
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return self.message + allowed + (f" (granted by {self.grants})" if self.grants else "")


@dataclass(frozen=True, slots=True)
class Drafted:
    """For one target; see the head of this file. `items`: planned, for a repository; `changes`: in a catalog, None
    where the request does not fit it."""

    offer: Offer
    request: Json
    items: tuple[Json, ...] = ()
    changes: Plan | None = None

    @property
    def title(self) -> str:
        return str(self.request.get("title") or self.offer.name)

    def to_json(self) -> Json:
        made: Json = {"target": self.offer.name, "kind": self.offer.kind, "title": self.title}
        made |= {"approval": self.offer.approval, "request": self.request}
        if self.offer.repository:
            files = [_told(file) for one in self.items for file in one["files"].values()]
            return made | {"items": [one["item"] for one in self.items], "files": files}
        if self.changes is None:
            return made | {"files": []}
        files = [{"path": path, "size": len(content)} for path, content in sorted(self.changes.files.items())]
        return made | {"records": dict(self.changes.records), "diff": self.changes.diff(), "files": files}


@dataclass(frozen=True, slots=True)
class Draft:
    """`request`: the members as far as they are known, whichever target takes them."""

    subject: Subject
    request: Json
    targets: tuple[Drafted, ...]
    findings: tuple[Finding, ...]
    earlier: str | None = None  # the publication in a repository that a catalog's builds on

    @property
    def errors(self) -> list[Finding]:
        return [one for one in self.findings if one.level == "error"]

    def refuse(self) -> None:
        """Raise InputError with every error."""
        if self.errors:
            raise InputError(
                *(InputProblem(f"/{one.field.lstrip('/')}", str(one)) for one in self.errors),
                hint="See everything that is missing with: broker publish JOB --check",
            )

    def to_json(self) -> Json:
        return {
            "ok": not self.errors,
            "request": self.request,
            "findings": [one.to_json() for one in self.findings],
            "targets": [one.to_json() for one in self.targets],
        }


def draft(desk: Desk, principal: Principal, asked: Asked, like: Publication | None = None) -> Draft:
    """The draft of what somebody asks. `like`: a publication that it repeats elsewhere.

    Raises NoSuchJob, NoSuchProcess, Forbidden, WrongPhase, ResultsGone, and InputError for targets and members that
    mean nothing.
    """
    with desk.database.read() as tx:
        subject = of_asked(tx, principal, asked) if like is None else of_publication(tx, like)
        earlier = _repository_of(tx, principal, asked, like)
    offers = offered(desk, asked)
    making = _Drafting(desk, principal, subject, complete(desk, subject, {ASKED: asked.members}))
    with desk.database.read() as tx:
        making.findings += strange_previous(tx, principal, making.request)
        making.findings += [one for offer in offers for one in begun(tx, offer.name, subject.job_ids)]
    kept = kept_by(earlier)
    made = []
    for offer in sorted(offers, key=lambda one: not one.repository):
        if offer.repository:
            drafted, kept = making.repository(offer)
        else:
            drafted = making.catalog(offer, kept)
        made.append(drafted)
    return Draft(subject, making.request, tuple(made), tuple(making.findings), None if earlier is None else earlier.id)


def offered(desk: Desk, asked: Asked) -> list[Offer]:
    """The targets that are asked for. Raises InputError for names and members that mean nothing."""
    problems, found = unknown(asked.members), []
    for name in asked.targets:
        try:
            found.append(desk.publishers.offer(name))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return found


def strange_previous(tx: Connection, principal: Principal, members: Mapping[str, Any]) -> list[Finding]:
    """What is corrected has to be there, and one's own to correct."""
    try:
        if members.get("previous") is not None:
            publications.get_to_change(tx, str(members["previous"]), principal.reach)
    except (NoSuchPublication, Forbidden) as error:
        return [Finding("error", "previous", error.detail)]
    return []


def begun(tx: Connection, target: str, job_ids: Sequence[str]) -> list[Finding]:
    """A job is published at a target once at a time: two at once would be two items, or two proposals."""
    job = publications.open_at(tx, target, job_ids)
    if job is None:
        return []
    what = (
        f"{target} is getting the job {job} already: wait for that, or withdraw it (broker publications --job {job})."
    )
    return [Finding("error", "target", what)]


def complete(desk: Desk, subject: Subject, request: Mapping[str, Any]) -> Json:
    """A request with what the project, the package and the runs say where it says nothing; a member that is null stays
    out. One that is complete already stays as it is."""
    if ASKED not in request:
        return dict(request)
    full = {**known_of(subject), **desk.publishers.defaults(subject.project), **request[ASKED]}
    return {name: value for name, value in full.items() if value is not None}


def known_of(subject: Subject) -> Json:
    """What package and runs say of themselves, as members of a request."""
    process, summary = subject.described, subject.summary
    source = process.get("source") or {}
    licence = source.get("license")
    people = [_contact(one, "author") for one in source.get("authors") or ()]
    people += [_contact(run.record["agent"], "processor") for run in subject.runs if run.record["agent"].get("name")]
    title = next((run.job.title for run in subject.runs if run.job.title), None) or summary.get("title")
    return known(
        {
            "title": title or process.get("id"),
            "description": summary.get("description"),
            "keywords": summary.get("keywords") or None,
            "licence": licence if licence in licences() else None,
            "contacts": [one for n, one in enumerate(people) if one not in people[:n]] or None,
            "status": "completed" if process else None,
        }
    )


def _contact(person: Mapping[str, Any], role: str) -> Json:
    iri = str(person.get("orcid") or person.get("identifier") or "")
    return known({"name": person.get("name"), "orcid": orcid(iri), "roles": [role]})


def _repository_of(tx: Connection, principal: Principal, asked: Asked, like: Publication | None) -> Publication | None:
    """The newest publication of the same jobs in a repository: a catalog's builds on it."""
    if like is not None:
        return publications.get(tx, like.after) if like.after else None
    if not asked.jobs:
        return None
    found = publications.page(tx, principal.reach, limit=100, job_id=asked.jobs[0], state=State.PUBLISHED)
    same = next((one.id for one in found if one.jobs == asked.jobs), None)
    return publications.get(tx, same) if same else None


@dataclass(slots=True)
class _Drafting:
    """A draft while it is made; `request` is completed on the way."""

    desk: Desk
    principal: Principal
    subject: Subject
    request: Json
    findings: list[Finding] = field(default_factory=list)

    def note(self, name: str, found: Iterable[target.Finding]) -> None:
        self.findings += [Finding(one.level, one.field, one.message, name, one.allowed, one.grants) for one in found]

    def wrong(self, target: str, error: InputError) -> None:
        for problem in error.problems:
            self.findings.append(Finding("error", problem.pointer.lstrip("/"), problem.detail, target))

    @property
    def whose(self) -> tuple[str, str]:
        return self.principal.owner, self.subject.project

    def repository(self, offer: Offer) -> tuple[Drafted, Kept]:
        request = {**self.request}
        collection = str(request.setdefault("collection", offer.collection) or "")
        made = Items([], [])
        try:
            made = items_of(self.desk, self.subject, request, DRAFT)
        except InputError as error:
            self.wrong(offer.name, error)
        self.note(offer.name, made.findings)
        if offer.kind == "stac-api" and any(one["files"] for one in made.items):
            why = "has files to be sent, which a STAC API does not keep: publish to a repository"
            self.findings.append(Finding("error", "target", f"The job {why}.", offer.name))
        self.note(offer.name, self.desk.publishers.prerequisites(offer.name, *self.whose, collection or None))
        extent = extent_of([one["item"] for one in made.items])
        if extent is not None:
            self.request.setdefault("extent", extent)
        kept = Kept.expected(f"{offer.reads}/collections/{collection}", made.items)
        return Drafted(offer, request, tuple(made.items)), kept

    def catalog(self, offer: Offer, kept: Kept) -> Drafted:
        request = {name: one for name, one in self.request.items() if name != "collection" or kept.collection is None}
        make = maker(DRAFT, time.time(), self.subject, request, kept, self.desk.home)
        plan = None
        try:
            plan = self.desk.publishers.catalog(offer.name, *self.whose, reading=True).plan(make)
        except InputError as error:
            self.wrong(offer.name, error)
        except TargetUnavailable as error:
            self.findings.append(Finding("error", "target", f"It cannot be read now: {error.detail}", offer.name))
        for one in plan.findings if plan is not None else ():
            self.findings.append(Finding("error", one.path, one.message, offer.name))
        self.note(offer.name, self.desk.publishers.prerequisites(offer.name, *self.whose))
        if self.desk.home is None and self.subject.runs:
            why = "the records carry no link that opens this broker with the experiment: its public address is not set"
            self.findings.append(Finding("warning", "target", why, offer.name, grants="the operator: [api] url"))
        return Drafted(offer, request, changes=plan)


def _told(file: Mapping[str, Any]) -> Json:
    """A file without where it lies in our storage."""
    found = {name: file.get(name) for name in SHOWN}
    return known(found | ({"files": len(file["members"])} if file.get("members") else {}))
