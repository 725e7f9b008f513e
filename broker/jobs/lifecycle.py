"""Which moves a job may make, and what each thing that happens to it means: pure decisions.

    created? -> accepted -> submitting -> submitted -> running -> collecting -> successful
                   ^            |             |           |          |    |
                   +------------+-------------+-----------+  lost    |    +-> failed
                   |                                                 v
                   +---------------------------------------------- waiting     any of them --> dismissed

It waits for the jobs that run steps of it on other platforms; then its next attempt has what they gave.

Each function takes the job as its row says and something that happened, and gives the `Change` to save.
Short jobs may skip `running` (a platform may first be asked when the job has ended), and jobs that have the results of
an earlier one go from `accepted` or `submitting` to `collecting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import TERMINAL, Failure, Fault, Job, Phase, Progress, Reason
from broker.jobs.observation import Handle, Observation, State

P = Phase
LEGAL: Mapping[Phase, frozenset[Phase]] = {
    P.CREATED: frozenset({P.ACCEPTED, P.DISMISSED}),
    P.ACCEPTED: frozenset({P.SUBMITTING, P.COLLECTING, P.FAILED, P.DISMISSED}),
    P.SUBMITTING: frozenset({P.SUBMITTED, P.COLLECTING, P.ACCEPTED, P.FAILED, P.DISMISSED}),
    P.SUBMITTED: frozenset({P.RUNNING, P.COLLECTING, P.ACCEPTED, P.FAILED, P.DISMISSED}),
    P.RUNNING: frozenset({P.COLLECTING, P.ACCEPTED, P.FAILED, P.DISMISSED}),
    P.WAITING: frozenset({P.ACCEPTED, P.FAILED, P.DISMISSED}),
    P.COLLECTING: frozenset({P.SUCCESSFUL, P.WAITING, P.ACCEPTED, P.FAILED, P.DISMISSED}),
    P.SUCCESSFUL: frozenset(),
    P.FAILED: frozenset(),
    P.DISMISSED: frozenset(),
}

LOST_RETRIES = 2  # further attempts after a platform lost one; the job's own failures are never retried
FIRST_LOOK = 1.0  # seconds; where a platform sends events, looking is only the safety net
LONGEST_LOOK = 30.0
CHILDREN_LOOK = 60.0  # seconds; the end of each child nudges its parent, this is the safety net
MOST_TOLD = 100  # names in an event
STUMBLES = 5  # errors of the broker's own at one attempt, before it gives up


class IllegalTransition(Exception):
    """A bug: somebody asked for a move that no job may make."""


@dataclass(frozen=True, slots=True)
class Child:
    """A job that runs a step of another one, as that one sees it."""

    id: str
    step: str
    platform: str
    phase: Phase
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What to write on the job row, with the event that records it. None means: leave as it is.

    `due_in`: seconds until the reconciler should look at the job again (None: not before something happens).
    """

    event: str
    phase: Phase | None = None
    message: str | None = None
    handle: Handle | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    outputs: Mapping[str, Any] | None = None
    started: float | None = None
    finished: float | None = None
    next_attempt: bool = False
    due_in: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def check(old: Phase, new: Phase) -> None:
    """Raise IllegalTransition unless a job may go from `old` to `new` (staying is always allowed)."""
    if new is not old and new not in LEGAL[old]:
        raise IllegalTransition(f"{old} -> {new}")


def backoff(tries: int, first: float = FIRST_LOOK, longest: float = LONGEST_LOOK) -> float:
    """Seconds to wait after `tries` fruitless tries: doubling from `first`, at most `longest`."""
    return min(longest, first * 2.0 ** min(tries, 16))


def submitted(handle: Handle) -> Change:
    """A handle arrived; one with the key `pending` names a step of the submission that is still to come."""
    if "pending" in handle:
        return Change("handle", handle=handle, due_in=0.0)
    return Change("submitted", P.SUBMITTED, handle=handle, message="Submitted.", due_in=FIRST_LOOK)


def unavailable(job: Job, error: PlatformUnavailable) -> Change:
    """The platform did not answer: the job is unharmed and tried again, more and more rarely."""
    wait = error.retry_after if error.retry_after is not None else backoff(job.retries)
    # back in the line, from where it may go elsewhere: only what certainly is not there yet
    phase = P.ACCEPTED if not error.sent and untouched(job) else None
    return Change("platform-unavailable", phase, message=f"Waiting for {job.platform}: {error.detail}", due_in=wait)


