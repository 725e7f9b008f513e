"""The relay: publishes the outbox. It runs after a commit and again in the reconciler; twice harms nothing."""

from __future__ import annotations

import logging
import threading

from celery import Celery
from kombu.exceptions import OperationalError

from broker.bootstrap import Broker
from broker.errors import StorageError
from broker.queue.app import make_app, publish
from broker.store import deliveries

log = logging.getLogger(__name__)


def flush(broker: Broker, app: Celery) -> int:
    """Publish what is in the outbox; how many. Several nudges of one kind become one.

    Raises kombu's OperationalError when the queue server is away; the rows then stay.
    """
    count = 0
    while True:
        with broker.database.read() as tx:
            batch = deliveries.pending(tx)
        if not batch:
            return count
        for platform, verb in dict.fromkeys((delivery.platform, delivery.verb) for delivery in batch):
            publish(app, platform, verb)
        with broker.database.write() as tx:
            deliveries.sent(tx, [delivery.id for delivery in batch])
        count += len(batch)


class Relay:
    """A thread that flushes when it is woken: a request never waits for the queue server."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._app = make_app(broker.settings)
        self._woken = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopped = True
        self._woken.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            self._woken.wait()
            if self._stopped:
                return
            self._woken.clear()
            try:
                flush(self._broker, self._app)
            except (OperationalError, StorageError) as error:
                log.warning("the outbox waits: %s", error)  # the reconciler tries again
