"""The notifier: delivers callbacks beside everything else, so that no receiver holds up a job, nor the stop.

Each delivery has a thread of its own that nobody waits for; what is under way when the process ends is claimed again
later. Any number of notifiers may run.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from broker.bootstrap import Broker
from broker.errors import BrokerError, SetupError
from broker.execution import notify
from broker.execution.notify import Document, Said, Terms
from broker.queue.looking import look_again
from broker.store import callbacks
from broker.store.callbacks import Callback

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
AT_A_TIME, EACH_ORIGIN, EACH_OWNER = 16, 2, 8  # deliveries under way
CONNECT_SECONDS = 5.0
ADDRESSES = 4  # of one name that egress tries


class Notifier:
    """`document` makes the body of a delivery."""

    def __init__(self, broker: Broker, document: Callable[[Broker], Document]) -> None:
        self._broker = broker
        self._document = document(broker)
        given = broker.settings.callbacks
        self._terms = Terms(given.retry_seconds, given.hours * 3600.0)
        self._lease = 2 * given.answer_seconds + ADDRESSES * min(CONNECT_SECONDS, given.answer_seconds) + 2.0
        self._under_way: dict[int, Callback] = {}
        self._lock = threading.Lock()
        self._room = threading.Event()

    def run(self, stopped: threading.Event) -> None:
        """Deliver what is due until `stopped`; what is under way then is left to itself."""

        def pause() -> None:
            self._room.wait(LOOK_SECONDS)
            self._room.clear()

        look_again("callbacks", self.step, pause, stopped)

    def step(self) -> int:
        """Begin with what is due and has room; how many."""
        with self._lock:
            busy = list(self._under_way.values())
        most = AT_A_TIME - len(busy)
        if most <= 0:
            return 0
        with self._broker.database.read() as tx:
            if not callbacks.due(tx):
                return 0
        with self._broker.database.write() as tx:
            taken = callbacks.claim(
                tx,
                self._lease,
                most,
                origins=Counter(one.origin for one in busy),
                owners=Counter(one.owner for one in busy),
                each_origin=EACH_ORIGIN,
                each_owner=EACH_OWNER,
            )
        for one in taken:
            with self._lock:
                self._under_way[one.id] = one
            threading.Thread(target=self._deliver, args=(one,), name="callback", daemon=True).start()
        return len(taken)

    def _deliver(self, taken: Callback) -> None:
        broker = self._broker
        try:
            notify.deliver(broker.database, broker.callbacks_egress, broker.vault, taken, self._document, self._terms)
        except SetupError as error:  # the key that opens the secret is not here
            log.warning("a callback of job %s waits: %s", taken.job_id, error)
            self._put_off(taken, "The broker cannot sign it: the key that opens your callback secret is not here.")
        except BrokerError as error:
            log.warning("a callback of job %s waits: %s", taken.job_id, error)
        except Exception:  # the boundary of one delivery
            log.exception("a callback of job %s failed", taken.job_id)
            self._put_off(taken, "The broker failed at this delivery.")
        finally:
            with self._lock:
                self._under_way.pop(taken.id, None)
            self._room.set()

    def _put_off(self, taken: Callback, why: str) -> None:
        """After an error of the broker's own: tried again later, and given up in the end like any other."""
        try:
            notify.settle(self._broker.database, taken, Said(None, why), self._terms)
        except BrokerError as error:
            log.warning("a callback of job %s waits: %s", taken.job_id, error)
