"""The reconciler: nudges whatever is due, so that a lost message, worker or event costs seconds, not a job.

Any number may run: the sweep belongs to whoever holds its lease in the database. Checks of a platform are the
business of the host that it is configured on.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields

from celery import Celery
from kombu.exceptions import OperationalError

from broker.bootstrap import Broker
from broker.errors import BrokerError
from broker.execution import failover
from broker.execution.fleet import Entry
from broker.execution.notify import Document
from broker.execution.operate import asked
from broker.execution.retention import DAY, Ages, Retention
from broker.queue.app import make_app, publish, queue_name
from broker.queue.comparer import Comparer
from broker.queue.notifier import Notifier
from broker.queue.publisher import Publisher
from broker.queue.relay import flush
from broker.queue.wakeups import Wake
from broker.store import claims, leases, platforms
from broker.store.database import new_id

log = logging.getLogger(__name__)
TURN_SECONDS = 1.0
CHECK_SECONDS = 30.0
LEASE_SECONDS = 8.0
RETENTION_SECONDS = 60.0  # a step takes seconds, one large prefix perhaps longer: two that do it harm nothing
CROWD = 50  # so many waiting messages mean that more of them help nobody


class Reconciler:
    """One process's loop, and its threads: checks, housekeeping, comparisons, and callbacks where it can make their
    `document`."""

    def __init__(self, broker: Broker, document: Callable[[Broker], Document] | None = None) -> None:
        self.broker = broker
        self._notifier = None if document is None else Notifier(broker, document)
        self.app: Celery = make_app(broker.settings)
        self.wake = Wake(broker.settings.redis)
        self.name = f"{os.getpid()}:{new_id()}"
        self.stopped = threading.Event()
        self._asking: set[str] = set()  # platforms whose check is under way

    def run(self) -> None:
        """Turn until `stop`."""
        threading.Thread(target=self._checks, daemon=True).start()
        threading.Thread(target=self._housekeeping, daemon=True).start()
        if self._notifier is not None:
            threading.Thread(target=self._notifier.run, args=(self.stopped,), daemon=True).start()
        for beside in (Comparer(self.broker), Publisher(self.broker)):
            threading.Thread(target=beside.run, args=(self.stopped,), daemon=True).start()
        while not self.stopped.is_set():
            try:
                self.turn()
            except (OperationalError, BrokerError) as error:
                log.warning("this turn failed, the next one is in %s s: %s", TURN_SECONDS, error)
            self.stopped.wait(TURN_SECONDS)
        with self.broker.database.write() as tx:
            leases.give_up(tx, "reconciler", self.name)
            leases.give_up(tx, "retention", self.name)

    def stop(self, *_: object) -> None:
        self.stopped.set()

    def turn(self) -> None:
        """One sweep, if the lease is ours: what is due is nudged, the outbox flushed."""
        with self.broker.database.write() as tx:
            if not leases.hold(tx, "reconciler", self.name, LEASE_SECONDS):
                return
        with self.broker.database.read() as tx:
            due: Mapping[str, set[str]] = {c.name: claims.due(tx, c.name) for c in platforms.candidates(tx)}
        for name, verbs in due.items():
            if verbs and self.wake.depth(queue_name(name)) < CROWD:
                for verb in sorted(verbs):
                    publish(self.app, name, verb)
        flush(self.broker, self.app)

    def check(self, patience: float = CHECK_SECONDS) -> None:
        """Ask each platform that is here what it offers, and store it for placement; all at the same time, so that one
        which takes its time holds up no other. Returns when all have answered, or after `patience` seconds."""
        asked = []
        for position, (name, entry) in enumerate(self._entries().items()):
            if name not in self._asking:
                self._asking.add(name)
                asked.append(threading.Thread(target=self._check, args=(name, entry, position), daemon=True))
                asked[-1].start()
        end = time.monotonic() + patience
        for thread in asked:
            thread.join(max(0.0, end - time.monotonic()))

    def _entries(self) -> Mapping[str, Entry]:
        known = self.broker.fleet.entries()
        return {name: known[name] for name in self.broker.platforms if name in known}

    def _check(self, name: str, entry: Entry, position: int) -> None:
        try:
            health = asked(self.broker.database, self.broker.platforms, name)
            with self.broker.database.write() as tx:
                platforms.checked(tx, name, entry.adapter, position, health, entry.terms)
        except BrokerError as error:
            log.warning("the platform %s is not checked: %s", name, error)
        finally:
            self._asking.discard(name)

    def _checks(self) -> None:
        """Beside the sweeps: a platform that takes its time to answer holds up no job."""
        while not self.stopped.is_set():
            try:
                self.check()
                failover.step(self.broker.database, self.name)  # the sweep nudges where they went
                self.broker.storage.sweep()
            except Exception:  # the boundary of a thread that must not end
                log.exception("the platforms were not checked, or the storage not swept")
            self.stopped.wait(CHECK_SECONDS)

    def _housekeeping(self) -> None:
        """Beside the sweeps too, under a lease of its own: storage that takes its time holds up no job."""
        given = self.broker.settings.retention.model_dump()
        ages = {one.name: given[f"{one.name}_days"] for one in fields(Ages)}
        retention = Retention(
            self.broker.database,
            self.broker.storage,
            Ages(**{name: None if days is None else days * DAY for name, days in ages.items()}),
        )
        while not self.stopped.wait(TURN_SECONDS):
            try:
                with self.broker.database.write() as tx:
                    ours = leases.hold(tx, "retention", self.name, RETENTION_SECONDS)
                while ours and not self.stopped.is_set() and retention.step():
                    with self.broker.database.write() as tx:
                        ours = leases.hold(tx, "retention", self.name, RETENTION_SECONDS)
            except BrokerError as error:
                log.warning("what is past its time is deleted later: %s", error)
            except Exception:  # the boundary of a thread that must not end
                log.exception("what is past its time is deleted later")


def run(broker: Broker, document: Callable[[Broker], Document]) -> None:
    """The reconciler's process."""
    reconciler = Reconciler(broker, document)
    signal.signal(signal.SIGTERM, reconciler.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reconciler.run()
