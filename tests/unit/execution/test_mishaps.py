"""What goes wrong with one job costs that job, and never another one; what is held stays held."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, update

from broker.access.principal import LOCAL
from broker.errors import PlatformRefused, PlatformUnavailable, StorageError
from broker.execution import collect, dismiss, dispatch, hold, observe, stop
from broker.jobs.lifecycle import STUMBLES
from broker.jobs.model import Attempt, Fault, Job, JobSpec, Limits, Needs, Phase, Reason
from broker.jobs.observation import Handle, Observation, State
from broker.platform import Collected
from broker.storage.local import LocalStorage
from broker.store import claims, jobs
from broker.store.database import Database
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.peers.scripted import ScriptedPlatform
from tests.unit.store.rows import job_row, platform_row, process_row


class Poisoned(ScriptedPlatform):
    """One job at which `verb` fails in a way that nobody foresaw."""

    verb: str = ""
    victim: str = ""

    def observe(self, attempts: Sequence[Attempt]) -> list[Observation]:
        self._poison("observe", *attempts)
        return list(super().observe(attempts))

    def collect(self, attempt: Attempt) -> Collected:
        self._poison("collect", attempt)
        return super().collect(attempt)

    def cancel(self, attempt: Attempt) -> None:
        self._poison("cancel", attempt)
        super().cancel(attempt)

    def release(self, attempt: Attempt) -> None:
        self._poison("release", attempt)
        super().release(attempt)

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        if self.verb == "submit" and spec.job_id == self.victim:
            raise ValueError("nobody foresaw this")
        return super().submit(spec)

    def _poison(self, verb: str, *attempts: Attempt) -> None:
        if verb == self.verb and self.victim in {attempt.job_id for attempt in attempts}:
            raise ValueError("nobody foresaw this")


class World:
    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        self.storage = LocalStorage(tmp_path / "files")
        self.platform = Poisoned()
        self.offer = platform_row(database, cores=8.0)
        process_row(database)

    def dispatch(self) -> Job | None:
        return dispatch.dispatch(self.database, self.platform, self.offer, self.storage, Limits(), "w")

    def observe(self) -> list[Job]:
        return observe.observe(self.database, self.platform, "w")

    def go_on(self, job: Job) -> Job | None:
        return collect.go_on(self.database, self.platform, self.storage, job)

    def collect(self) -> Job | None:
        return collect.collect(self.database, self.platform, self.storage, "w")

    def later(self) -> None:
        with self.database.write() as tx:
            tx.execute(update(table).values(lease_until=None, due_at=now() - 1))

    def get(self, job: Job) -> Job:
        with self.database.read() as tx:
            return jobs.get(tx, job.id)

    def submitted(self, count: int) -> list[Job]:
        made = [job_row(self.database) for _ in range(count)]
        for _ in made:
            assert self.dispatch() is not None
        self.later()
        return made

    def collecting(self) -> Job:
        (job,) = self.submitted(1)
        self.platform.says(job.name, State.SUCCEEDED)
        (seen,) = self.observe()
        assert seen.phase is Phase.COLLECTING
        return seen


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


@pytest.mark.parametrize("verb", ["submit", "observe", "collect"])
def test_a_poisoned_job_fails_in_the_end_and_the_others_go_on(world: World, verb: str) -> None:
    victim, *others = (job_row(world.database) for _ in range(3))
    world.platform.verb, world.platform.victim = verb, victim.id
    for _ in range(STUMBLES + 1):
        world.later()
        for _ in range(3):
            world.dispatch()
        for name in world.platform.states:
            world.platform.says(name, State.SUCCEEDED)
        world.later()
        world.observe()
        for _ in range(3):
            world.collect()
    assert {world.get(job).phase for job in others} == {Phase.SUCCESSFUL}
    failed = world.get(victim)
    assert failed.failure is not None
    assert (failed.failure.fault, failed.failure.reason) == (Fault.BROKER, Reason.BROKER_ERROR)


@pytest.mark.parametrize("verb", ["collect", "open"])
@pytest.mark.parametrize(("code", "phase"), [("lost", Phase.ACCEPTED), ("platform-refused", Phase.FAILED)])
def test_outputs_that_are_not_there_any_more(world: World, verb: str, code: str, phase: Phase) -> None:
    (job,) = world.submitted(1)
    world.platform.says(job.name, State.SUCCEEDED)
    world.platform.faults = {verb: [PlatformRefused("It is gone.", code=code)]}
    (seen,) = world.observe()
    ended = world.go_on(seen) if seen.phase is Phase.COLLECTING else seen
    assert ended is not None
    assert ended.phase is phase


def test_a_stream_that_breaks_is_read_again(world: World) -> None:
    job = world.collecting()
    world.platform.faults = {"open": [OSError("Input/output error")]}
    waiting = world.go_on(job)
    assert waiting is not None
    assert (waiting.phase, waiting.retries) == (Phase.COLLECTING, 1)


def test_a_job_that_somebody_else_took_is_left_to_them(world: World) -> None:
    job = world.collecting()
    world.later()
    with world.database.write() as tx:
        claims.claim(tx, [job.id], [Phase.COLLECTING], "other")
    assert world.go_on(job) is None
    assert world.get(job).phase is Phase.COLLECTING


def test_a_wish_to_dismiss_is_kept_whatever_was_under_way(world: World) -> None:
    job = world.collecting()
    dismiss.request(world.database, LOCAL, job.id)
    ended = world.go_on(job)  # it was claimed before the wish
    assert ended is not None
    assert ended.phase is Phase.DISMISSED


def test_what_the_platform_does_not_list_is_dismissed(world: World) -> None:
    (job,) = world.submitted(1)
    world.platform.states.clear()
    dismiss.request(world.database, LOCAL, job.id)
    (ended,) = dismiss.carry_out(world.database, world.platform, "w")
    assert ended.phase is Phase.DISMISSED


def test_a_wish_to_dismiss_reaches_a_submission_that_was_interrupted(world: World) -> None:
    job = job_row(world.database)
    world.platform.faults = {"start": [PlatformUnavailable("It does not answer.")]}
    assert world.dispatch() is not None
    dismiss.request(world.database, LOCAL, job.id)
    world.later()
    assert world.dispatch() is None
    (ended,) = dismiss.carry_out(world.database, world.platform, "w")
    assert (ended.phase, world.platform.cancelled) == (Phase.DISMISSED, [job.name])


def test_one_that_cannot_be_cancelled_does_not_hold_up_others(world: World) -> None:
    victim, other = world.submitted(2)
    world.platform.verb, world.platform.victim = "cancel", victim.id
    for job in (victim, other):
        dismiss.request(world.database, LOCAL, job.id)
    dismiss.carry_out(world.database, world.platform, "w")
    assert (world.get(victim).phase, world.get(other).phase) == (Phase.SUBMITTED, Phase.DISMISSED)


@pytest.mark.parametrize("fault", [PlatformUnavailable("It is still ending."), ValueError("nobody foresaw this")])
def test_one_that_cannot_be_released_does_not_hold_up_others(world: World, fault: Exception) -> None:
    victim, other = world.submitted(2)
    for job in (victim, other):
        world.platform.says(job.name, State.CANCELLED)
        dismiss.request(world.database, LOCAL, job.id)
    dismiss.carry_out(world.database, world.platform, "w")
    world.platform.faults = {"release": [fault]}
    assert dismiss.release(world.database, world.platform, "w") == 1
    assert dismiss.release(world.database, world.platform, "w") == 0  # put off
    world.later()
    dismiss.release(world.database, world.platform, "w")
    assert set(world.platform.released) == {victim.name, other.name}


def test_one_that_cannot_be_stopped_does_not_keep_others_running(world: World) -> None:
    jobs_there = world.submitted(3)
    world.platform.faults = {"cancel": [PlatformUnavailable("It does not answer.")]}
    assert stop.stop(world.database, world.platform, "w") == 2
    assert sorted(world.get(job).phase for job in jobs_there) == [Phase.ACCEPTED, Phase.ACCEPTED, Phase.SUBMITTED]


def test_a_platform_that_takes_longer_than_a_lease_keeps_the_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a second worker would submit it at the same time."""
    monkeypatch.setattr(hold, "RENEW_SECONDS", 0.01)
    job = job_row(world.database)
    left: list[float] = []

    class Slow(Poisoned):
        def submit(self, spec: JobSpec) -> Iterator[Handle]:
            with world.database.write() as tx:
                tx.execute(update(table).values(lease_until=now() + 0.5))
            for _ in range(500):
                with world.database.read() as tx:
                    left[:] = [tx.execute(select(table.c.lease_until - now())).scalar_one()]
                if left[0] > 1:
                    break
                threading.Event().wait(0.01)
            return super().submit(spec)

    world.platform = Slow()
    done = world.dispatch()
    assert done is not None
    assert (done.id, done.phase) == (job.id, Phase.SUBMITTED)
    assert left[0] > 1
    with world.database.read() as tx:
        assert tx.execute(select(table.c.lease_until)).scalar_one() is None  # and gives it back


def test_a_job_that_its_platform_became_too_small_for_does_not_block_the_line(world: World) -> None:
    large = job_row(world.database, needs=Needs(cores=8.0))
    small = job_row(world.database)
    world.offer = platform_row(world.database, cores=2.0)
    refused = world.dispatch()
    assert refused is not None
    assert refused.failure is not None
    assert (refused.id, refused.failure.fault, refused.failure.reason) == (large.id, Fault.LIMIT, Reason.NO_PLATFORM)
    assert "has 2 cores" in refused.failure.message
    done = world.dispatch()
    assert done is not None
    assert done.id == small.id


def test_no_free_connection_is_a_database_that_does_not_answer(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the API calls it a bug of its own (500), and the loops of the worker stop."""
    monkeypatch.setattr("broker.store.database.BUSY_SECONDS", 0.05)
    small = Database(database_url, pool_size=1)
    try:
        with small.read(), small.read(), pytest.raises(StorageError, match="does not answer"), small.read():
            pass
    finally:
        small.close()
