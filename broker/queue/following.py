"""Following: a worker consumes the queues of the platforms that there are now, also of those added since it began."""

from __future__ import annotations

import logging
from typing import Any

from celery import bootsteps

from broker.errors import BrokerError
from broker.queue import tasks
from broker.queue.app import queue_name

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0


class Following(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A step of Celery's consumer: in the loop of the worker's main thread, the only one that may touch its queues."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        self._timer = parent.timer.call_repeatedly(LOOK_SECONDS, follow, (parent,))

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()


def follow(consumer: Any) -> None:
    """Consume the queues of all platforms here, and no others."""
    try:
        wanted = {queue_name(name) for name in tasks.here()[0].fleet}
        consumed = {queue.name for queue in consumer.task_consumer.queues}
        for name in wanted - consumed:
            consumer.add_task_queue(name)
        for name in consumed - wanted:
            consumer.cancel_task_queue(name)
        if wanted != consumed:
            tasks.hear()
    except BrokerError as error:
        log.warning("the platforms are looked at later: %s", error)
