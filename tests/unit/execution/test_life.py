"""The life of a job through each verb, with a fault at each step, on both databases.

The oracle of all of them (`invariants`): the job is never lost, one execution per attempt, one terminal event,
no illegal transition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, update

from broker.access.principal import LOCAL
from broker.errors import NoSuchJob, PlatformRefused, PlatformUnavailable, StorageFull, WrongPhase
from broker.execution import collect, dismiss, dispatch, observe, stop
from broker.jobs.lifecycle import LEGAL
from broker.jobs.model import TERMINAL, Failure, Fault, Job, Limits, Phase, Progress, Reason
from broker.jobs.observation import State
from broker.storage.local import LocalStorage
from broker.store import files, jobs, provenance
from broker.store.database import Database
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.peers.scripted import Killed, NearPlatform, ScriptedPlatform, down
from tests.unit.store.rows import job_row, platform_row, process_row


class World:
    """A database, storage and a scripted platform, and the verbs as a worker would do them."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        self.storage = LocalStorage(tmp_path / "files")
        self.platform = ScriptedPlatform()
        self.offer = platform_row(database)
        process_row(database)

    def dispatch(self) -> Job | None:
        return dispatch.dispatch(self.database, self.platform, self.offer, self.storage, Limits(), "w")

    def observe(self) -> list[Job]:
        return observe.observe(self.database, self.platform, "w")

    def free(self) -> None:
        """The worker that held the jobs died, or gave them back."""
        with self.database.write() as tx:
            tx.execute(update(table).values(lease_until=None))

    def collect(self) -> Job | None:
        return collect.collect(self.database, self.platform, self.storage, "w")

    def later(self) -> None:
        """Leases are over and everything is due."""
        with self.database.write() as tx:
            tx.execute(update(table).values(lease_until=None, due_at=now() - 1))

    def get(self, job: Job) -> Job:
        with self.database.read() as tx:
            return jobs.get(tx, job.id)

    def submitted(self, job: Job) -> Job:
        done = self.dispatch()
        assert done is not None
        assert done.phase is Phase.SUBMITTED
        self.later()
        return done

    def finish(self, job: Job) -> Job:
        """Turn the crank until the job has ended; whatever was interrupted is taken up again."""
        for _ in range(20):
            self.later()
            self.dispatch()
            for name in list(self.platform.states):
                if self.platform.states[name].state is State.QUEUED:
                    self.platform.says(name, State.SUCCEEDED, progress=Progress(1, 1))
            self.later()
            self.observe()
            self.later()
            self.collect()
            if (found := self.get(job)).terminal:
                return found
        raise AssertionError(f"the job did not end: {self.get(job)}")

    def invariants(self, job: Job) -> None:
        with self.database.read() as tx:
            events = jobs.events(tx, job.id)
            record = provenance.get(tx, job.id)
        assert record is not None
        assert record["job"]["phase"] == self.get(job).phase.value
        assert "incomplete" not in record
        assert len(record["events"]) == len(events)  # written in the transaction that ended it
        phases = [Phase(event["phase"]) for event in events]
        assert sum(phase in TERMINAL for phase in phases) == 1, events
        for old, new in pairwise(phases):
            assert new is old or new in LEGAL[old], (old, new)
        assert all(count == 1 for count in self.platform.executions.values())


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def test_of_many_jobs_only_the_end_is_read_whole(world: World) -> None:
    """Nothing is asked about those that go on, and what has ended waits for none of them."""
    world.offer = replace(world.offer, cores=4.0)
    names = [world.submitted(job_row(world.database)).name for _ in range(4)]
    for name in names:
        world.platform.says(name, State.RUNNING, progress=Progress(1, 3), message="Step 2.", next_look=1.0)
    look = partial(observe.observe, world.database, world.platform, "w", live=False, pause=3.0)
    assert {job.phase for job in look()} == {Phase.RUNNING}
    world.platform.says(names[0], State.SUCCEEDED)
    world.platform.faults["logs"] = [PlatformUnavailable("asked for nothing", sent=False)] * 4
    world.later()
    seen = look()
    assert sorted(job.phase for job in seen) == [Phase.COLLECTING] + [Phase.RUNNING] * 3
    assert len(world.platform.faults["logs"]) == 4  # that it has ended is saved first
    assert world.collect() is not None
    assert len(world.platform.faults["logs"]) == 3
    with world.database.read() as tx:
        due = tx.execute(select(table.c.due_at - now()).where(table.c.phase == Phase.RUNNING.value)).scalars().all()
        assert all(2.0 < seconds <= 3.0 for seconds in due), due
        going_on = [job for job in seen if job.phase is Phase.RUNNING]
        assert [len(jobs.events(tx, job.id)) for job in going_on] == [5] * 3  # nothing new, no event


