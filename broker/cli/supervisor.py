"""`broker up`: starts the parts of the broker, keeps them running, and leaves nothing behind.

The API, the worker and the reconciler are forked from this process after it has imported what they share,
so that they share the memory too. The zygote and the queue server are programs of their own: the zygote's
children touch packages of strangers, so it starts with an empty environment and no open file of ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from broker.cli import processes_of_up as parts
from broker.cli import queue_server
from broker.errors import BrokerError, SetupError
from broker.runner.kernel import end_with_parent
from broker.settings import Settings

log = logging.getLogger("broker.up")
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # told to, Ctrl-C, the terminal was closed
SIGNALS = {signal.SIGCHLD, *ENDING}
STOP_SECONDS = 15.0
RUNNER_NICE = "5"
M_ARENA_MAX = -8  # mallopt(3)
START_SECONDS = 60.0
CALM_SECONDS = 10.0  # a part that ran for so long is started again at once


@dataclass
class Part:
    """One process of the broker; `start` gives its pid."""

    name: str
    start: Callable[[], int]
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    due: float = 0.0  # when to start it (again), monotonic seconds


@dataclass
class Supervisor:
    settings: Settings
    say: Callable[[str], None]
    keep_jobs: bool = False
    parts: list[Part] = field(default_factory=list)

    def run(self) -> int:
        """Until SIGTERM or SIGINT; 0 after a clean stop. Raises SetupError where it cannot start."""
        run = self.settings.run
        run.mkdir(parents=True, exist_ok=True)
        run.chmod(0o700)
        with _alone(run / "lock", self.settings), _listening(self.settings) as sock:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                self._start(sock)
                self._watch()
            finally:
                self._stop()
                for name in ("broker.json", "zygote.sock", "valkey.sock"):
                    (run / name).unlink(missing_ok=True)
        return 0

    def _start(self, sock: socket.socket) -> None:
        settings = self.settings
        if settings.redis_url is None:
            binary = queue_server.find()
            command = queue_server.command(binary, settings.run)
            self._add("queue server", lambda: _spawn(command))
        root = settings.state / "local"
        zygote = [sys.executable, "-I", "-m", "broker.runner.zygote", "--root", str(root)]
        zygote += ["--nice", RUNNER_NICE]  # a machine full of jobs still answers its users
        self._add("zygote", lambda: _spawn([*zygote, "--socket", str(settings.zygote_socket)]))
        parts.preload()  # while those two get ready
        if settings.redis_url is None:
            self._until("the queue server", lambda: _answers(settings.run / "valkey.sock"))
        self._until("the zygote", lambda: _answers(settings.zygote_socket))
        self._once("setup", lambda: parts.prepare(settings))
        _settle_memory()
        url = settings.public_url if settings.api.port else _reachable(sock)
        self._add("api", lambda: _fork("api", lambda: parts.api(settings, sock)))
        self._add("worker", lambda: _fork("worker", lambda: parts.worker(settings)))
        self._add("reconciler", lambda: _fork("reconciler", lambda: parts.reconciler(settings)))
        self._until("the API", lambda: _healthy(_reachable(sock)))
        (settings.run / "broker.json").write_text(json.dumps({"pid": os.getpid(), "url": url}))
        self.say(f"The broker is up at {url} (state in {settings.state}). Stop it with Ctrl-C.")

    def _add(self, name: str, start: Callable[[], int]) -> None:
        part = Part(name, start)
        self.parts.append(part)
        self._begin(part)

    def _begin(self, part: Part) -> None:
        part.pid, part.started, part.due = part.start(), time.monotonic(), 0.0

    def _once(self, name: str, work: Callable[[], None]) -> None:
        """Run in a child: what it imports and opens is gone afterwards. Raises SetupError with what it said."""
        reading, writing = os.pipe()
        pid = _fork(name, lambda: _reporting(writing, work))
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            said = told.read().decode()
        _, status = os.waitpid(pid, 0)
        if status:
            raise SetupError(said or f"The broker's {name} ended with {os.waitstatus_to_exitcode(status)}.")

    def _until(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait for a part to be ready. Raises SetupError when it is not in time, or ends."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            taken = signal.sigtimedwait(SIGNALS, 0.05)
            if taken is not None and taken.si_signo in ENDING:
                raise KeyboardInterrupt
            if (dead := self._reap()) is not None:
                raise SetupError(f"The broker's {dead.name} ended while it started; what it said is above.")
            if time.monotonic() > end:
                raise SetupError(f"Waited {START_SECONDS:.0f} s for {what} in vain.", hint="Try: broker doctor")

    def _watch(self) -> None:
        """Start again what ends, ever more slowly while it keeps ending."""
        while True:
            soon = min((part.due - time.monotonic() for part in self.parts if not part.pid), default=60.0)
            taken = signal.sigtimedwait(SIGNALS, max(0.0, soon))
            if taken is not None and taken.si_signo in ENDING:
                return
            while (dead := self._reap()) is not None:
                lived = time.monotonic() - dead.started
                dead.failures = 0 if lived > CALM_SECONDS else dead.failures + 1
                dead.due = time.monotonic() + _pause(dead.failures)
                log.warning("%s ended after %.1f s; it is started again", dead.name, lived)
            self._revive()

    def _revive(self) -> None:
        """Start what is due; a machine that has no room for a process now may have it in a moment."""
        for part in self.parts:
            if not part.pid and part.due <= time.monotonic():
                try:
                    self._begin(part)
                except OSError as error:
                    part.failures += 1
                    part.due = time.monotonic() + _pause(part.failures)
                    log.warning("%s cannot be started now: %s", part.name, error)

    def _reap(self) -> Part | None:
        """A part that has ended, marked so; orphans that became our children are buried silently."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            for part in self.parts:
                if part.pid == pid:
                    part.pid = 0
                    return part

    def _stop(self) -> None:
        """The front first, so that nothing new arrives; then the workers; then the jobs; then what they stood on."""
        self._end("api", "reconciler", "worker")
        if not self.keep_jobs and any(part.name == "zygote" and part.pid for part in self.parts):
            try:
                self._once("stop", lambda: parts.stop_jobs(self.settings))
            except BrokerError as error:
                log.warning("%s", error)
        self._end("zygote", "queue server")

    def _end(self, *names: str) -> None:
        ending = [part for part in self.parts if part.name in names and part.pid]
        for part in ending:
            os.kill(part.pid, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while any(part.pid for part in ending) and time.monotonic() < end:
            signal.sigtimedwait(SIGNALS, 0.2)
            while self._reap() is not None:
                pass
        for part in ending:
            if part.pid:
                log.warning("%s did not stop in %.0f s and is killed", part.name, STOP_SECONDS)
                os.kill(part.pid, signal.SIGKILL)
                os.waitpid(part.pid, 0)
                part.pid = 0


def _pause(failures: int) -> float:
    """Seconds until a part is started again that ended so often in a row."""
    return min(10.0, 0.1 * 2.0 ** min(failures, 7))


@contextmanager
def _alone(path: Path, settings: Settings) -> Iterator[None]:
    """Hold the state directory's lock; a broker that was just killed may need a moment to be gone."""
    with path.open("a") as lock:
        end = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                told = _told(settings)
                if (told is not None and _alive(int(told["pid"]))) or time.monotonic() > end:
                    where = f" (pid {told['pid']}, {told['url']})" if told else ""
                    raise SetupError(
                        f"A broker is already up on the state directory {settings.state}{where}.",
                        hint="Use that one, stop it first, or give this one another directory with --state.",
                    ) from None
                time.sleep(0.1)
        yield


def _told(settings: Settings) -> dict[str, str] | None:
    try:
        found = json.loads((settings.run / "broker.json").read_text())
    except (OSError, ValueError):
        return None
    return {key: str(value) for key, value in found.items()}


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """The API's socket, opened first: a port that is taken is said before anything starts. Raises SetupError."""
    host, port = settings.api.host, settings.api.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"The address {host}:{port} is not free: {error.strerror}.",
                hint="Choose another port with --port, or [api] port in broker.toml.",
            ) from error
        sock.listen(1024)
        sock.set_inheritable(True)
        yield sock


