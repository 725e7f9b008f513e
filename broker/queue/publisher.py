"""The publisher: takes publications a step further beside everything else, so that no target holds up a job.

Each step has a thread of its own that nobody waits for; what is under way when the process ends is claimed again
later. Any number of publishers may run.
"""

from __future__ import annotations

import logging
import threading

from broker.bootstrap import Broker
from broker.errors import BrokerError
from broker.queue.looking import look_again
from broker.store import publicationclaims
from broker.store.publications import Publication

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
AT_A_TIME = 4  # steps under way: one may be a file of many GB


class Publisher:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._room = threading.Semaphore(AT_A_TIME)
        self._done = threading.Event()

    def run(self, stopped: threading.Event) -> None:
        """Go on with what is due until `stopped`."""

        def pause() -> None:
            self._done.wait(LOOK_SECONDS)
            self._done.clear()

        look_again("publications", self.step, pause, stopped)

    def step(self) -> int:
        """Begin a step of one that is due, if there is room; how many."""
        with self._broker.database.read() as tx:
            if not publicationclaims.due(tx):
                return 0
        if not self._room.acquire(blocking=False):
            return 0
        taken: list[Publication] = []
        try:
            with self._broker.database.write() as tx:
                taken = publicationclaims.claim(tx, 1)
        finally:
            if not taken:
                self._room.release()
        for one in taken:
            threading.Thread(target=self._step, args=(one,), name="publication", daemon=True).start()
        return len(taken)

    def _step(self, taken: Publication) -> None:
        from broker.execution.publishstep import step  # noqa: PLC0415 - in memory where somebody publishes

        try:
            step(self._broker.desk, taken)
        except BrokerError as error:
            log.warning("the publication %s waits: %s", taken.id, error)
        except Exception:  # the boundary of one publication
            log.exception("the publication %s waits", taken.id)
        finally:
            self._room.release()
            self._done.set()
