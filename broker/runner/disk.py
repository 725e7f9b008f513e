"""What a job has on disk while it runs: looked at now and then, for a tool that fills the disk is to be ended.

The tool owns what is looked at and may change it meanwhile: no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from broker.jobs.model import Reason
from broker.runner.beneath import open_directory
from broker.runner.crowd import Breach, descendants

FIRST_SECONDS = 1.0  # most jobs are over by then
SHARE = 20.0  # of the time, looks take one part in so many: one that takes long is taken seldom
DEPTH = 200  # of directories, each of which costs a descriptor; what packages write is not nested like that
FREE = 2**30  # bytes that a job leaves free
LEAST = 64 * 2**20  # bytes that a job may have on a disk that is nearly full


@dataclass(frozen=True, slots=True)
class Room:
    """What a job may have on disk at one time, its inputs not counted: bytes; files and directories."""

    size: int
    files: int

    def on(self, directory: Path) -> Room:
        """The same, or less where there is less."""
        return Room(min(self.size, max(LEAST, shutil.disk_usage(directory).free - FREE)), self.files)


class Watch:
    """Looks at directories of a job that its tools write to. `inputs`: of which a file may have a second name there."""

    def __init__(self, places: Iterable[Path], inputs: Path, room: Room) -> None:
        self._places = tuple(places)
        self._inputs = inputs
        self._of_inputs: frozenset[tuple[int, int]] | None = None
        self._room = room
        self._next = time.monotonic() + FIRST_SECONDS

    def wait(self) -> float:
        """Seconds until the next look is due."""
        return max(0.0, self._next - time.monotonic())

    def look(self) -> None:
        """Raises Breach."""
        started = time.monotonic()
        if self._of_inputs is None:
            found = _below(self._inputs)
            self._of_inputs = frozenset(_identity(status) for status in found if status.st_nlink > 1)
        seen = set(self._of_inputs)
        size = files = 0
        for status in self._all():
            files += 1
            if status.st_nlink != 1 and not stat.S_ISDIR(status.st_mode):
                if _identity(status) in seen:
                    continue
                seen.add(_identity(status))
            size += status.st_blocks * 512
            if files > self._room.files:
                raise Breach(
                    Reason.DISK_LIMIT, f"The job had more than {self._room.files} files and directories at one time."
                )
            if size > self._room.size:
                raise Breach(
                    Reason.DISK_LIMIT, f"The job had more than {self._room.size / 2**20:.0f} MiB on disk at one time."
                )
        took = time.monotonic() - started
        self._next = started + took + max(FIRST_SECONDS, SHARE * took)

    def _all(self) -> Iterator[os.stat_result]:
        for place in self._places:
            yield from _below(place)
        yield from _without_a_name(os.getpid(), self._places[0])


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _below(root: Path) -> Iterator[os.stat_result]:
    """What is below a directory, as far as it is still there when its turn comes. Raises Breach."""
    stack: list[_Open] = []
    try:
        with contextlib.suppress(OSError):
            stack.append(_Open(open_directory(root)))
        while stack:
            here = stack[-1]
            with contextlib.suppress(OSError):
                name = here.next()
                if name is None:
                    stack.pop().close()
                    continue
                status = os.stat(name, dir_fd=here.descriptor, follow_symlinks=False)
                yield status
                if stat.S_ISDIR(status.st_mode):
                    if len(stack) >= DEPTH:
                        raise Breach(Reason.DISK_LIMIT, f"The job had more than {DEPTH} directories one in the other.")
                    stack.append(_Open(open_directory(name, here.descriptor)))
    finally:
        for one in stack:
            one.close()


class _Open:
    """A directory that is being read, entry by entry: there may be millions."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._entries = os.scandir(descriptor)

    def next(self) -> str | None:
        entry = next(self._entries, None)
        return None if entry is None else entry.name

    def close(self) -> None:
        self._entries.close()
        os.close(self.descriptor)


def _without_a_name(parent: int, place: Path) -> Iterator[os.stat_result]:
    """Files on the disk of `place` that descendants of a process hold open after they deleted them."""
    try:
        disk = place.stat().st_dev
    except OSError:
        return
    for pid in descendants(parent):
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for one in descriptors:
                with contextlib.suppress(OSError):
                    status = one.stat()
                    if status.st_nlink == 0 and status.st_dev == disk and stat.S_ISREG(status.st_mode):
                        yield status
