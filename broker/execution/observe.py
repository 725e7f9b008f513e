"""Observe: what a platform says of its jobs becomes transitions, with the log text that is new."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from broker.errors import PlatformError, PlatformRefused, PlatformUnavailable
from broker.execution import collect
from broker.execution.hold import alone, held
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase
from broker.jobs.observation import Observation, State
from broker.platform import Collected, Near, Platform
from broker.store import claims, files, provenance
from broker.store.database import Database

LOOK_AT = (Phase.SUBMITTED, Phase.RUNNING)
LIVE_STEPS = 200  # of a job that runs: of one with more, the steps are known when it ends
log = logging.getLogger(__name__)


def observe(
    database: Database,
    platform: Platform,
    holder: str,
    job_ids: Sequence[str] = (),
    *,
    live: bool = True,
    pause: float = 0.0,
) -> list[Job]:
    """Look at the given jobs, or at those that are due (one page); the jobs as saved. `live`: logs and steps are read
    while they run, and not only at their end; `pause`: seconds until the next look, at least.

    A job that is `collecting` then is still held by the caller, who goes on with `collect.go_on`; not so one that ended
    elsewhere: what it left takes requests, and its end is known first.
    """
    with database.write() as tx:
        if job_ids:
            taken = claims.claim(tx, job_ids, LOOK_AT, holder)
        else:
            taken = claims.claim_due(tx, platform.name, LOOK_AT, holder, platform.page)
    if not taken:
        return []
    with held(database, taken):
        looked: list[Job] = []
        for account in sorted({job.account or "" for job in taken}):  # one that does not work holds up no other
            looked += _looked(
                database, platform, [job for job in taken if (job.account or "") == account], live=live, pause=pause
            )
    return looked


def _looked(database: Database, platform: Platform, taken: Sequence[Job], *, live: bool, pause: float) -> list[Job]:
    try:
        seen = {name: _later(one, pause) for name, one in _seen(platform, taken).items()}
    except PlatformUnavailable as error:
        return _put_off(database, taken, error)
    except Exception:  # about one of them, and nobody knows which: each is looked at by itself
        log.exception("%s cannot be asked for %d jobs at once", platform.name, len(taken))
        seen = {}
    done = _known(database, platform, taken, seen, live=live)
    known = {job.id for job in done}
    left = [job for job in taken if job.id not in known]
    left.sort(key=lambda job: job.name in seen and seen[job.name].state in lifecycle.ENDED)  # those take longer
    looked = [
        alone(database, job, partial(_look, database, platform, job, seen.get(job.name), live=live)) for job in left
    ]
    return [*done, *(job for job in looked if job is not None)]


def _later(seen: Observation, pause: float) -> Observation:
    look = seen.next_look
    return seen if look is None or look >= pause else replace(seen, next_look=pause)


def _known(
    database: Database, platform: Platform, taken: Sequence[Job], seen: Mapping[str, Observation], *, live: bool
) -> list[Job]:
    """Those of which nothing more is to be asked now, as saved: all in one transaction, so that many cost little. Of an
    end elsewhere only that it came: what is left there is asked for afterwards."""
    plain: list[tuple[Job, Change, Mapping[str, Any]]] = []
    for job in taken:
        found = seen.get(job.name)
        ended = None if found is None or isinstance(platform, Near) else lifecycle.ended_there(job, found)
        if found is not None and ended is not None:
            plain.append((job, ended, found.facts))
        elif found is not None and not live and not (change := lifecycle.observed(job, found)).event:
            plain.append((job, change, {}))
    if not plain:
        return []
    saved = []
    with database.write() as tx:
        for job, change, facts in plain:
            with contextlib.suppress(claims.LostClaim):
                saved.append(claims.save(tx, job, change))
                provenance.note(tx, job.id, facts)
    return saved


def _seen(platform: Platform, jobs: Sequence[Job]) -> dict[str, Observation]:
    """What the platform says of each by name; LOST where it says nothing."""
    said = {job.name: Observation(job.name, State.LOST, "the platform does not list it.") for job in jobs}
    return said | {found.name: found for found in platform.observe([job.attempt_of() for job in jobs])}


def _put_off(database: Database, taken: Sequence[Job], error: PlatformUnavailable) -> list[Job]:
    saved = []
    with database.write() as tx:
        for job in taken:
            with contextlib.suppress(claims.LostClaim):
                saved.append(claims.save(tx, job, lifecycle.unavailable(job, error)))
    return saved


def _look(database: Database, platform: Platform, job: Job, seen: Observation | None, *, live: bool) -> Job:
    """Save what was seen of the job; None: it has not been looked at yet."""
    if seen is None:
        seen = _seen(platform, [job])[job.name]
        if done := _known(database, platform, [job], {job.name: seen}, live=True):
            return done[0]
    change = lifecycle.observed(job, seen)
    ended = seen.state in lifecycle.ENDED and seen.state is not State.LOST
    chunks, cursor = collect.new_logs(platform, job, to_the_end=ended) if live or ended else ([], job.log_cursor)
    found: Collected | None = None
    if change.phase is Phase.COLLECTING:
        try:
            found = platform.collect(job.attempt_of())
        except PlatformUnavailable as error:
            change = lifecycle.unavailable(job, error)
        except PlatformRefused as error:
            change = lifecycle.refused(job, error)
    steps = found.steps if found is not None else ()
    if not steps and (ended or (live and _few_moved(change))):
        with contextlib.suppress(PlatformError):  # nice to have
            steps = platform.steps(job.attempt_of())
    with database.write() as tx:
        files.add_logs(tx, job.id, job.attempt, chunks)
        if ended:
            provenance.note(tx, job.id, {**seen.facts, **(found.facts if found is not None else {})})
        if steps:
            files.put_steps(tx, job.id, job.attempt, steps)
        if found is not None and seen.needs:
            from broker.execution import across  # noqa: PLC0415 - few jobs have steps elsewhere

            return across.begin(tx, job, change, seen.needs, found, log_cursor=cursor)
        if found is not None:
            return collect.begin(tx, job, change, found, hold=True, log_cursor=cursor)
        return claims.save(tx, job, change, log_cursor=None if change.next_attempt else cursor)


def _few_moved(change: Change) -> bool:
    """Whether the steps of a job that runs are worth a look: something about them changed, and they are not many."""
    return bool(change.event) and change.progress is not None and (change.progress.total or 0) <= LIVE_STEPS
