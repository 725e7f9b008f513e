"""How many processes a job has: counted now and then where the kernel does not, for root without control groups."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from broker.jobs.model import Reason

SECONDS = 0.2  # between looks: what a fork bomb makes in that time, the machine bears


class Breach(Exception):
    """A job took more than it may: it is ended."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Crowd:
    """Counts what descends from this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = time.monotonic() + SECONDS

    def wait(self) -> float:
        """Seconds until the next look is due."""
        return max(0.0, self._next - time.monotonic())

    def look(self) -> None:
        """Raises Breach."""
        for number, _ in enumerate(descendants(os.getpid()), 1):
            if number > self._most:
                message = f"The job had more than {self._most} processes at one time."
                raise Breach(Reason.TOO_MANY_PROCESSES, message)
        self._next = time.monotonic() + SECONDS


def descendants(parent: int) -> Iterator[int]:
    """Ids of the processes that a process has, with their own."""
    waiting = [parent]
    while waiting:
        pid = waiting.pop()
        with contextlib.suppress(OSError, ValueError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  ids are all that is wanted
                text = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                children = [int(child) for child in text.split()]
                waiting += children
                yield from children