def untouched(job: Job) -> bool:
    """Whether no platform can know of the job: nothing was submitted, nor tried in a way that may have arrived. Who is
    back in the line at the first attempt was not."""
    first_try = job.phase is P.ACCEPTED or (job.phase is P.SUBMITTING and job.retries == 0)
    return job.attempt == 1 and job.handle is None and first_try


def moved(job: Job, platform: str, why: str) -> Change:
    """Another platform takes a job that waits, before anything of it was sent to the one that it waits for."""
    data = {"from": job.platform, "platform": platform, "why": why}
    return Change("moved", message=f"Moved from {job.platform}. {why}", due_in=0.0, data=data)


def refused(job: Job, error: PlatformRefused) -> Change:
    """The platform will not run the job, or (code `lost`) no longer has what it left."""
    if error.code == Reason.LOST:
        return lost(job, error.detail)
    return failed(Failure(Fault(error.fault_of), Reason(error.code), str(error)))


def stumbled(times: int) -> Change:
    """The broker itself failed at the job, after `times` other errors: tried again, ever more rarely, then failed."""
    if times < STUMBLES:
        return Change("stumbled", message="The broker failed at this job, and tries again.", due_in=backoff(times))
    message = "The broker failed at this job again and again; its operator finds the reason in the worker's log."
    return failed(Failure(Fault.BROKER, Reason.BROKER_ERROR, message))


def failed(failure: Failure, finished: float | None = None, started: float | None = None) -> Change:
    return Change("failed", P.FAILED, message=failure.message, failure=failure, started=started, finished=finished)


def collected(job: Job) -> Change:
    """All outputs are kept."""
    message = f"It did not run: these are the results of the job {job.reused}." if job.reused else ""
    return Change("successful", P.SUCCESSFUL, message=message)


def reused(source: str) -> Change:
    """An earlier job computed the same: its outputs are copied."""
    message = f"Taking over the results of the job {source}."
    return Change("reused", P.COLLECTING, message=message, data={"job": source}, due_in=0.0)


def not_reused() -> Change:
    """The outputs that were to be copied are gone: the job runs after all."""
    message = "The results that it was to take over are gone: it runs."
    return Change("not-reused", P.ACCEPTED, message=message, next_attempt=True, due_in=0.0)


def dismissed(finished: float | None = None, started: float | None = None) -> Change:
    message = "Dismissed at the request of its owner."
    return Change("dismissed", P.DISMISSED, message=message, started=started, finished=finished)


def lost(job: Job, what: str) -> Change:
    """An attempt is gone without a verdict: the next attempt, or failure when there were enough."""
    if job.losses >= LOST_RETRIES:
        return failed(
            Failure(
                Fault.PLATFORM,
                Reason.LOST,
                f"The job was lost {job.losses + 1} times on {job.platform}: {what} Try again, or ask its operator.",
            )
        )
    return Change("lost", P.ACCEPTED, message=f"Attempt {job.attempt} was lost: {what}", next_attempt=True, due_in=0.0)


def observed(job: Job, seen: Observation) -> Change:
    """What one look at the platform means; without an event where nothing changed."""
    if job.dismiss_requested and seen.state in ENDED:
        return dismissed(seen.finished, seen.started)
    match seen.state:
        case State.SUCCEEDED:
            return Change(
                "finished",
                P.COLLECTING,
                message="Collecting outputs.",
                started=seen.started,
                finished=seen.finished,
                progress=seen.progress,
                due_in=0.0,
            )
        case State.FAILED:
            failure = seen.failure or Failure(Fault.PLATFORM, Reason.BROKER_ERROR, "The platform gave no reason.")
            return failed(failure, seen.finished, seen.started)
        case State.CANCELLED:
            return lost(job, "the platform says that it was cancelled there.")
        case State.LOST:
            return lost(job, seen.message or "the platform no longer knows it.")
        case State.RUNNING:
            return _running(job, seen)
        case State.NEEDS:
            return _needs(seen)
        case State.QUEUED:
            return _changed(job, Change("observed", message=seen.message or job.message, due_in=_look(job, seen)))


