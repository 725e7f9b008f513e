"""What a platform says of a job at one look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from broker.jobs.model import Failure, Progress

Handle = Mapping[str, Any]
LONGEST_LOOK = 8.0  # seconds until a job elsewhere is looked at again: what is known of it is never 10 s old


class State(StrEnum):
    """What a platform says of a job. LOST: it was submitted and is unknown now, or nobody can finish it."""

    QUEUED = "queued"
    RUNNING = "running"
    NEEDS = "needs"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Need:
    """A step of a package that another platform is to run. `key`: the digest of tool and inputs; `platform`: the name
    that the package gives; `tool`: a CWL document by itself. Its job order is what `collect` gives as the output `key`.
    """

    key: str
    step: str
    platform: str
    tool: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at one attempt. `failure` is set when FAILED (and may be when LOST). `facts`: of an attempt that has
    ended, what its record of provenance needs (`broker.jobs.record`). `needs`: of one that has ended with NEEDS, what
    the next attempt is to be brought."""

    name: str
    state: State
    message: str = ""
    started: float | None = None
    finished: float | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    next_look: float | None = None  # seconds until it is worth looking again; None: the broker decides
    facts: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
