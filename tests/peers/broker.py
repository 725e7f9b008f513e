"""A whole broker as a test peer: `broker up` as a program, with a state directory and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.peers.ports import free_port
from tests.security import canaries

START_SECONDS = 60.0


@dataclass
class BrokerPeer:
    """A broker that runs: `url`, its `state` directory, and how to talk to it, kill it and start it again."""

    state: Path
    port: int
    environment: dict[str, str]
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.state / "up.log"

    def start(self) -> None:
        """Returns when /health/ready says so. Raises RuntimeError with the log when it does not."""
        self.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "broker.cli", "up", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_for(self._ready, START_SECONDS, lambda: f"the broker did not start:\n{self.log.read_text()}")

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the broker ended ({self.process.returncode}):\n{self.log.read_text()}")
        try:
            return self.session.get(f"{self.url}/health/ready", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def pids(self) -> dict[int, str]:
        """All processes of this broker, keepers and tools left out: pid -> command line."""
        assert self.process is not None
        found = descendants(self.process.pid)
        zygotes = [pid for pid, command in found.items() if "broker.runner.zygote" in command]
        jobs = {below for zygote in zygotes[:1] for below in descendants(zygote)} - set(zygotes[:1])
        return {pid: command for pid, command in found.items() if pid not in jobs}

    def kill(self) -> None:
        """SIGKILL to every process of the broker at once; jobs go on."""
        for pid in self.pids():
            signal_if_there(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    # ---- the API, shortly

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        return self.session.post(self.url + path, timeout=60, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, **kwargs)

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(self.url + path, timeout=60)

    def deploy(self, document: str, *, process: str | None = None) -> str:
        """Deploy CWL text; the process id."""
        where = "/processes" + (f"?w={process}" if process else "")
        answer = self.post(where, data=document.encode(), headers={"Content-Type": "application/cwl"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def execute(self, process: str, inputs: Mapping[str, Any], **body: Any) -> str:
        """Execute asynchronously; the job id."""
        answer = self.post(
            f"/processes/{process}/execution",
            json={"inputs": dict(inputs), **body},
            headers={"Prefer": "respond-async"},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    def status(self, job: str) -> dict[str, Any]:
        answer = self.get(f"/jobs/{job}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, job: str, seconds: float = 60.0) -> dict[str, Any]:
        """The status once the job has ended."""
        wait_for(
            lambda: self.status(job)["phase"] in ("successful", "failed", "dismissed"),
            seconds,
            lambda: f"the job did not end: {self.status(job)}\n{self.log.read_text()[-3000:]}",
        )
        return self.status(job)

    def reaches(self, job: str, phase: str, seconds: float = 30.0) -> None:
        wait_for(
            lambda: self.status(job)["phase"] == phase,
            seconds,
            lambda: f"never {phase}: {self.status(job)}\n{self.log.read_text()[-4000:]}",
        )


@contextmanager
def broker_peer(
    state: Path,
    *,
    options: tuple[str, ...] = (),
    platforms: Mapping[str, Any] | None = None,
    public: bool = False,
    **variables: str,
) -> Iterator[BrokerPeer]:
    """Start a broker; stop it at the end. `variables`: BROKER_... settings without the prefix; `public`: it is told
    its address, so that it gives that to others."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BROKER_", "REDIS_"))}
    environment = clean | {"BROKER_STATE": str(state), "BROKER_API__PORT": str(port)}
    environment |= canaries.of_brokers() | {f"BROKER_{name}": value for name, value in variables.items()}
    if public:
        environment["BROKER_API__URL"] = f"http://127.0.0.1:{port}"
    if platforms is not None:
        environment["BROKER_PLATFORMS"] = json.dumps(platforms)
    peer = BrokerPeer(state, port, environment, options)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
    canaries.left(state)


def command(peer: BrokerPeer, *words: str, code: int = 0, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run `broker WORDS` for the peer, with the token of its session; it has to end with the code."""
    token = str(peer.session.headers.get("Authorization", "")).removeprefix("Bearer ")
    environment = peer.environment | {"BROKER_SERVER": peer.url} | ({"BROKER_TOKEN": token} if token else {})
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *words], env=environment, input=typed, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def as_operator(peer: BrokerPeer) -> None:
    """From now on the peer's session is an operator's (and who is nobody is asked who they are)."""
    said = command(peer, "token", "create", "operator", "--role", "operator", "--state", str(peer.state))
    peer.session.headers["Authorization"] = f"Bearer {said.stdout.split()[-1]}"


def wait_for(condition: Callable[[], bool], seconds: float, message: Callable[[], str]) -> None:
    """Wait on a condition. Raises AssertionError with the message when time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(message())
        time.sleep(0.02)


def descendants(root: int) -> dict[int, str]:
    """The process and all below it: pid -> command line, in the order in which they began (pids start again at the
    bottom some day)."""
    parents: dict[int, int] = {}
    began: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # the parent and the start: fields 4 and 22 of proc(5), counted from the state (field 3) here
            parents[int(entry.name)], began[int(entry.name)] = int(fields[1]), int(fields[19])
    found, new = set(), {root}
    while new:
        found |= new
        new = {pid for pid, parent in parents.items() if parent in new} - found
    return {pid: command_line(pid) for pid in sorted(found, key=lambda pid: (began.get(pid, 0), pid))}


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def processes_with(text: str) -> dict[int, str]:
    """All processes of this machine whose command line holds a text."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    lines = {pid: command_line(pid) for pid in pids if pid != os.getpid()}
    return {pid: line for pid, line in lines.items() if text in line}


def signal_if_there(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
