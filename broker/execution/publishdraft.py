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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.access.principal import Principal
from broker.errors import InputError, InputProblem
from broker.execution.publishdesk import Desk
from broker.execution.publishrequest import Asked
from broker.execution.publishsubject import Subject
from broker.store.publications import Publication

if TYPE_CHECKING:
    from broker.execution.publishers import Offer

Json = dict[str, Any]


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
        full = {"level": self.level, "target": self.target, "field": self.field, "message": self.message}
        full |= {"allowed": list(self.allowed), "grants": self.grants}
        return {name: value for name, value in full.items() if value}

    def __str__(self) -> str:
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        return self.message + allowed + (f" (granted by {self.grants})" if self.grants else "")


@dataclass(frozen=True, slots=True)
class Drafted:
    """For one target; see the head of this file."""

    offer: Offer
    title: str
    request: Json
    plan: Json | None = None  # of a repository
    records: Mapping[str, list[str]] = field(default_factory=dict)
    files: tuple[Json, ...] = ()
    diff: str = ""

    def to_json(self) -> Json:
        made: Json = {"target": self.offer.name, "kind": self.offer.kind, "title": self.title}
        made |= {"approval": self.offer.approval, "request": self.request}
        if self.plan is not None:
            made["items"] = [one["item"] for one in self.plan["items"]]
        if self.records:
            made |= {"records": dict(self.records), "diff": self.diff}
        return made | {"files": list(self.files)}


@dataclass(frozen=True, slots=True)
class Draft:
    """`request`: the members as far as they are known, whichever target takes them."""

    subject: Subject
    request: Json
    targets: tuple[Drafted, ...]
    findings: tuple[Finding, ...]

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

    Raises NoSuchJob, NoSuchProcess, Forbidden, WrongPhase, ResultsGone, InputError for names of targets and members
    that mean nothing, TargetUnavailable where a catalog cannot be read.
    """
    raise NotImplementedError
