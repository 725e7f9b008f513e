"""The comparer: compares outputs of jobs beside everything else, one comparison at a time.

Any number of them may run; what is under way when a process ends is claimed again when its lease is over.
"""

from __future__ import annotations

import logging
import threading

from broker.bootstrap import Broker, input_policy
from broker.egress import Egress
from broker.errors import BrokerError
from broker.store import comparisons

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


class Comparer:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._egress = Egress(input_policy(broker.settings))

    def run(self, stopped: threading.Event) -> None:
        """Compare what is due until `stopped`."""
        while not stopped.is_set():
            try:
                begun = self.step()
            except BrokerError as error:
                log.warning("a comparison waits: %s", error)
                begun = False
            except Exception:  # the boundary of a thread that must not end
                log.exception("a comparison waits")
                begun = False
            if not begun:
                stopped.wait(LOOK_SECONDS)

    def step(self) -> bool:
        """Make one comparison; False: none is due."""
        broker = self._broker
        with broker.database.read() as tx:
            if not comparisons.due(tx):
                return False
        from broker.execution import comparing  # noqa: PLC0415 - in memory where somebody compares

        with broker.database.write() as tx:
            taken = comparisons.claim(tx, comparing.LEASE_SECONDS)
        if taken is None:
            return False
        scratch = broker.settings.state / "comparisons"
        comparing.carry_out(broker.database, broker.storage, self._egress, taken, scratch)
        return True
