"""What a run tells while it runs: its steps, its progress, its logs, and the first failure."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.jobs.model import Failure, Progress, Step
from broker.jobs.observation import Need
from broker.runner.beneath import open_file
from broker.runner.jobdir import JobDir, write_json

TAIL_LINES = 20
TAIL_BYTES = 16 * 1024
PROGRESS_INTERVAL = 0.2

_UNSAFE = re.compile(r"[^\w.+-]")


class Report:
    """The engine's side of `steps.jsonl`, `progress.json`, `logs/` and `report.json` of one job directory."""

    def __init__(self, job: JobDir) -> None:
        self.job = job
        self.failure: Failure | None = None
        self.needs: tuple[Need, ...] = ()  # what other platforms are to run before the run can go on
        self.done = 0
        self.total: int | None = None
        self._written = 0.0
        self._names: dict[str, int] = {}
        job.logs.mkdir(exist_ok=True)
        self._steps = os.open(job.steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def unique(self, stem: str) -> str:
        """`stem`, or `stem_2`, `stem_3` … in constant time (cltool's own probing is linear in the names given)."""
        count = self._names.get(stem, 0) + 1
        self._names[stem] = count
        return stem if count == 1 else f"{stem}_{count}"

    def log_path(self, stream: str) -> Path:
        return self.job.logs / f"{stream}.log"

    def step(self, step: Step) -> None:
        """Append the step as it is now; the last line of a name counts."""
        os.write(self._steps, json.dumps(step.to_json(), separators=(",", ":")).encode() + b"\n")

    def count(self, done: int = 0, more: int = 0) -> None:
        """`done` more steps are finished; `more` more are known of. Written a few times a second at most."""
        self.done += done
        if self.total is not None:
            self.total += more
        now = time.monotonic()
        if now - self._written >= PROGRESS_INTERVAL:
            self._written = now
            self.write_progress()

    def write_progress(self) -> None:
        total = None if self.total is None else max(self.total, self.done)
        write_json(self.job.progress, {"done": self.done, "total": total})

    def fail(self, failure: Failure) -> None:
        """Keep the first failure: what comes after it is usually its consequence."""
        if self.failure is None:
            self.failure = failure

    def end(self, outputs: Any, facts: dict[str, Any]) -> None:
        """Write the verdict of the engine: the output object, or the failure; of needs, their job orders by key."""
        self.write_progress()
        write_json(
            self.job.report,
            {
                "outputs": None if self.failure else outputs,
                "failure": self.failure.to_json() if self.failure else None,
                "needs": [asdict(need) for need in self.needs],
                "facts": facts,
            },
        )
        os.close(self._steps)


def stream_name(step: str) -> str:
    """A file name for the log of `step`."""
    return _UNSAFE.sub("_", step)[:120].lstrip(".") or "step"


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a text file; empty where there is no file, or something else than a file."""
    try:
        return tail_of(open_file(str(path.parent), path.name), lines)
    except OSError:
        return ""


def tail_of(descriptor: int, lines: int = TAIL_LINES) -> str:
    """The last lines of an open text file, which is closed."""
    try:
        with os.fdopen(descriptor, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def read_steps(job: JobDir) -> tuple[Step, ...]:
    """The steps of a job in the order of their start, each as last written."""
    found: dict[str, Step] = {}
    try:
        text = job.steps.read_bytes()
    except FileNotFoundError:
        return ()
    for line in text.splitlines():
        if not line.endswith(b"}"):
            break  # the line that is being written
        step = Step.from_json(json.loads(line))
        found[step.name] = step
    return tuple(found.values())


def read_progress(job: JobDir) -> Progress | None:
    """The last progress written; None before the engine began."""
    try:
        value = json.loads(job.progress.read_bytes())
    except FileNotFoundError:
        return None
    return Progress(value["done"], value["total"])
