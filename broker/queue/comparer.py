"""The comparer: compares outputs of jobs beside everything else, one comparison at a time.

Any number of them may run; what is under way when a process ends is claimed again when its lease is over.
"""

from __future__ import annotations

import threading
from functools import partial

from broker.bootstrap import Broker, input_policy
from broker.egress import Egress
from broker.queue.looking import look_again
from broker.store import comparisons

LOOK_SECONDS = 1.0


class Comparer:
    """Of one process."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._egress = Egress(input_policy(broker.settings))

    def run(self, stopped: threading.Event) -> None:
        """Compare what is due until `stopped`."""
        look_again("comparisons", self.step, partial(stopped.wait, LOOK_SECONDS), stopped)

    def step(self) -> int:
        """Make one comparison; how many."""
        broker = self._broker
        with broker.database.read() as tx:
            if not comparisons.due(tx):
                return 0
        from broker.execution import comparing  # noqa: PLC0415 - in memory where somebody compares

        with broker.database.write() as tx:
            taken = comparisons.claim(tx, comparing.LEASE_SECONDS)
        if taken is None:
            return 0
        scratch = broker.settings.state / "comparisons"
        comparing.carry_out(broker.database, broker.storage, self._egress, taken, scratch)
        return 1
