"""What the metadata of an openEO job mean: pure. Times are seconds since the epoch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from broker.jobs.model import Failure, Fault, Progress, Reason, Step
from broker.jobs.observation import LONGEST_LOOK, Observation, State
from broker.jobs.record import kept_small, known, unsigned_value
from broker.platform import Estimate

DISMISSED = "Dismissed before it was started."  # the description of a job that keeps another one from being made
STEP = "process"  # the only step, and its log
TAIL = 4000  # characters of the log in a failure
_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?")
_UNITS = (7 * 86400, 86400, 3600, 60, 1)
_STATES = {
    "queued": State.QUEUED,
    "running": State.RUNNING,
    "finished": State.SUCCEEDED,
    "error": State.FAILED,
    "canceled": State.CANCELLED,
}


def state(job: Mapping[str, Any]) -> State:
    """A job that is `created` waits to be started, unless it was put there so that no other one is."""
    status = str(job.get("status"))
    if status == "created" and job.get("description") == DISMISSED:
        return State.CANCELLED
    return _STATES.get(status, State.QUEUED)


def moment(text: Any) -> float | None:
    """The seconds of an RFC 3339 time."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def times(job: Mapping[str, Any], began: float | None) -> tuple[float | None, float | None]:
    """Start and end. API 1.2 tells no start: there it is taken from the duration, or from when we asked for it."""
    ended = moment(job.get("updated")) if state(job) in (State.SUCCEEDED, State.FAILED, State.CANCELLED) else None
    started = moment(job.get("started"))
    if started is None:
        seconds = ((job.get("usage") or {}).get("duration") or {}).get("value")
        took = float(seconds) if isinstance(seconds, int | float) and ended is not None else None
        started = ended - took if ended is not None and took is not None else began
    if started is None:
        started = moment(job.get("created"))
    return started, ended if ended is None or started is None else max(started, ended)


def observation(
    name: str, job: Mapping[str, Any], *, now: float, began: float | None = None, errors: Iterable[str] = ()
) -> Observation:
    """One look. `began`: when the start was asked for; `errors`: what the log of a failed job says."""
    found = state(job)
    started, ended = times(job, began)
    if found is State.FAILED:
        return Observation(name, found, "", started, ended, None, failure(list(errors)))
    progress = job.get("progress")
    percent = int(progress) if isinstance(progress, int | float) and found is State.RUNNING else None
    message = {State.QUEUED: "Queued there.", State.RUNNING: "Running there."}.get(found, "")
    if percent is not None:
        message = f"Running there, {percent} %."
    done = Progress(1, 1) if found is State.SUCCEEDED else Progress(percent, 100) if percent is not None else None
    age = now - (began or moment(job.get("created")) or now)
    look = min(LONGEST_LOOK, max(1.0, age / 10))
    return Observation(
        name, found, message, started if found is not State.QUEUED else None, ended, done, next_look=look
    )


def failure(errors: list[str]) -> Failure:
    """Why a job failed: its own log says so, or else nobody does."""
    if not errors:
        text = "The platform ended the job with an error and logged no reason; most often it ran out of memory."
        return Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, text)
    return Failure(Fault.PACKAGE, Reason.TOOL_FAILED, errors[-1][:1000], STEP, None, "\n".join(errors)[-TAIL:])


def step(job: Mapping[str, Any], began: float | None) -> Step:
    """The one step of the job, with what the platform measured."""
    started, ended = times(job, began)
    status = {State.SUCCEEDED: "successful", State.FAILED: "failed", State.CANCELLED: "failed"}.get(
        state(job), "running"
    )
    cpu = (job.get("usage") or {}).get("cpu") or {}
    seconds = cpu.get("value") if str(cpu.get("unit", "")).lower().replace("_", "-") == "cpu-seconds" else None
    return Step(STEP, status, started, ended, cpu_seconds=float(seconds) if seconds is not None else None, log=STEP)


def line(entry: Mapping[str, Any]) -> str:
    """An entry of the log."""
    level = str(entry.get("level") or "info").lower()
    text = str(entry.get("message") or "").rstrip()
    return text if level in ("info", "debug") else f"{level.upper()}: {text}"


def currency(back_end: Mapping[str, Any]) -> str:
    return str((back_end.get("billing") or {}).get("currency") or "credits")


def account(me: Mapping[str, Any], back_end: Mapping[str, Any]) -> str:
    """A sentence of `GET /me`: who, plan, what is left to spend (null: no bound) and to store."""
    who = str(me.get("name") or me.get("user_id") or "")[:100]
    said = [f"Account {who}" if who else "Account taken"]
    if plan := me.get("default_plan"):
        said.append(f"plan {str(plan)[:60]}")
    if (left := budget(me)) is not None:
        said.append(f"{left:g} {currency(back_end)} left")
    storage = me.get("storage")
    if isinstance(storage, Mapping) and isinstance(storage.get("free"), int):
        said.append(f"{storage['free'] / 1e9:.1f} GB of storage free")
    return ", ".join(said) + "."


def budget(me: Mapping[str, Any]) -> float | None:
    """What an account may still spend; None: without bound, or not said."""
    found = me.get("budget")
    return float(found) if isinstance(found, int | float) else None


def estimated(back_end: Mapping[str, Any], found: Mapping[str, Any]) -> Estimate:
    """What a back-end says that a job would take."""
    costs, size = found.get("costs"), found.get("size")
    return Estimate(
        costs=float(costs) if isinstance(costs, int | float) else None,
        currency=currency(back_end),
        duration=seconds(found.get("duration")),
        size=size if isinstance(size, int) else None,
        text=f"Good until {found['expires']}." if found.get("expires") else "",
    )


def seconds(duration: Any) -> float | None:
    """Of an ISO 8601 duration without months and years."""
    parts = _DURATION.fullmatch(str(duration))
    if parts is None or not any(parts.groups()):
        return None
    return sum(float(number or 0) * unit for number, unit in zip(parts.groups(), _UNITS, strict=True))


def facts(back_end: Mapping[str, Any], url: str, job: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What the record of provenance says of a job that ended there. Nothing that signs a link is in it."""
    costs = job.get("costs")
    told = known(
        {
            "kind": "openeo",
            "server": url,
            "title": back_end.get("title"),
            "version": back_end.get("backend_version"),
            "apiVersion": back_end.get("api_version"),
            "jobId": job.get("id"),
            "process": kept_small(unsigned_value(job.get("process"))),
            **{name: job.get(name) for name in ("created", "updated", "usage", "costs", "plan", "budget")},
            **more,
        }
    )
    found: dict[str, Any] = {
        "delegated": told,
        "engine": known({"name": told.get("title"), "version": told.get("version")}),
    }
    if isinstance(costs, int | float):
        found["costs"] = {"amount": costs, "currency": currency(back_end)}
    return found
