"""The comparer: compares outputs of jobs beside everything else, each comparison in a thread that nobody waits for.

Any number of them may run; what is under way when a process ends is claimed again when its lease is over.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from broker.bootstrap import Broker, input_policy
from broker.egress import Egress
from broker.errors import BrokerError
from broker.queue.looking import look_again
from broker.store import comparisons
from broker.store.comparisons import Comparison

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
AT_A_TIME = 2  # of different owners
FETCH_SECONDS = 1800.0  # for one file of another run
FETCH_RATE = 32 * 1024  # bytes in a second, on the whole: who gives less is not waited for


class Comparer:
    """Of one process."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._egress = Egress(replace(input_policy(broker.settings), max_seconds=FETCH_SECONDS, least_rate=FETCH_RATE))
        self._room = threading.Semaphore(AT_A_TIME)
        self._done = threading.Event()

    def run(self, stopped: threading.Event) -> None:
        """Compare what is due until `stopped`."""

        def pause() -> None:
            self._done.wait(LOOK_SECONDS)
            self._done.clear()

        look_again("comparisons", self._begin, pause, stopped)

    def step(self) -> int:
        """Make one comparison, here; how many."""
        taken = self._claim()
        if taken is not None:
            self._make(taken)
        return int(taken is not None)

    def _begin(self) -> int:
        """Begin one that is due, if there is room; how many."""
        if not self._room.acquire(blocking=False):
            return 0
        taken = None
        try:
            taken = self._claim()
        finally:
            if taken is None:
                self._room.release()
        if taken is None:
            return 0
        threading.Thread(target=self._beside, args=(taken,), name="comparison", daemon=True).start()
        return 1

    def _claim(self) -> Comparison | None:
        with self._broker.database.read() as tx:
            if not comparisons.due(tx):
                return None
        from broker.execution.comparing import LEASE_SECONDS  # noqa: PLC0415 - in memory where somebody compares

        with self._broker.database.write() as tx:
            return comparisons.claim(tx, LEASE_SECONDS)

    def _make(self, taken: Comparison) -> None:
        from broker.execution.comparing import carry_out  # noqa: PLC0415 - in memory where somebody compares

        broker = self._broker
        carry_out(broker.database, broker.storage, self._egress, taken, broker.settings.state / "comparisons")

    def _beside(self, taken: Comparison) -> None:
        try:
            self._make(taken)
        except BrokerError as error:
            log.warning("the comparison %s waits: %s", taken.id, error)
        except Exception:  # the boundary of one comparison
            log.exception("the comparison %s waits", taken.id)
        finally:
            self._room.release()
            self._done.set()
