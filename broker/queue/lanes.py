"""Lanes: each platform elsewhere has threads of its own, so that one that hangs holds up no other.

A nudge for a lane that is busy with the same is one that is already known; what is lost when the process ends, the
reconciler nudges again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Lanes:
    """`work(platform, verb)` does a piece of what was nudged, and says whether there is more, which comes after the
    other verbs. It is called in at most `width(platform)` threads of a platform at a time."""

    def __init__(self, work: Callable[[str, str], bool], width: Callable[[str], int]) -> None:
        self._work = work
        self._width = width
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, None]] = {}  # platform -> verbs, in the order in which they came
        self._threads: dict[str, int] = {}

    def nudge(self, platform: str, verb: str) -> None:
        """Returns at once."""
        width = self._width(platform)
        with self._lock:
            self._waiting.setdefault(platform, {})[verb] = None
            if self._threads.get(platform, 0) >= width:
                return
            self._threads[platform] = self._threads.get(platform, 0) + 1
        threading.Thread(target=self._run, args=(platform,), name=f"lane {platform}", daemon=True).start()

    def _run(self, platform: str) -> None:
        while (verb := self._next(platform)) is not None:
            try:
                if self._work(platform, verb):
                    with self._lock:
                        self._waiting[platform][verb] = None
            except Exception:  # the boundary of a thread: what is due is nudged again
                log.exception("%s of %s failed", verb, platform)

    def _next(self, platform: str) -> str | None:
        with self._lock:
            waiting = self._waiting.get(platform)
            if waiting:
                verb = next(iter(waiting))
                del waiting[verb]
                return verb
            self._threads[platform] -= 1
            return None
