"""The wish that the outputs of a job be compared with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.access.principal import Principal, Scope
from broker.errors import InputError, InputProblem, QuotaExceeded
from broker.results.verdict import Tolerance
from broker.store import audit, comparisons, jobs
from broker.store.database import Database

MOST_OPEN = 5  # of one job


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


def name_of(against: Mapping[str, Any]) -> str:
    """What a job is compared with, in words."""
    return f"job {against['id']}" if against["kind"] == "job" else str(against["name"])