def _reachable(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _healthy(url: str) -> bool:
    try:
        # not by the proxy that the environment may name: it knows no address of ours
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{url}/health/live", timeout=2) as answer:
            return int(answer.status) == 200
    except (OSError, urllib.error.URLError):
        return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _spawn(command: list[str]) -> int:
    """A program with an empty environment that ends when we do."""
    parent = os.getpid()

    def prepare() -> None:
        end_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # preexec_fn: this process has a single thread
    started = subprocess.Popen(
        command, env={}, stdin=subprocess.DEVNULL, preexec_fn=prepare, start_new_session=True, cwd="/"
    )
    started.returncode = 0  # else `subprocess` waits for it too, and we might never hear of its end
    return started.pid


def _settle_memory() -> None:
    """Before the forks: pages that nobody writes to stay shared, and what the imports left over is given back."""
    gc.collect()
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # other C libraries have no arenas
        libc.mallopt(M_ARENA_MAX, 1)  # the threads share the interpreter's lock anyway
        libc.malloc_trim(0)
    gc.freeze()  # the collector of the children leaves them alone


def _fork(name: str, work: Callable[[], None]) -> int:
    """A child that does `work` and ends when we do."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    _child(name, work, parent)


def _child(name: str, work: Callable[[], None], parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        end_with_parent(parent)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        work()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - the process boundary
        print(f"broker {name}:", file=sys.stderr)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reporting(writing: int, work: Callable[[], None]) -> None:
    try:
        work()
    except BrokerError as error:
        os.write(writing, str(error).encode())
        raise SystemExit(1) from None


def supervise(settings: Settings, say: Callable[[str], None] = print, *, keep_jobs: bool = False) -> int:
    """Run the broker in the foreground until SIGTERM or Ctrl-C; 0 after a clean stop.

    `keep_jobs`: local jobs go on running while the broker is down. Raises SetupError.
    """
    supervisor = Supervisor(settings, say, keep_jobs)
    try:
        return supervisor.run()
    except KeyboardInterrupt:
        return 0
