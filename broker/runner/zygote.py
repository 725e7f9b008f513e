"""The warm parent of all jobs of a machine: a single thread that has cwltool loaded and forks one keeper per job.

`python -m broker.runner.zygote --root DIR --socket PATH`, started with an empty environment. It parses no package.
Protocol: one JSON line each way over a unix socket; `client` speaks it.

| request | answer |
|---|---|
| {"op": "ping"} | {"ok": true, "pid": …, "jobs": …, "groups": version of control groups or null} |
| {"op": "start", "job": name} | {"ok": true, "adopted": …}, once a keeper holds the job's lock |
| {"op": "check"}, then frames (see `check`) | frames, the last one with what the package is |
| {"op": "look"}, then a frame (see `look`) | a frame with what a file's head says |
| {"op": "events"} | the name of each job that ended, a line each, until the connection ends |
| {"op": "ended", "job": name} | from keepers: tell the subscribers |
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker.errors import SetupError
from broker.runner import cgroups, check, keeper, kernel, loading, look, remains, seccomp
from broker.runner.jobdir import JobDir
from broker.runner.waiting import EngineInWaiting

MAX_LINE = 4096
NOWHERE = ".nowhere"  # the empty directory that readers of packages are shut in
_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)


class Zygote:
    """Serves requests until it is told to end; `root` holds one directory per job."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        self.groups = cgroups.find()
        self.nowhere = root / NOWHERE
        self.nowhere.mkdir(mode=0o555, exist_ok=True)
        self.selector = selectors.DefaultSelector()
        self.listener = listen(path)
        self.wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.subscribers: list[socket.socket] = []
        self.partial: dict[socket.socket, bytes] = {}
        self.children: dict[int, str | None] = {}
        self.ending = False
        self.cores = len(os.sched_getaffinity(0))
        self.waiting: tuple[int, socket.socket] | None = None  # the keeper without a job: its pid, the line to it

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(self.wakeup, selectors.EVENT_READ, self._reap)
        while not self.ending:
            for key, _ in self.selector.select():
                key.data()
        self.path.unlink(missing_ok=True)

    def _end(self, *_: Any) -> None:
        self.ending = True

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.partial[connection] = b""
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        """Take the request line and leave what follows it to whoever serves the request."""
        try:
            peeked = connection.recv(MAX_LINE, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            peeked = b""
        end = peeked.find(b"\n")
        if end < 0:
            if not peeked or len(peeked) >= MAX_LINE:
                self._drop(connection)
            return  # a line is sent in one piece; the next part wakes us again
        line = connection.recv(end + 1)
        self.selector.unregister(connection)
        del self.partial[connection]
        try:
            request = json.loads(line)
            self._serve(connection, str(request["op"]), str(request.get("job", "")))
        except (ValueError, KeyError, TypeError) as error:
            _answer(connection, {"error": {"type": "SetupError", "detail": f"Not a request: {error}"}})
            connection.close()

    def _serve(self, connection: socket.socket, operation: str, name: str) -> None:
        if operation == "events":
            self.subscribers.append(connection)
            self.selector.register(connection, selectors.EVENT_READ, lambda: self._unsubscribe(connection))
            _answer(connection, {"ok": True})
            return
        if operation == "start":
            if not _NAME.fullmatch(name) or not (self.root / name).is_dir():
                raise ValueError("no such job directory")
            self._start(name, connection)
        elif operation == "check":
            self._fork(None, connection, lambda: check.serve(connection, self.nowhere))
        elif operation == "look":
            self._fork(None, connection, lambda: look.serve(connection, self.nowhere))
        elif operation == "ended":
            self._tell(name)
        elif operation == "ping":
            jobs = sum(1 for child in self.children.values() if child is not None)
            groups = self.groups.version if self.groups else None
            _answer(connection, {"ok": True, "pid": os.getpid(), "jobs": jobs, "groups": groups})
        else:
            raise ValueError(operation)
        connection.close()

    def _start(self, name: str, connection: socket.socket) -> None:
        """Give the job to the keeper in waiting, or to a new one; then have the next one wait while a core is idle."""
        if self.waiting is None or not self._hand_over(name, connection):
            self._fork(name, connection, lambda: self._keep(name, connection, None, self._group()))
        if sum(1 for child in self.children.values() if child is not None) <= self.cores:
            self._have_one_wait()

    def _hand_over(self, name: str, connection: socket.socket) -> bool:
        assert self.waiting is not None  # noqa: S101 - by the caller
        (pid, line), self.waiting = self.waiting, None
        with line:
            try:
                socket.send_fds(line, [name.encode()], [connection.fileno()])
            except OSError:
                return False
        self.children[pid] = name
        return True

    def _have_one_wait(self) -> None:
        ours, theirs = socket.socketpair()

        def wait() -> int:
            ours.close()
            group = self._group()
            engine = keeper.in_waiting(group)
            name, descriptors, _, _ = socket.recv_fds(theirs, MAX_LINE, 1)
            theirs.close()
            if not descriptors:  # the zygote has ended
                engine.end()
                if group is not None:
                    group.remove()
                return 0
            return self._keep(name.decode(), socket.socket(fileno=descriptors[0]), engine, group)

        self.waiting = (self._fork(None, theirs, wait), ours)
        theirs.close()

    def _group(self) -> cgroups.Group | None:
        """A new control group for one job, where we may make groups."""
        if self.groups is None:
            return None
        with contextlib.suppress(OSError):
            return self.groups.make(f"{os.getpid()}-{time.time_ns()}")
        return None

    def _keep(
        self, name: str, connection: socket.socket, engine: EngineInWaiting | None, group: cgroups.Group | None
    ) -> int:
        def answer(value: dict[str, Any]) -> None:
            _answer(connection, value)
            connection.close()

        return keeper.keep(JobDir(self.root / name), answer, lambda: _tell_zygote(self.path, name), engine, group)

    def _fork(self, name: str | None, connection: socket.socket, child: Callable[[], int]) -> int:
        def begin() -> int:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self.selector.close()
            for other in (self.listener, *self.subscribers, *self.partial):
                other.close()
            if self.waiting is not None:
                self.waiting[1].close()  # who waits must see it when the zygote ends
            os.close(self.wakeup)
            os.close(self._wake)
            connection.setblocking(True)
            return child()

        pid = kernel.fork(begin)
        self.children[pid] = name
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup, 512)
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.children.pop(pid, None)
            if self.waiting is not None and self.waiting[0] == pid:
                self.waiting[1].close()
                self.waiting = None
            if name is None:
                continue
            job = JobDir(self.root / name)
            # A child that found another keeper at work has ended too.
            if not job.exit.exists() and not job.alive():
                self._lost(name)

    def _lost(self, name: str) -> None:
        """A keeper was killed: sandboxes died with it, containers and what plain processes started did not."""
        job = JobDir(self.root / name)

        def sweep() -> int:
            remains.sweep(job)
            return 0

        self.children[kernel.fork(sweep)] = None
        self._tell(name)

    def _tell(self, name: str) -> None:
        line = name.encode() + b"\n"
        for subscriber in list(self.subscribers):
            try:
                subscriber.send(line, socket.MSG_DONTWAIT)
            except OSError:
                # One that does not read: it polls when it comes back.
                self._unsubscribe(subscriber)

    def _unsubscribe(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        self.subscribers.remove(connection)
        connection.close()

    def _drop(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        del self.partial[connection]
        connection.close()


def listen(path: Path) -> socket.socket:
    """The listening socket; takes the place of one that nobody serves any more. Raises SetupError."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        raise SetupError(f"A runner already serves {path}.", hint="End it, or give this one another --socket.")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(512)
    listener.setblocking(False)
    return listener


def _answer(connection: socket.socket, value: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(value).encode() + b"\n")


def _tell_zygote(path: Path, name: str) -> None:
    """From a keeper: nothing is lost where no zygote listens, for the broker looks at exit.json itself."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(json.dumps({"op": "ended", "job": name}).encode() + b"\n")


def warm() -> None:
    """Load what every job needs, before any is forked."""
    loading.warm()
    check.warm()
    check.preload()
    seccomp.program()
    gc.collect()
    gc.freeze()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="broker.runner.zygote", description="Forks one process per job.")
    parser.add_argument("--root", type=Path, required=True, help="directory that holds one directory per job")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to serve")
    parser.add_argument("--nice", type=int, default=0, help="niceness of the zygote itself")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    os.nice(options.nice)
    options.root.mkdir(parents=True, exist_ok=True)
    warm()
    try:
        zygote = Zygote(options.root.resolve(), options.socket)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"runner: ready on {options.socket}", file=sys.stderr, flush=True)
    zygote.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
