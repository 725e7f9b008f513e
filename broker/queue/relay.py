"""The relay: publishes the outbox. It runs after a commit and again in the reconciler; twice harms nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from celery import Celery
from kombu.exceptions import OperationalError

from broker.bootstrap import Broker
from broker.errors import StorageError
from broker.queue.app import make_app, publish
from broker.store import deliveries
from broker.store.deliveries import Delivery

log = logging.getLogger(__name__)
QUIET_SECONDS = 0.25  # a delivery is forgotten when no request is waiting for the database any more
MANY = 500
SPACING_SECONDS = 0.02  # between nudges: a worker needs a millisecond for each, and one tells of all that came since
LEFT_SECONDS = 2.0  # what is older than this was left by a relay that died, or had no queue server


def send(app: Celery, batch: Sequence[Delivery]) -> None:
    """Publish; several nudges of one kind become one. Raises kombu's OperationalError without a queue server."""
    for platform, verb in dict.fromkeys((delivery.platform, delivery.verb) for delivery in batch):
        publish(app, platform, verb)


def flush(broker: Broker, app: Celery) -> int:
    """Publish and forget what other relays left in the outbox; how many. Raises as `send`."""
    with broker.database.read() as tx:
        batch = deliveries.pending(tx, age=LEFT_SECONDS)
    if batch:
        send(app, batch)
        with broker.database.write() as tx:
            deliveries.sent(tx, [delivery.id for delivery in batch])
    return len(batch)


class Relay:
    """A thread that publishes when it is woken: a request never waits for the queue server.

    It publishes at once and forgets later, many at a time, so that its writes do not stand in the way of the
    worker that was just nudged.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._app = make_app(broker.settings)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._sent: list[int] = []
        self._last = 0
        self._published = 0.0
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            busy = self._woken.wait(QUIET_SECONDS if self._sent else None)
            if busy and (early := self._published + SPACING_SECONDS - time.monotonic()) > 0:
                self._stopping.wait(early)
            self._woken.clear()
            try:
                if busy:
                    self._publish()
                if not busy or len(self._sent) >= MANY:
                    self._forget()
            except (OperationalError, StorageError) as error:
                log.warning("the outbox waits: %s", error)  # the reconciler tries again
        self._forget()

    def _publish(self) -> None:
        self._published = time.monotonic()
        with self._broker.database.read() as tx:
            batch = deliveries.pending(tx, after=self._last)
        send(self._app, batch)
        self._sent += [delivery.id for delivery in batch]
        self._last = self._sent[-1] if self._sent else self._last

    def _forget(self) -> None:
        if self._sent:
            with self._broker.database.write() as tx:
                deliveries.sent(tx, self._sent)
            # from the start again: a transaction with a smaller id may have been committed later
            self._sent, self._last = [], 0
