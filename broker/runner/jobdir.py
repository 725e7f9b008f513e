"""The directory of one job: where its files are, whether its keeper lives, and how to write a record atomically."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid
_FLOCK = "hhqqi4x"
_F_OFD_GETLK = 36
_F_OFD_SETLK = 37


class JobDir:
    """Names the files of `root/<job name>`; makes nothing by itself.

    | file | writer | what |
    |---|---|---|
    | spec.json | adapter | the job and the platform's settings for it |
    | stage.json | adapter | what to fetch, with signed links and credentials: gone once staging has read it |
    | pull.json, auth/ | adapter, image pull | accounts of registries: gone before the package is looked at |
    | cancel | adapter | the wish to end the job |
    | control | keeper | fifo; a byte wakes the keeper to look at `cancel` |
    | lock | keeper | held while the keeper lives |
    | started.json, exit.json, outputs.json | keeper | begin; end and verdict; CWL output object and hashed files |
    | report.json, steps.jsonl, progress.json, logs/ | engine | what the run gave |
    """

    __slots__ = ("path",)

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def stage(self) -> Path:
        return self.path / "stage.json"

    @property
    def pull(self) -> Path:
        return self.path / "pull.json"

    @property
    def auth(self) -> Path:
        return self.path / "auth"

    @property
    def package(self) -> Path:
        return self.path / "package"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def containers(self) -> Path:
        return self.path / "containers"

    @property
    def steps(self) -> Path:
        return self.path / "steps.jsonl"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def collected(self) -> Path:
        return self.path / "outputs.json"

    @property
    def started(self) -> Path:
        return self.path / "started.json"

    @property
    def exit(self) -> Path:
        return self.path / "exit.json"

    @property
    def cancel(self) -> Path:
        return self.path / "cancel"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def hold(self) -> int | None:
        """Take the lock for the life of this process: its descriptor, or None where another keeper has it.

        An open-file-description lock: it ends with the last process that has the descriptor, however that dies,
        and looking at it (`alive`) does not disturb it.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(descriptor, _F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return descriptor

    def alive(self) -> bool:
        """Whether a keeper holds the lock."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(descriptor, _F_OFD_GETLK, asked)
        finally:
            os.close(descriptor)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def wait(self, seconds: float) -> bool:
        """Whether the job has no keeper, or loses it within the time."""
        started = read_json(self.started)
        if started is None or not self.alive():
            return not self.alive()
        try:
            keeper = os.pidfd_open(started["pid"])
        except OSError:
            return not self.alive()
        try:
            # The lock says who is alive; the process id only says what to wait for, for a bounded time.
            poll = select.poll()
            poll.register(keeper, select.POLLIN)
            poll.poll(seconds * 1000)
        finally:
            os.close(keeper)
        return not self.alive()

    def ask_to_end(self) -> None:
        """Record the wish to cancel and wake the keeper, where there is one."""
        self.cancel.touch(mode=0o600, exist_ok=True)
        try:
            fifo = os.open(self.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            # No fifo yet: the keeper looks at `cancel` after it made it. No reader: no keeper.
            if error.errno in (errno.ENOENT, errno.ENXIO):
                return
            raise
        try:
            if stat.S_ISFIFO(os.fstat(fifo).st_mode):
                os.write(fifo, b"c")
        finally:
            os.close(fifo)


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that a reader sees all of it or the file that was there before."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    # Not json.dump, which goes through each value in Python.
    partial.write_bytes(json.dumps(value, separators=(",", ":")).encode())
    partial.replace(path)


def write_private(path: Path, value: Any) -> None:
    """Write a new file that only its owner may read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(json.dumps(value, separators=(",", ":")).encode())


def read_json(path: Path) -> Mapping[str, Any] | None:
    """The record at `path`; None where there is none (yet)."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), path.open("rb") as stream:
        value: Mapping[str, Any] = json.load(stream)
        return value
    return None