def test_a_platform_is_told_what_it_need_not_look_for(world: World) -> None:
    job = job_row(world.database)
    world.platform.faults["submitted"] = [PlatformUnavailable("the answer was lost")]
    world.dispatch()
    assert world.platform.specs[job.name].first
    world.platform.specs.clear()
    world.platform.executions.clear()
    world.later()
    world.dispatch()
    assert not world.platform.specs[job.name].first
    again = job_row(world.database)
    world.platform.faults["submitted"] = [Killed()]
    with pytest.raises(Killed):
        world.dispatch()
    world.platform.executions.clear()
    world.later()
    world.dispatch()
    assert not world.platform.specs[again.name].first


NEAR = pytest.mark.parametrize("near", [True, False], ids=["near", "elsewhere"])


@NEAR
def test_a_job_that_goes_well(world: World, *, near: bool) -> None:
    world.platform = NearPlatform() if near else ScriptedPlatform()
    job = job_row(world.database)
    world.submitted(job)
    world.platform.says(job.name, State.RUNNING, started=5.0, progress=Progress(1, 3), message="Step 2.")
    (running,) = world.observe()
    assert (running.phase, running.progress, running.message) == (Phase.RUNNING, Progress(1, 3), "Step 2.")
    world.platform.says(job.name, State.SUCCEEDED, progress=Progress(3, 3))
    world.later()
    (ended,) = world.observe()
    assert ended.phase is Phase.COLLECTING
    if near:
        assert world.collect() is None  # whoever observed it holds it
        done = collect.go_on(database=world.database, platform=world.platform, storage=world.storage, job=ended)
    else:
        done = world.collect()
    assert done is not None
    assert (done.phase, done.outputs is not None, done.started) == (Phase.SUCCESSFUL, True, 5.0)
    with world.database.read() as tx:
        (kept,) = files.of_job(tx, job.id)
        assert (kept.path, kept.size, kept.media_type) == ("a.txt", 5, "text/plain")
        assert [row.text for row in files.logs(tx, job.id)] == [f"log of {job.name}\n"]
        assert [step.name for step in files.steps(tx, job.id, 1)] == ["main"]
    assert b"".join(world.storage.open(collect.key(done, 1, "a.txt"))) == b"hello"
    world.invariants(job)
    assert dismiss.release(world.database, world.platform, "w") == 1
    assert world.platform.released == [job.name]
    assert dismiss.release(world.database, world.platform, "w") == 0


FAULTS: dict[str, dict[str, list[BaseException | None]]] = {
    "killed before the platform hears": {"submit": [Killed()]},
    "killed before the answer arrives": {"submitted": [Killed()]},
    "killed between create and start": {"start": [Killed()]},
    "down at submit": {"submit": down(3)},
    "timeout after accepting": {"submitted": down(2)},
    "down between create and start": {"start": down(2)},
    "down at observe": {"observe": down(3)},
    "killed at observe": {"observe": [Killed()]},
    "no logs": {"logs": down(50)},
    "down at collect": {"collect": down(2)},
    "killed at collect": {"collect": [Killed()]},
    "killed while bytes move": {"open": [Killed()]},
    "connection lost while bytes move": {"open": down(2)},
    "storage full for a while": {"open": [StorageFull("No space left.")]},
}


@NEAR
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_each_step_harms_nothing(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch, *, near: bool
) -> None:
    world.platform = NearPlatform() if near else ScriptedPlatform()
    world.platform.faults = {verb: list(raised) for verb, raised in FAULTS[fault].items()}
    job = job_row(world.database)

    def surviving(verb: Callable[[], object]) -> Callable[[], object]:
        def call() -> object:
            try:
                return verb()
            except Killed:
                return None  # the next worker comes by later

        return call

    for verb in ("dispatch", "observe", "collect"):
        monkeypatch.setattr(world, verb, surviving(getattr(world, verb)))
    assert world.finish(job).phase is Phase.SUCCESSFUL
    world.invariants(job)


