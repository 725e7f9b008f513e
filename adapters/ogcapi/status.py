"""What a status document says, whichever way its server writes it: pure.

Deviations seen: `id` (2.0 draft) or `identifier` for `jobID`; words of WPS, openEO and GA4GH for the status; times
without a zone; `null` instead of a document (pygeoapi before 0.17).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from broker.jobs.model import Failure, Fault, Progress, Reason
from broker.jobs.observation import LONGEST_LOOK, Observation, State
from broker.jobs.secrets import unsigned

_WORDS = {
    State.QUEUED: ("accepted", "created", "queued", "pending", "submitted", "initializing", "paused"),
    State.RUNNING: ("running", "started", "processing", "retrying"),
    State.SUCCEEDED: ("successful", "succeeded", "success", "finished", "completed", "complete", "done"),
    State.FAILED: ("failed", "failure", "error", "exception", "timeout"),
    State.CANCELLED: ("dismissed", "dismiss", "canceled", "cancelled", "revoked", "deleted"),
}
STATES = {word: state for state, words in _WORDS.items() for word in words}
SHOWN = 2000  # characters of a message
_SOONEST, _PART = 1.0, 0.1  # seconds, and of the job's age, until it is worth looking again


def is_status(value: Any) -> bool:
    """Whether a document is the status of a job, and not its results."""
    return isinstance(value, Mapping) and isinstance(value.get("status"), str) and job_id(value) is not None


def job_id(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    return next((str(value[key]) for key in ("jobID", "id", "identifier") if value.get(key)), None)


def state(value: Mapping[str, Any]) -> State:
    """A word that nobody knows is taken for work that goes on: the job ends when the server says one that we know."""
    return STATES.get(str(value.get("status")).lower(), State.RUNNING)


def observation(name: str, value: Mapping[str, Any], now: float) -> Observation:
    """The status as one look at a job. Results that were deleted there are those of a lost job."""
    found = state(value)
    message = unsigned(str(value.get("message") or ""))[:SHOWN]
    started = moment(value.get("started")) or moment(value.get("created"))
    if found is State.SUCCEEDED and value.get("resultsDeleted"):
        return Observation(name, State.LOST, "its results were deleted there.")
    ended = found in (State.SUCCEEDED, State.FAILED, State.CANCELLED)
    age = max(0.0, now - (moment(value.get("created")) or now))
    return Observation(
        name,
        found,
        message if found is not State.SUCCEEDED else "",
        started,
        (moment(value.get("finished")) or moment(value.get("updated"))) if ended else None,
        _progress(value, found),
        failure(value) if found is State.FAILED else None,
        None if ended else min(LONGEST_LOOK, max(_SOONEST, age * _PART)),
    )


def _progress(value: Mapping[str, Any], found: State) -> Progress | None:
    """Percent, except of one that has succeeded: that is one step, done."""
    if found is State.SUCCEEDED:
        return Progress(1, 1)
    percent = value.get("progress")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        return None
    return Progress(min(int(percent), 99), 100)


def failure(value: Mapping[str, Any], why: str = "") -> Failure:
    """Why a job failed: as a broker of our kind says it, else in the words of its status, or of its results (`why`)."""
    found = value.get("failure")
    if isinstance(found, Mapping):
        try:
            told = Failure.from_json(found)
            fault = Fault.PLATFORM if told.fault is Fault.BROKER else told.fault  # theirs, not ours
            code = told.exit_code if isinstance(told.exit_code, int) else None
            tail = unsigned(str(told.log_tail))[-SHOWN:]
            return Failure(fault, told.reason, unsigned(str(told.message))[:SHOWN], None, code, tail)
        except (KeyError, ValueError):
            pass  # a word of its own: then its sentences have to do
    exception = value.get("exception")
    words = [value.get("message") or why]
    if isinstance(exception, Mapping):
        words += [exception.get("title"), exception.get("detail")]
    said = " ".join(dict.fromkeys(one for one in words if isinstance(one, str) and one))
    text = unsigned(said)[:SHOWN] or "The server does not say why."
    return Failure(Fault.PACKAGE, Reason.TOOL_FAILED, f"The process failed there: {text}")


def moment(text: Any) -> float | None:
    """A time in epoch seconds; without a zone it is UTC."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
