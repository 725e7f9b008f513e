"""Estimate: what a job would take and cost on each platform that can run it, before it runs.

What the platform itself says comes first, else what the same person's last jobs of the process took there, else what
its operator charges for a job and an hour. The answer says which of those it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from broker.access.principal import Principal
from broker.errors import PlatformError, SetupError
from broker.execution.courtesy import within
from broker.execution.dispatch import linked
from broker.execution.placing import wish
from broker.jobs.model import JobSpec, Limits
from broker.jobs.placement import Candidate, against
from broker.jobs.terms import Terms
from broker.packages.inputs import Order
from broker.platform import Estimate, Estimating, Platform
from broker.storage import Storage
from broker.store import accounts, platforms, processes
from broker.store.database import Database
from broker.store.processes import Process

MOST = 20  # of the last jobs


def estimates(
    database: Database,
    storage: Storage,
    fleet: Mapping[str, Platform],
    principal: Principal,
    process: Process,
    order: Order,
    limits: Limits,
    named: str | None = None,
) -> list[dict[str, Any]]:
    """One for each platform, in the operator's order; for those that cannot run it, why. Calls platforms that say
    themselves what a job would take."""
    with database.read() as tx:
        candidates = [one for one in platforms.candidates(tx) if named in (None, one.name)]
        wanted = wish(tx, candidates, process.needs, principal.project, stage=order.stage, owner=principal.owner)
        past = {
            one.name: _past(accounts.history(tx, process.id, one.name, principal.owner, MOST)) for one in candidates
        }
        bundle, _ = processes.package(tx, process.digest)
        stage = tuple(linked(tx, storage, item) for item in order.stage)
    spec = JobSpec(
        job_id="estimate",
        attempt=0,
        name="estimate",
        owner=principal.owner,
        project=principal.project,
        process=f"{process.id}@{process.revision}",
        bundle=bundle,
        job_order=order.job_order,
        stage=stage,
        needs=process.needs,
        limits=limits,
        images=process.images or {},
    )
    found = []
    for candidate in candidates:
        one: dict[str, Any] = {"platform": candidate.name, "fits": True, "available": candidate.takes_jobs}
        if why := against(wanted, candidate):
            found.append(one | {"fits": False, "reasons": list(why)})
            continue
        with within(database, candidate.name):
            basis, estimate = _of(fleet.get(candidate.name), spec, candidate, past[candidate.name])
        found.append(one | {"basis": basis} | estimate.to_json())
    return found


def _past(rows: Any) -> Estimate | None:
    """The median of the last jobs."""
    if not rows:
        return None
    duration = median(row["held_seconds"] for row in rows)
    text = f"The median of your last {len(rows)} jobs of it there."
    size = int(median(row["bytes"] for row in rows))
    newest = rows[0]["currency"]
    paid = [row["credits"] for row in rows if row["credits"] is not None and row["currency"] == newest]
    costs = median(paid) if paid else None
    return Estimate(costs, newest or "credits", duration, size, text)


def _priced(told: Estimate, spec: JobSpec, terms: Terms) -> Estimate:
    """With the costs at the operator's prices, where the platform says how long it takes and not what it costs."""
    if told.costs is not None or told.duration is None or not terms.hour(spec.needs):
        return told
    costs = terms.costs(spec.needs.cores, spec.needs.ram_mib, told.duration)
    text = f"{told.text} The costs are at the operator's prices.".strip()
    return replace(told, costs=costs, currency=terms.currency, text=text)


def _of(platform: object, spec: JobSpec, candidate: Candidate, past: Estimate | None) -> tuple[str, Estimate]:
    """(platform | history | price | none, the estimate)."""
    silent = ""
    if isinstance(platform, Estimating):
        try:
            told = platform.estimate(spec)
            if (told.costs, told.duration, told.size) != (None, None, None):
                return "platform", _priced(told, spec, candidate.terms)
            silent = f"{told.text} " if told.text else ""
        except (PlatformError, SetupError) as error:
            silent = f"The platform gives no estimate: {error.detail} "
    if past is not None:
        return "history", replace(past, text=silent + past.text)
    terms = candidate.terms
    if terms.hour(spec.needs) > 0:  # of what takes no cores that anybody knows of, the price of cores says nothing
        text = f"{silent}For a job that takes an hour; nobody knows yet how long it takes."
        return "price", Estimate(terms.hour(spec.needs), terms.currency, 3600.0, text=text)
    return "none", Estimate(text=silent.strip() or "Nobody said what it costs here, and you have run none here yet.")