def test_a_refusal_fails_the_job_with_its_reason(world: World) -> None:
    world.platform.faults = {"submit": [PlatformRefused("No such image.", fault_of="package", code="invalid-package")]}
    job = job_row(world.database)
    failed = world.dispatch()
    assert failed is not None
    assert failed.failure == Failure(Fault.PACKAGE, Reason.INVALID_PACKAGE, "No such image.")
    world.invariants(job)


def test_waiting_for_a_platform_says_so_and_backs_off(world: World) -> None:
    world.platform.faults = {"submit": [PlatformUnavailable("busy", retry_after=120)]}
    job = job_row(world.database)
    waiting = world.dispatch()
    assert waiting is not None
    assert (waiting.phase, waiting.message) == (Phase.SUBMITTING, "Waiting for scripted: busy")
    assert world.dispatch() is None  # not before its time
    assert world.finish(job).phase is Phase.SUCCESSFUL


@NEAR
def test_a_failed_tool_is_not_tried_again(world: World, *, near: bool) -> None:
    world.platform = NearPlatform() if near else ScriptedPlatform()
    job = job_row(world.database)
    world.submitted(job)
    failure = Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "Exit 1.", "main", 1, "boom")
    world.platform.says(job.name, State.FAILED, failure=failure)
    (failed,) = world.observe()
    if not near:
        assert (failed.phase, "asking for its log" in failed.message) == (Phase.COLLECTING, True)
        failed = world.collect() or failed
    assert (failed.phase, failed.failure, failed.attempt) == (Phase.FAILED, failure, 1)
    with world.database.read() as tx:
        assert [row.text for row in files.logs(tx, job.id)] == [f"log of {job.name}\n"]
        assert [step.name for step in files.steps(tx, job.id, 1)] == ["main"]
    world.invariants(job)


ENDS: dict[str, list[tuple[str, BaseException]]] = {
    "killed when it is asked why": [("observe", Killed())],
    "down when it is asked why": [("observe", PlatformUnavailable("It does not answer."))],
    "killed at its log": [("logs", Killed())],
    "killed at its log, and then down": [("logs", Killed()), ("observe", PlatformUnavailable("It does not answer."))],
}


@pytest.mark.parametrize("fault", ENDS)
def test_why_a_job_failed_elsewhere_is_asked_until_it_is_known(world: World, fault: str) -> None:
    job = job_row(world.database)
    world.submitted(job)
    world.platform.says(job.name, State.FAILED, failure=Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, "In short."))
    (ended,) = world.observe()
    assert ended.phase is Phase.COLLECTING
    whole = Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "Exit 1.", "main", 1, "boom")
    world.platform.says(job.name, State.FAILED, failure=whole)
    for verb, raised in ENDS[fault]:
        world.platform.faults = {verb: [raised]}
        try:
            waiting = world.collect()
        except Killed:
            waiting = None
        assert waiting is None or waiting.phase is Phase.COLLECTING
        world.later()
    failed = world.collect()
    assert failed is not None
    assert (failed.phase, failed.failure) == (Phase.FAILED, whole)
    world.invariants(job)


@pytest.mark.parametrize("state", [State.FAILED, State.SUCCEEDED])
def test_one_that_ended_elsewhere_is_dismissed_before_it_is_asked(world: World, state: State) -> None:
    job = job_row(world.database)
    world.submitted(job)
    failure = Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, "In short.")
    world.platform.says(job.name, state, failure=failure if state is State.FAILED else None)
    (ended,) = world.observe()
    assert ended.phase is Phase.COLLECTING
    dismiss.request(world.database, LOCAL, job.id)
    (dismissed,) = dismiss.carry_out(world.database, world.platform, "w")
    assert (dismissed.phase, dismissed.failure) == (Phase.DISMISSED, None)
    world.invariants(job)


