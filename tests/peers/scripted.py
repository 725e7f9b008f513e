"""A platform whose every answer the test decides: for faults that no real platform shows on demand.

Deviations from a real platform: it runs nothing; time does not pass in it; its outputs are texts in memory. It
keeps the promise that matters to the tests: one execution per name, however often a name is submitted.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from broker.errors import PlatformUnavailable
from broker.jobs.model import Attempt, Capabilities, JobSpec, Step
from broker.jobs.observation import Handle, Observation, State
from broker.platform import Collected, Health, LogChunk, LogPage, OutputFile


class Killed(BaseException):
    """The worker dies here: nothing may catch it."""


@dataclass
class ScriptedPlatform:
    """`faults`: verb -> what its next calls raise, in turn (None: this call goes through)."""

    name: str = "scripted"
    page: int = 10
    faults: dict[str, list[BaseException | None]] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)  # name -> how often it was really started
    states: dict[str, Observation] = field(default_factory=dict)
    specs: dict[str, JobSpec] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=lambda: {"a.txt": "hello"})
    cancelled: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    ran: tuple[Step, ...] = (Step("main", "successful", 1.0, 2.0, 0),)
    forgotten: list[str] = field(default_factory=list)

    def _fault(self, verb: str) -> None:
        queue = self.faults.get(verb)
        fault = queue.pop(0) if queue else None
        if fault is not None:
            raise fault

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        self._fault("submit")
        if spec.name not in self.executions:
            self.executions[spec.name] = 1
            self.states[spec.name] = Observation(spec.name, State.QUEUED)
            self.specs[spec.name] = spec
        self._fault("submitted")  # it has the job, and the answer is lost
        yield {"created": spec.name, "pending": "start"}
        self._fault("start")
        yield {"created": spec.name, "started": True}

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        self._fault("observe")
        return [self.states[a.name] for a in attempts if a.name in self.states]

    def says(self, name: str, state: State, **fields: object) -> None:
        """From now on the platform says this of the job."""
        self.states[name] = Observation(name, state, **fields)  # type: ignore[arg-type]

    def cancel(self, attempt: Attempt) -> None:
        self._fault("cancel")
        self.cancelled.append(attempt.name)
        if attempt.name in self.states:
            self.says(attempt.name, State.CANCELLED)

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        self._fault("logs")
        if cursor is not None:
            return LogPage((), cursor)
        return LogPage((LogChunk("engine", f"log of {attempt.name}\n"),), "end")

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        return self.ran

    def collect(self, attempt: Attempt) -> Collected:
        self._fault("collect")
        files = tuple(OutputFile(path, path, len(text)) for path, text in self.outputs.items())
        return Collected({"out": {"class": "File", "location": "a.txt", "basename": "a.txt"}}, files)

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        self._fault("open")
        return io.BytesIO(self.outputs[ref].encode()[offset:])

    def release(self, attempt: Attempt) -> None:
        self._fault("release")
        self.released.append(attempt.name)

    def forget(self, job_id: str) -> None:
        self._fault("forget")
        self.forgotten.append(job_id)

    def check(self) -> Health:
        return Health(True, Capabilities(cores=2.0, ram_mib=4096))


class NearPlatform(ScriptedPlatform):
    """One on this machine: what ended there is read when it is seen."""

    def path(self, attempt: Attempt, ref: str) -> Path:
        raise AssertionError("the hash of no file is known")


def down(times: int = 1) -> list[BaseException | None]:
    return [PlatformUnavailable("It does not answer.") for _ in range(times)]