def ended_there(job: Job, seen: Observation) -> Change | None:
    """The end of a job elsewhere, which is saved before anything else is asked for: what one left that succeeded, and
    why one failed. None where it has not ended so."""
    change = observed(job, seen)
    if seen.state is State.SUCCEEDED and change.phase is P.COLLECTING:
        return replace(change, message=f"It has ended on {job.platform}: asking for its results.")
    if seen.state is State.FAILED and change.phase is P.FAILED:
        message = f"It has failed on {job.platform}: asking for its log."
        return replace(change, event="finished", phase=P.COLLECTING, message=message, due_in=0.0)
    return None


def _needs(seen: Observation) -> Change:
    """Steps are to run elsewhere: what goes in there is kept first, as outputs are."""
    platforms = {need.platform for need in seen.needs if need.platform}
    message = f"Keeping what other platforms need: {', '.join(sorted(platforms)) or 'openEO'}."
    data = {"steps": [need.step for need in seen.needs][:MOST_TOLD]}
    progress, started = seen.progress, seen.started
    return Change("needs", P.COLLECTING, message=message, started=started, progress=progress, due_in=0.0, data=data)


def waiting() -> Change:
    """What other platforms need is kept: jobs are made of it."""
    return Change("waiting", P.WAITING, message="Sending steps to other platforms.", due_in=0.0)


def brought(job: Job, children: Sequence[Child]) -> Change:
    """What the jobs that run steps of a job mean for it: it waits on, goes on with what they gave, or fails as the
    first of them that did."""
    for child in children:
        if child.phase in (P.FAILED, P.DISMISSED):
            return failed(_of_child(child))
    left = [child for child in children if child.phase is not P.SUCCESSFUL]
    if not left:
        steps = f"{len(children)} steps" if len(children) > 1 else "a step"
        text = f"Going on with what {steps} gave on other platforms."
        return Change("brought", P.ACCEPTED, message=text, next_attempt=True, due_in=0.0)
    names = ", ".join(sorted({child.platform for child in left}))
    message = f"Waiting for {len(left)} of {len(children)} steps on {names}."
    return Change("observed" if message != job.message else "", message=message, due_in=CHILDREN_LOOK)


def _of_child(child: Child) -> Failure:
    where = f"The step {child.step} on {child.platform}"
    if child.phase is P.DISMISSED or child.failure is None:
        text = f"{where} was dismissed (its job is {child.id})."
        return Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, text, child.step)
    found = child.failure
    return replace(found, message=f"{where} failed (its job is {child.id}): {found.message}", step=child.step)


def stopped(job: Job) -> Change:
    """Its platform was stopped under it, on purpose: the next attempt starts when the platform is back."""
    return Change("stopped", P.ACCEPTED, message="Stopped with its platform.", next_attempt=True, due_in=0.0)


ENDED = frozenset({State.SUCCEEDED, State.NEEDS, State.FAILED, State.CANCELLED, State.LOST})


def _running(job: Job, seen: Observation) -> Change:
    if job.phase is P.SUBMITTED:
        return Change(
            "running",
            P.RUNNING,
            message=seen.message or "Running.",
            started=seen.started,
            progress=seen.progress,
            due_in=_look(job, seen),
        )
    return _changed(
        job,
        Change("observed", message=seen.message or job.message, progress=seen.progress, due_in=_look(job, seen)),
    )


def _changed(job: Job, change: Change) -> Change:
    """Same facts again: keep the change for its `due_in`, but leave no event."""
    same = change.message == job.message and (change.progress is None or change.progress == job.progress)
    return Change("", due_in=change.due_in) if same else change


def _look(job: Job, seen: Observation) -> float:
    return seen.next_look if seen.next_look is not None else backoff(0)


def status(phase: Phase, dismiss_requested: bool = False) -> str:
    """The OGC API - Processes status code (statusCode.yaml) of a phase.

    A recorded wish to dismiss shows at once: from then on the job can only end dismissed.
    """
    if dismiss_requested and phase not in TERMINAL:
        return "dismissed"
    if phase in (P.CREATED, P.ACCEPTED, P.SUBMITTING, P.SUBMITTED):
        return "created" if phase is P.CREATED else "accepted"
    if phase in (P.RUNNING, P.WAITING, P.COLLECTING):
        return "running"
    return phase.value
