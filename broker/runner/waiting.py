"""An engine in waiting: forked and warm before there is a job, so that no job waits for that.

Most of what a short job costs is the fork, and the copying of the zygote's pages as they are first written to. An
engine in waiting has run a small package of ours and so has its own pages; then it reads one line from its keeper, and
becomes the engine of that job. It has no network (root can leave it), so that a job that is given one gets another
engine. It knows nothing of any package before. It ends when its keeper does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from broker.runner import kernel
from broker.runner.cgroups import Group
from broker.runner.rehearsal import rehearse


class EngineInWaiting:
    """Made in a keeper that waits for a job itself; `become` is what its process does once it is told."""

    def __init__(self, become: Callable[[Mapping[str, Any]], int], group: Group | None = None) -> None:
        keeper = os.getpid()
        self._ours, theirs = socket.socketpair()

        def wait() -> int:
            self._ours.close()
            kernel.die_with_parent(keeper)
            os.setpgid(0, 0)
            grouped = group is not None and group.entered()
            offline = os.geteuid() == 0 and kernel.leave_network(as_user=False)
            rehearse()
            with theirs, theirs.makefile("rb") as reader:
                line = reader.readline()
            return become(json.loads(line) | {"offline": offline, "grouped": grouped}) if line else 0

        self.pid = kernel.fork(wait)
        theirs.close()

    def end(self) -> None:
        """There will be no job."""
        self._ours.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def tell(self, what: Mapping[str, Any]) -> bool:
        """Begin; False where it is there no more."""
        try:
            self._ours.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            return False
        finally:
            self._ours.close()
        return True
