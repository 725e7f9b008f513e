"""What a job waits for that it cannot help: its platform is paused, or does not answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from broker.api.rows import Rows
from broker.jobs.model import Job, Phase
from broker.store import platforms
from broker.store.children import Shown
from broker.store.platforms import Closed

SECONDS = 1.0  # how old what is known of platforms may be
TOLD = 200  # characters of what a platform's check said


class Trouble:
    """Looked up for all platforms at once, and remembered."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._until = 0.0
        self._closed: Mapping[str, Closed] = {}

    async def of(self, job: Job, children: Sequence[Shown] = ()) -> str | None:
        """A sentence about the platform of a job that has not ended, or of a step of it; None where there is none."""
        if job.terminal or job.dismiss_requested:
            return None
        if self._until < time.monotonic():
            self._closed = await self._rows.read(platforms.closed)
            self._until = time.monotonic() + SECONDS
        return told(job, children, self._closed) if self._closed else None


def told(job: Job, children: Sequence[Shown], closed: Mapping[str, Closed]) -> str | None:
    """See `Trouble.of`."""
    if job.phase is Phase.WAITING:
        waits = next((one.platform for one in children if one.finished is None and one.platform in closed), None)
        return None if waits is None else f"Steps of it wait for {waits}, which {_why(closed[waits])}"
    found = closed.get(job.platform)
    if found is None:
        return None
    if job.phase is Phase.ACCEPTED:
        return f"Waits for {job.platform}, which {_why(found)}"
    if found.paused:
        return None  # what is there goes on
    return f"{job.message} This is as it was: {job.platform} {_why(found)}".strip()


def _why(found: Closed) -> str:
    if found.paused:
        return "is paused."
    since = "" if found.since is None else f" since {datetime.fromtimestamp(found.since, UTC):%Y-%m-%d %H:%M} UTC"
    said = " ".join(found.message.split())
    return f"does not answer{since}: {said[:TOLD]}" if said else f"does not answer{since}."