def test_results_that_are_lost_are_asked_for_anew_at_the_next_attempt(world: World) -> None:
    """Also where those of the attempt before were known already."""
    job = job_row(world.database)
    world.submitted(job)
    world.platform.says(job.name, State.SUCCEEDED)
    world.observe()
    world.platform.faults = {"open": [PlatformRefused("They are gone.", code="lost")]}
    again = world.collect()
    assert again is not None
    assert (again.phase, again.attempt, again.outputs) == (Phase.ACCEPTED, 2, None)
    world.platform.outputs = {"a.txt": "second"}
    done = world.finish(job)
    assert done.phase is Phase.SUCCESSFUL
    assert b"".join(world.storage.open(collect.key(done, 2, "a.txt"))) == b"second"
    world.invariants(job)


def test_a_lost_attempt_is_tried_again_but_not_for_ever(world: World) -> None:
    job = job_row(world.database)
    for attempt in (1, 2, 3):
        at = world.submitted(job)
        assert at.attempt == attempt
        world.platform.states.clear()
        (after,) = world.observe()
        world.later()
    assert after.phase is Phase.FAILED
    assert after.failure is not None
    assert after.failure.reason is Reason.LOST
    assert list(world.platform.executions.values()) == [1, 1, 1]


def test_storage_that_is_full_holds_the_job_until_there_is_space(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise StorageFull("There is no space left for outputs.")

    job = job_row(world.database)
    world.submitted(job)
    world.platform.says(job.name, State.SUCCEEDED)
    world.observe()
    with monkeypatch.context() as patched:
        patched.setattr(world.storage, "keep", full)
        world.free()
        waiting = world.collect()
    assert waiting is not None
    assert waiting.phase is Phase.COLLECTING
    assert "no space left" in waiting.message
    world.later()
    done = world.collect()
    assert done is not None
    assert done.phase is Phase.SUCCESSFUL
    world.invariants(job)


def test_dismiss_before_dispatch(world: World) -> None:
    job = job_row(world.database)
    assert dismiss.request(world.database, LOCAL, job.id).dismiss_requested
    assert world.dispatch() is None
    (ended,) = dismiss.carry_out(world.database, world.platform, "w")
    assert ended.phase is Phase.DISMISSED
    assert world.platform.executions == {}
    assert dismiss.request(world.database, LOCAL, job.id).phase is Phase.DISMISSED
    world.invariants(job)


def test_dismiss_reaches_the_platform(world: World) -> None:
    job = job_row(world.database)
    world.submitted(job)
    dismiss.request(world.database, LOCAL, job.id)
    world.platform.faults = {"cancel": down(1)}
    (waiting,) = dismiss.carry_out(world.database, world.platform, "w")
    assert waiting.phase is Phase.SUBMITTED
    (ended,) = dismiss.carry_out(world.database, world.platform, "w")
    assert ended.phase is Phase.DISMISSED
    assert world.platform.cancelled == [job.name]
    world.invariants(job)


def test_a_job_that_finishes_while_it_is_dismissed_ends_dismissed(world: World) -> None:
    job = job_row(world.database)
    world.submitted(job)
    dismiss.request(world.database, LOCAL, job.id)
    world.platform.says(job.name, State.SUCCEEDED)
    world.later()
    (ended,) = world.observe()
    assert ended.phase is Phase.DISMISSED
    world.invariants(job)


def test_a_finished_job_cannot_be_dismissed(world: World) -> None:
    job = job_row(world.database)
    world.finish(job)
    with pytest.raises(WrongPhase):
        dismiss.request(world.database, LOCAL, job.id)
    with pytest.raises(NoSuchJob):
        dismiss.request(world.database, LOCAL, "unknown")


def test_stopping_a_platform_starts_its_jobs_again_later(world: World) -> None:
    job = job_row(world.database)
    world.submitted(job)
    assert stop.stop(world.database, world.platform, "w") == 1
    again = world.get(job)
    assert (again.phase, again.attempt, again.losses) == (Phase.ACCEPTED, 2, 0)
    assert world.finish(job).phase is Phase.SUCCESSFUL
    world.invariants(job)


def test_no_outputs_are_left_of_an_earlier_attempt(world: World) -> None:
    job = job_row(world.database)
    world.submitted(job)
    with world.database.write() as tx:
        files.announce(tx, job.id, 1, [])
    assert world.finish(job).phase is Phase.SUCCESSFUL
    with world.database.read() as tx:
        assert [file.attempt for file in files.of_job(tx, job.id)] == [1]
