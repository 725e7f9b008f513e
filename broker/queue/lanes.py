"""Lanes: each platform elsewhere has threads of its own, so that one that hangs holds up no other.

A nudge for a lane that is busy with the same is one that is already known; what is lost when the process ends, the
reconciler nudges again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

SLOW = frozenset({"collect"})  # it moves files: one thread is kept for the rest, where there is more than one
log = logging.getLogger(__name__)


class Lanes:
    """`work(platform, verb)` does a piece of what was nudged, and says in how many seconds there is more of it that may
    be done, which comes after the other verbs then; None where there is not. It is called in at most `width(platform)`
    threads of a platform at a time; nothing is held while a verb waits for its time."""

    def __init__(self, work: Callable[[str, str], float | None], width: Callable[[str], int]) -> None:
        self._work = work
        self._width = width
        self._changed = threading.Condition()
        self._waiting: dict[str, dict[str, float]] = {}  # platform -> verb, in the order in which they came -> when
        self._threads: Counter[str] = Counter()
        self._slow: Counter[str] = Counter()  # of them, those at SLOW verbs
        self._most: dict[str, int] = {}
        self._pausing: set[str] = set()  # platforms of which one thread waits for the time of a verb

    def nudge(self, platform: str, verb: str) -> None:
        """Returns at once."""
        width = self._width(platform)
        with self._changed:
            self._most[platform] = width
            self._waiting.setdefault(platform, {})[verb] = 0.0
            if self._threads[platform] >= width:
                self._changed.notify_all()
                return
            self._threads[platform] += 1
        threading.Thread(target=self._run, args=(platform,), name=f"lane {platform}", daemon=True).start()

    def _run(self, platform: str) -> None:
        while (verb := self._next(platform)) is not None:
            again: float | None = None
            try:
                again = self._work(platform, verb)
            except Exception:  # the boundary of a thread: what is due is nudged again
                log.exception("%s of %s failed", verb, platform)
            with self._changed:
                self._slow[platform] -= verb in SLOW
                if again is not None:
                    self._waiting[platform].setdefault(verb, time.monotonic() + again)

    def _next(self, platform: str) -> str | None:
        """The verb that is next; waits for its time, unless another thread does. None: this thread is not needed."""
        with self._changed:
            while True:
                waiting = self._open(platform)
                now = time.monotonic()
                verb = next((one for one, when in waiting.items() if when <= now), None)
                if verb is not None:
                    del self._waiting[platform][verb]
                    self._slow[platform] += verb in SLOW
                    return verb
                if not waiting or platform in self._pausing:
                    self._threads[platform] -= 1
                    return None
                self._pausing.add(platform)
                self._changed.wait(min(waiting.values()) - now)
                self._pausing.discard(platform)

    def _open(self, platform: str) -> dict[str, float]:
        """What waits and may be done beside what is done."""
        waiting = self._waiting.get(platform, {})
        if self._slow[platform] < max(1, self._most[platform] - 1):
            return waiting
        return {verb: when for verb, when in waiting.items() if verb not in SLOW}
