"""A real zygote with a local platform on it, and small packages for it to run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.local.platform import LocalPlatform
from adapters.local.settings import LocalSettings
from broker.errors import PlatformUnavailable
from broker.jobs.model import Attempt, JobSpec, Limits, StageItem, remote_name
from broker.jobs.observation import Observation, State
from broker.packages.bundle import build
from broker.runner.client import Zygote
from tests.peers.broker import wait_for

ECHO = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs:
  message: {type: string, inputBinding: {}}
outputs:
  said: {type: stdout}
stdout: said.txt
"""

SLEEP = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo awake >&2; sleep "$0"']
inputs:
  seconds: {type: string, inputBinding: {}}
outputs: []
"""


def shell(script: str, outputs: str = "[]", more: str = "") -> str:
    """A tool that runs a shell script; `outputs` and `more` are YAML on one line each."""
    # `$(` would be a parameter reference of CWL
    lines = "\n".join(f"      {line}" for line in script.replace("$(", "\\$(").splitlines())
    return (
        "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: [sh, -c]\narguments:\n"
        f"  - |-\n{lines}\ninputs: []\noutputs: {outputs}\n{more}"
    )


class RunnerPeer:
    """`python -m broker.runner.zygote`, started as the supervisor starts it, and jobs on it."""

    def __init__(self, directory: Path, around: Sequence[str] = ()) -> None:
        """`around`: words before the command, for what starts it in another surrounding."""
        self.around = around
        self.root = directory / "jobs"
        self.socket = directory / "z.sock"
        self.log = directory / "zygote.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        command = [sys.executable, "-I", "-m", "broker.runner.zygote", "--root", str(self.root)]
        with self.log.open("ab") as log:
            words = [*self.around, *command, "--socket", str(self.socket)]
            self.process = subprocess.Popen(words, env={}, stderr=log, cwd="/")
        wait_for(self.answers, 60, lambda: f"no zygote: {self.log.read_text()}")

    def answers(self) -> bool:
        try:
            return bool(Zygote(self.socket).ping()["ok"])
        except PlatformUnavailable:
            return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def platform(self, **settings: Any) -> LocalPlatform:
        options = {"root": self.root, "socket": self.socket, "engine": "none", "nice": 0} | settings
        return LocalPlatform("local", LocalSettings(**options))

    def spec(self, package: str, order: Mapping[str, Any] | None = None, **more: Any) -> JobSpec:
        """A job of its own for a package; `more`: fields of JobSpec."""
        bundle = build(package)
        needs = Zygote(self.socket).check(bundle.to_json()).needs
        job_id = f"j{os.getpid()}x{next(self._numbers)}"
        name = remote_name(job_id, 1)
        spec = JobSpec(job_id, 1, name, "me", "mine", "process", bundle.to_json(), dict(order or {}), needs=needs)
        return replace(spec, **more)

    def run(
        self,
        package: str,
        order: Mapping[str, Any] | None = None,
        *,
        on: LocalPlatform | None = None,
        stage: tuple[StageItem, ...] = (),
        limits: Limits | None = None,
    ) -> tuple[Attempt, Observation]:
        """Run a package to its end."""
        platform = on or self.platform()
        spec = self.spec(package, order, stage=stage, limits=limits or Limits())
        list(platform.submit(spec))
        attempt = attempt_of(spec)
        return attempt, ended(platform, attempt)


def attempt_of(spec: JobSpec) -> Attempt:
    return Attempt(spec.job_id, spec.attempt, spec.name)


def look(platform: LocalPlatform, attempt: Attempt) -> Observation:
    [seen] = platform.observe([attempt])
    return seen


def ended(platform: LocalPlatform, attempt: Attempt, seconds: float = 60.0) -> Observation:
    """Wait until the attempt is neither queued nor running."""
    going = (State.QUEUED, State.RUNNING)
    wait_for(lambda: look(platform, attempt).state not in going, seconds, lambda: str(look(platform, attempt)))
    return look(platform, attempt)


@contextmanager
def runner_peer(directory: Path, around: Sequence[str] = ()) -> Iterator[RunnerPeer]:
    peer = RunnerPeer(directory, around)
    peer.start()
    try:
        yield peer
    finally:
        peer.kill(signal.SIGTERM)
