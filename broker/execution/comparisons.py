"""The wish that the outputs of a job be compared with others, and that they be no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Reach, Scope
from broker.errors import InputError, InputProblem, NoSuchComparison, QuotaExceeded, WrongPhase
from broker.results.verdict import Tolerance
from broker.store import audit, comparisons, jobs
from broker.store.comparisons import Comparison
from broker.store.database import Database

MOST_OPEN = 5  # of one job
WITHDRAWN = "It was withdrawn before it was made."


def request(
    database: Database, principal: Principal, job_id: str, against: Mapping[str, Any], tolerance: Tolerance
) -> str:
    """Have the outputs of a job compared when it has ended: see `store.comparisons.ask`; the comparison's id.

    Raises NoSuchJob for either job, Forbidden, InputError, QuotaExceeded.
    """
    principal.need(Scope.RUN)
    with database.write() as tx:
        jobs.get_to_change(tx, job_id, principal.reach)
        if against["kind"] == "job":
            jobs.get_light(tx, against["id"], principal.reach)
            if against["id"] == job_id:
                raise InputError(InputProblem("/with", "is the job itself"))
        if comparisons.count_open(tx, job_id) >= MOST_OPEN:
            raise QuotaExceeded(f"{MOST_OPEN} comparisons of the job {job_id} are still to be made.")
        comparison_id = comparisons.ask(tx, job_id, against, tolerance.to_json())
        audit.record(tx, audit.entry(principal, "compare", f"job/{job_id}", comparison=comparison_id))
    return comparison_id


def withdraw(
    database: Database, principal: Principal, job_id: str, with_job: str | None = None, comparison_id: str | None = None
) -> Comparison:
    """Take back the newest comparison of a job, or the one that is named; one that is being made is given up in some
    seconds.

    Raises NoSuchJob, NoSuchComparison, Forbidden, WrongPhase where it has ended.
    """
    principal.need(Scope.RUN)
    with database.write() as tx:
        jobs.get_to_change(tx, job_id, principal.reach)
        found = newest(tx, principal.reach, job_id, with_job, comparison_id)
        if not comparisons.withdraw(tx, found.id, WITHDRAWN):
            raise WrongPhase(f"The comparison {found.id} is {found.state}: there is nothing to take back.")
        audit.record(tx, audit.entry(principal, "withdraw-comparison", f"job/{job_id}", comparison=found.id))
        return newest(tx, principal.reach, job_id, None, found.id)


def newest(
    tx: Connection, reach: Reach, job_id: str, with_job: str | None = None, comparison_id: str | None = None
) -> Comparison:
    """The newest comparison of a job that a reach sees, or the one that is named. Raises NoSuchComparison."""
    for one in comparisons.of_job(tx, job_id, reach):
        if with_job in (None, one.with_job) and comparison_id in (None, one.id):
            return one
    raise NoSuchComparison(
        f"There is no such comparison of the job {job_id}.", hint="Ask for one: POST /jobs/{id}/comparisons"
    )


def name_of(against: Mapping[str, Any]) -> str:
    """What a job is compared with, in words."""
    return f"job {against['id']}" if against["kind"] == "job" else str(against["name"])
