"""Where accepted jobs stand in the line of their platform: looked up for all of them at once, and remembered."""

from __future__ import annotations

import time
from dataclasses import dataclass

from broker.api.rows import Rows
from broker.jobs.model import Job, Phase
from broker.store import jobs

SECONDS = 1.0  # how old a position may be
SHARE = 0.02  # of the time that may go into looking, however long the line is
LONGEST = 1000


@dataclass(frozen=True, slots=True)
class _Seen:
    until: float
    places: dict[str, int]


class Line:
    """Positions count from 1. They are what the queue is in by age and priority; fair sharing may let others pass."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._seen: dict[str, _Seen] = {}

    async def position(self, job: Job) -> int | None:
        """None for a job that waits for nothing, or behind more than a thousand others."""
        if job.phase is not Phase.ACCEPTED:
            return None
        seen = self._seen.get(job.platform)
        now = time.monotonic()
        if seen is None or seen.until < now:
            found = await self._rows.read(jobs.line, job.platform, LONGEST)
            took = time.monotonic() - now
            places = {job_id: place for place, job_id in enumerate(found, 1)}
            seen = self._seen[job.platform] = _Seen(now + max(SECONDS, took / SHARE), places)
        place = seen.places.get(job.id)
        if place is None and len(seen.places) < LONGEST:
            return len(seen.places) + 1  # it came after the look
        return place
