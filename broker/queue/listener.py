"""The listener: a platform says which job has changed, and the worker looks at it at once.

It works in the worker, so that no message has to travel first. What it misses, the reconciler's sweep finds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from broker.errors import BrokerError, PlatformUnavailable
from broker.platform import Eventful

AGAIN_SECONDS = 0.5  # until a connection that ended is opened again
MANY = 50  # jobs looked at in one go
# A short job may end before its submission is saved: it is looked at again after these seconds.
TOO_EARLY = (0.02, 0.05, 0.2)
log = logging.getLogger(__name__)


class Listener:
    """`look` observes jobs by id, and gives the ids of those that it could take."""

    def __init__(self, platform: Eventful, look: Callable[[Sequence[str]], set[str]]) -> None:
        self._platform = platform
        self._look = look
        self._heard: SimpleQueue[str] = SimpleQueue()
        self._pause = threading.Event()

    def start(self) -> None:
        for work in (self._listen, self._answer):
            threading.Thread(target=work, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                for job_id in self._platform.events():
                    self._heard.put(job_id)
            except PlatformUnavailable as error:
                log.warning("no events: %s", error)
            except Exception:  # the boundary of a thread that must not end
                log.exception("no events")
            self._pause.wait(AGAIN_SECONDS)

    def _answer(self) -> None:
        while True:
            missed = self._next()
            for seconds in (0.0, *TOO_EARLY):
                if seconds:
                    self._pause.wait(seconds)
                try:
                    missed -= self._look(sorted(missed))
                except BrokerError as error:
                    log.warning("events are left to the reconciler: %s", error)
                    break
                except Exception:  # the boundary of a thread that must not end
                    log.exception("events are left to the reconciler")
                    break
                if not missed:
                    break

    def _next(self) -> set[str]:
        """What was heard since the last time; waits for the first."""
        heard = {self._heard.get()}
        try:
            while len(heard) < MANY:
                heard.add(self._heard.get_nowait())
        except Empty:
            pass
        return heard
