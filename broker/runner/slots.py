"""Cores of the machine that jobs share: a step beyond a job's first takes one only where it is free."""

from __future__ import annotations

import fcntl
import math
import os
from pathlib import Path


class Slots:
    """One lock file per core below `root`; a lock ends with the process that holds it.

    A job may always run one step, for the broker admitted it by its needs; more steps at a time need free slots.
    `ram_mib` is the machine's memory for jobs: a step that asks for more than one slot's share takes more slots.
    """

    def __init__(self, root: Path, cores: int, ram_mib: int) -> None:
        self.cores = max(1, cores)
        self.ram_mib = max(1, ram_mib)
        root.mkdir(parents=True, exist_ok=True)
        self._files = [
            os.open(root / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for number in range(self.cores)
        ]
        self._held: set[int] = set()

    def width(self, cores: float, ram_mib: float) -> int:
        """How many slots a step takes."""
        share = self.ram_mib / self.cores
        return max(1, min(self.cores, max(math.ceil(cores), math.ceil(ram_mib / share))))

    def take(self, width: int) -> tuple[int, ...] | None:
        """`width` slots, or None where not so many are free."""
        taken: list[int] = []
        for number, descriptor in enumerate(self._files):
            if len(taken) == width:
                break
            if number in self._held:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            self._held.add(number)
            taken.append(number)
        if len(taken) == width:
            return tuple(taken)
        self.give_back(tuple(taken))
        return None

    def give_back(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            fcntl.flock(self._files[number], fcntl.LOCK_UN)
            self._held.discard(number)
