"""Failover: jobs that wait for a platform which takes none go to the next one that can run them.

Only before anything was sent of them, and never those whose request names the platform. Whatever may have arrived
somewhere stays there: it is observed when the platform answers again, so that no job runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from broker.execution.placing import wish
from broker.jobs import lifecycle
from broker.jobs.model import Job, Phase
from broker.jobs.placement import Candidate, Placement, place
from broker.store import claims, deliveries, pace, platforms
from broker.store.database import Database

PAGE, PAGES = 100, 20  # jobs that are looked at in one go, of one platform in one step


def step(database: Database, holder: str) -> list[Job]:
    """Move what waits in vain; the jobs as saved."""
    with database.read() as tx:
        candidates = platforms.candidates(tx)
        closed = {one.name for one in candidates if not one.takes_jobs or pace.get(tx, one.name, None).trying}
    others = [one for one in candidates if one.name not in closed]
    moved = []
    for name in closed if others else ():
        for jobs in _pages(database, name):
            moved += _move(database, holder, jobs, _elsewhere(database, jobs, others))
    return moved


def _pages(database: Database, platform: str) -> Iterator[list[Job]]:
    """The jobs that may go elsewhere, some at a time."""
    after = ""
    for _ in range(PAGES):
        with database.write() as tx:  # what cannot be read is taken out of the way
            jobs = claims.untouched(tx, platform, after, PAGE)
        if not jobs:
            return
        after = jobs[-1].id
        yield jobs


def _elsewhere(database: Database, jobs: Sequence[Job], others: Sequence[Candidate]) -> Mapping[str, Placement]:
    """Where jobs can go, by their ids; those that no other platform can run are left out."""
    found = {}
    with database.read() as tx:
        for job in jobs:
            wanted = wish(tx, others, job.needs, job.project, stage=job.stage, owner=job.owner)
            placement = place(wanted, others, partial(platforms.loads, tx))
            if placement.platform is not None:
                found[job.id] = placement
    return found


def _move(database: Database, holder: str, jobs: Sequence[Job], places: Mapping[str, Placement]) -> list[Job]:
    saved: list[Job] = []
    ids = [job.id for job in jobs if job.id in places]
    if not ids:
        return saved
    with database.write() as tx:
        for job in claims.claim(tx, ids, [Phase.ACCEPTED], holder):
            new = places[job.id]
            why = f"{job.platform} takes no jobs now. {new.why}".strip()
            reasons = {**new.reasons, job.platform: ("it takes no jobs now.",)}
            kept = {"rule": "failover", "why": why, "reasons": reasons}
            change = lifecycle.moved(job, str(new.platform), why)
            saved.append(claims.save(tx, job, change, platform=new.platform, placement=kept))
        if saved:
            deliveries.add(tx, "dispatch", {job.id: job.platform for job in saved})
    return saved
