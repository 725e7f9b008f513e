"""Follows a job to its end: its status as it changes, its steps, and the news of its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from broker.cli.client import DONE, Client

FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0


@dataclass
class Watch:
    """Asks for the job's status again and again; the pauses grow from 50 ms to 1 s while nothing changes."""

    client: Client
    job_id: str

    def beats(self) -> Iterator[dict[str, Any]]:
        """The status info at each look, changed or not; ends after a final one."""
        seen: Any = None
        pause = FIRST_PAUSE
        while True:
            info = self.client.job(self.job_id)
            yield info
            if info.get("status") in DONE:
                return
            pause = FIRST_PAUSE if info.get("updated") != seen else min(pause * 1.5, LAST_PAUSE)
            seen = info.get("updated")
            time.sleep(pause)

    def states(self) -> Iterator[dict[str, Any]]:
        """The status info, first as it is now, then whenever it changed; ends after a final one."""
        seen: Any = None
        for info in self.beats():
            mark = [info.get(name) for name in ("status", "message", "steps", "queue")]
            if mark != seen:
                seen = mark
                yield info

    def end(self) -> dict[str, Any]:
        """The final status info."""
        *_, last = self.states()
        return last


def log_news(client: Client, job_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
    """The log's pages from a cursor on, as far as it goes now; each has its `logs` and the next `cursor`."""
    while True:
        page = client.logs(job_id, after=after)
        if not page["logs"]:
            return
        yield page
        after = page["cursor"]
