"""What somebody asks to publish: to which targets, which jobs or process, and the members that describe it.

{"target": name | [names], "jobs"?: [ids], "process"?: id, "version"?: text, "previous"?: id of a publication,
 "items"?: [STAC items whose data lies elsewhere], and of the description any of

 collection (id, for a repository; address, for a catalog alone), interval, bbox, geometry  - of the items
 what `broker.results.catalogrequest` names                                                 - of the records
 what `broker.results.collection` names                                                     - of a collection}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Self

from broker.errors import InputError, InputProblem

OF_ITEMS = ("collection", "interval", "bbox", "geometry", "title", "description", "licence", "items")
_ASKED = ("target", "jobs", "process", "version")
MOST_JOBS, MOST_TARGETS = 100, 8


@dataclass(frozen=True, slots=True)
class Asked:
    """`members`: the description, as it was given."""

    targets: tuple[str, ...]
    members: Mapping[str, Any]
    jobs: tuple[str, ...] = ()
    process: str | None = None
    version: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any], job: str | None = None) -> Self:
        """From a body, for one job where the address names it. Raises InputError."""
        given = body.get("target")
        targets = [given] if isinstance(given, str) else given
        problems = []
        if not _names(targets, MOST_TARGETS):
            problems.append(InputProblem("/target", f"must be the name of a target, or 1 to {MOST_TARGETS} of them"))
        jobs = body.get("jobs", [job] if job else [])
        if (job and jobs != [job]) or (jobs != [] and not _names(jobs, MOST_JOBS)):
            problems.append(InputProblem("/jobs", f"must be a list of 1 to {MOST_JOBS} ids of jobs"))
        for name in ("process", "version"):
            if not isinstance(body.get(name, ""), str):
                problems.append(InputProblem(f"/{name}", "must be a text"))
        if jobs and "process" in body:
            problems.append(InputProblem("/process", "is that of the jobs: name one or the other"))
        if problems:
            raise InputError(*problems)
        members = {name: value for name, value in body.items() if name not in _ASKED}
        return cls(tuple(targets or ()), members, tuple(jobs), body.get("process"), body.get("version"))

    def to_json(self) -> dict[str, Any]:
        """As it is kept with a job that is still to run: what `of` reads."""
        return {"target": list(self.targets), **self.members}

    def with_jobs(self, *jobs: str) -> Self:
        return replace(self, jobs=jobs)


def unknown(members: Mapping[str, Any]) -> list[InputProblem]:
    """The members that mean nothing anywhere."""
    known = known_members()
    problems = []
    for name in members:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
            problems.append(InputProblem(f"/{name[:100]}", f"is not known{hint}"))
    return problems


def known_members() -> frozenset[str]:
    from broker.results import catalogrequest, collection  # noqa: PLC0415 - the schemas are heavy

    return frozenset({*OF_ITEMS, *catalogrequest.MEMBERS, *collection.MEMBERS})


def _names(value: Any, most: int) -> bool:
    texts = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    return texts and 0 < len(value) <= most and len(set(value)) == len(value)
