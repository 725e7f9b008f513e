"""The life cycle: what each thing that happens to a job means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs import lifecycle
from broker.jobs.lifecycle import LEGAL, Child, IllegalTransition
from broker.jobs.model import TERMINAL, Failure, Fault, Job, Needs, Phase, Progress, Reason
from broker.jobs.observation import Need, Observation, State

JOB = Job("id", "o", "p", "proc", 1, Phase.RUNNING, "local@h", 1, 1, "", (), {}, {}, (), Needs(), 0.0, 0.0)


def seen(state: State, **fields: object) -> Observation:
    return Observation(JOB.name, state, **fields)  # type: ignore[arg-type]


def test_terminal_phases_are_final() -> None:
    assert all(not LEGAL[phase] for phase in TERMINAL)
    assert all(Phase.DISMISSED in LEGAL[phase] for phase in set(Phase) - TERMINAL)
    with pytest.raises(IllegalTransition):
        lifecycle.check(Phase.FAILED, Phase.ACCEPTED)


@given(
    phase=st.sampled_from([Phase.SUBMITTED, Phase.RUNNING]),
    state=st.sampled_from(list(State)),
    wished=st.booleans(),
    losses=st.integers(0, 5),
)
def test_whatever_is_seen_leads_to_a_legal_phase(phase: Phase, state: State, wished: bool, losses: int) -> None:
    job = replace(JOB, phase=phase, dismiss_requested=wished, losses=losses)
    change = lifecycle.observed(job, seen(state))
    lifecycle.check(job.phase, change.phase or job.phase)
    if wished and state in lifecycle.ENDED:
        assert change.phase is Phase.DISMISSED


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (State.SUCCEEDED, Phase.COLLECTING),
        (State.FAILED, Phase.FAILED),
        (State.LOST, Phase.ACCEPTED),
        (State.CANCELLED, Phase.ACCEPTED),
        (State.RUNNING, None),
        (State.QUEUED, None),
    ],
)
def test_observations(state: State, phase: Phase | None) -> None:
    assert lifecycle.observed(JOB, seen(state)).phase is phase


def test_a_job_lost_too_often_fails_and_says_whose_fault() -> None:
    change = lifecycle.observed(replace(JOB, losses=2), seen(State.LOST))
    assert change.phase is Phase.FAILED
    assert change.failure is not None
    assert (change.failure.fault, change.failure.reason) == (Fault.PLATFORM, Reason.LOST)


def test_the_same_again_leaves_no_event() -> None:
    job = replace(JOB, message="Running.", progress=Progress(1, 3))
    assert lifecycle.observed(job, seen(State.RUNNING, message="Running.", progress=Progress(1, 3))).event == ""
    assert lifecycle.observed(job, seen(State.RUNNING, progress=Progress(2, 3))).event == "observed"


def test_unavailable_waits_longer_each_time_or_as_told() -> None:
    waits = [lifecycle.unavailable(replace(JOB, retries=n), PlatformUnavailable("down")).due_in for n in range(7)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert lifecycle.unavailable(JOB, PlatformUnavailable("busy", retry_after=7)).due_in == 7


def test_refused_fails_with_the_reason() -> None:
    failure = lifecycle.refused(JOB, PlatformRefused("No.", code="platform-refused")).failure
    assert failure == Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, "No.")


@pytest.mark.parametrize(
    ("phase", "wished", "status"),
    [
        (Phase.CREATED, False, "created"),
        (Phase.SUBMITTING, False, "accepted"),
        (Phase.COLLECTING, False, "running"),
        (Phase.WAITING, True, "dismissed"),
        (Phase.SUCCESSFUL, True, "successful"),
    ],
)
def test_ogc_status(phase: Phase, wished: bool, status: str) -> None:
    assert lifecycle.status(phase, wished) == status


def test_progress_is_honest() -> None:
    assert Progress(3, None).percent is None
    assert Progress(0, 0).percent is None
    assert Progress(2, 3).percent == 66
    assert Progress(3, 3).percent == 100


def test_values_survive_json() -> None:
    failure = Failure(Fault.STAGING, Reason.INPUT_UNREACHABLE, "x", "s", 4, "log")
    assert Failure.from_json(failure.to_json()) == failure
    needs = Needs(cores=2, features=frozenset({"A"}), images={"i": True}, time_limit=3.0)
    assert Needs.from_json(needs.to_json()) == needs


def test_what_other_platforms_need_is_kept_first() -> None:
    change = lifecycle.observed(JOB, seen(State.NEEDS, needs=(Need("k", "ndwi", "openeo", {}),)))
    assert (change.phase, change.event) == (Phase.COLLECTING, "needs")
    assert "openeo" in str(change.message)
    lifecycle.check(Phase.COLLECTING, lifecycle.waiting().phase or Phase.FAILED)


def child(phase: Phase, failure: Failure | None = None) -> Child:
    return Child("c", "ndwi", "far", phase, failure)


def test_a_job_goes_on_when_all_its_children_have_succeeded() -> None:
    job = replace(JOB, phase=Phase.WAITING)
    change = lifecycle.brought(job, [child(Phase.SUCCESSFUL), child(Phase.SUCCESSFUL)])
    assert (change.phase, change.next_attempt) == (Phase.ACCEPTED, True)
    waits = lifecycle.brought(job, [child(Phase.SUCCESSFUL), child(Phase.COLLECTING)])
    assert (waits.phase, waits.message) == (None, "Waiting for 1 of 2 steps on far.")
    assert waits.due_in


@pytest.mark.parametrize(
    ("phase", "failure", "said"),
    [
        (Phase.FAILED, Failure(Fault.INPUT, Reason.INVALID_INPUT, "There is no band B99."), "There is no band B99."),
        (Phase.DISMISSED, None, "was dismissed"),
    ],
)
def test_a_job_fails_as_its_child_did_whatever_the_others_do(phase: Phase, failure: Failure | None, said: str) -> None:
    change = lifecycle.brought(replace(JOB, phase=Phase.WAITING), [child(phase, failure), child(Phase.RUNNING)])
    assert change.phase is Phase.FAILED
    assert change.failure is not None
    assert change.failure.step == "ndwi"
    assert change.failure.fault is (failure.fault if failure else Fault.PLATFORM)
    assert said in change.failure.message
