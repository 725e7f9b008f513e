"""Starts the process that compares two outputs, in bubblewrap and with bounds; what it says is a stranger's word."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

import broker
from broker.errors import SetupError
from broker.results.comparing import ENVIRONMENT, MOST_SAID
from broker.results.verdict import Judgement, Tolerance, Verdict
from broker.runner import isolation, seccomp
from broker.runner.probe import SYSTEM_PATH

LIBRARIES = ("netCDF4", "numpy", "pyarrow", "rasterio", "zarr")
PROGRAM = (sys.executable, "-m", "broker.results.comparing")
SCRATCH = 64 * 2**20  # bytes of /tmp inside
LOOK_SECONDS = 1.0  # between two looks whether somebody still waits


@dataclass(frozen=True, slots=True)
class Confinement:
    """`bwrap`: the program; None: a plain process, only for files of one's own. Bounds: bytes of private memory,
    seconds of CPU and of time. `given_up`: nobody wants the answer any more, so that the process is ended."""

    bwrap: str | None
    memory: int = 2 * 2**30
    cpu: int = 900
    seconds: float = 1800
    given_up: Callable[[], bool] = bool

    def judge(self, left: Path, right: Path, tolerance: Tolerance) -> tuple[str, Judgement]:
        """Compare two files that differ; gives the format by which, else `bytes`."""
        answer = self._asked(left.absolute(), right.absolute(), tolerance)
        try:
            if "unreadable" not in answer:
                return str(answer["by"])[:40], Judgement.from_json(answer)
            why = str(answer["unreadable"])[:400]
        except (KeyError, TypeError, ValueError):
            why = "what was said about them makes no sense"
        return only_bytes(why)

    def _asked(self, left: Path, right: Path, tolerance: Tolerance) -> dict[str, Any]:
        with (
            tempfile.TemporaryDirectory() as accounts,
            tempfile.TemporaryFile() as said,
            contextlib.ExitStack() as open_,
        ):
            isolation.write_accounts(Path(accounts))
            inside = {"left": f"/data/left/{left.name}", "right": f"/data/right/{right.name}"}
            places = {"left": str(left), "right": str(right)} if self.bwrap is None else inside
            question = {**places, "tolerance": tolerance.to_json(), "memory": self.memory, "cpu": self.cpu}
            program = [*PROGRAM]
            passed: list[int] = []
            if self.bwrap is not None:
                filtering = seccomp.file()
                if filtering is not None:
                    open_.callback(os.close, filtering)
                    passed.append(filtering)
                args = [*_sandbox(Path(accounts), [(str(left), inside["left"]), (str(right), inside["right"])])]
                args += ["--seccomp", str(filtering)] if filtering is not None else []
                program = [self.bwrap, *args, "--", *program]
            with subprocess.Popen(
                program,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=passed,
            ) as child:
                try:
                    code = self._ended(child, json.dumps(question).encode())
                finally:
                    child.kill()
            if code is None:
                why = "was given up" if self.given_up() else f"took longer than {self.seconds:g} s"
                return {"unreadable": f"comparing them {why}"}
            said.seek(0)
            return _heard(said.read(MOST_SAID), code, self)

    def _ended(self, child: subprocess.Popen[bytes], question: bytes) -> int | None:
        """How a process ended that was told a question; None: it has not, in the time that it had."""
        ends = time.monotonic() + self.seconds
        told: bytes | None = question
        while (left := ends - time.monotonic()) > 0 and not self.given_up():
            try:
                child.communicate(told, timeout=min(left, LOOK_SECONDS))
            except subprocess.TimeoutExpired:
                told = None  # communicate goes on with what it was told first
            else:
                return child.returncode
        return None


def only_bytes(why: str) -> tuple[str, Judgement]:
    """What is said of two files that differ and could not be compared otherwise."""
    return "bytes", Judgement(Verdict.DIFFERENT, f"The bytes differ, and only those were compared: {why}.")


def _heard(said: bytes, code: int, bounds: Confinement) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        answer = orjson.loads(said)  # takes nothing that cannot be kept: no NaN, no half of a character
        if isinstance(answer, dict) and code == 0:
            return answer
    if code in (-24, 152, 128 + 24):  # SIGXCPU
        return {"unreadable": f"comparing them took more than {bounds.cpu} s of CPU time"}
    return {"unreadable": f"the program that read them broke off ({code}), perhaps for want of memory"}


def _environment() -> dict[str, str]:
    """Nothing of ours: what is in the environment can be read inside."""
    home = {"HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108  inside
    return {**ENVIRONMENT, **home, "PYTHONPATH": str(_source().parent), "PATH": SYSTEM_PATH}


def _source() -> Path:
    return Path(broker.__file__).parent


def _sandbox(accounts: Path, files: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Arguments of bwrap: system directories, Python with what is installed for it, our own source, the two files."""
    yield from isolation.bubblewrap_base(accounts, network=False)
    yield from ("--new-session", "--size", str(SCRATCH), "--tmpfs", "/tmp")  # noqa: S108  inside
    found = isolation.find_software([Path(sys.prefix)]).directories
    for directory in dict.fromkeys((*found, str(_source()))):
        if not any(Path(directory).is_relative_to(root) for root in isolation.ROOTS):
            yield from ("--ro-bind", directory, directory)
    for outside, inside in files:
        yield from ("--ro-bind", outside, inside)
    yield from ("--remount-ro", "/")


def confinement(*, own: bool = False, **bounds: Any) -> Confinement:
    """What works on this machine. `own`: the files are of who asks, on their machine, so that where bubblewrap does not
    work a plain process will do. Raises SetupError."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise SetupError(
            f"Comparing outputs needs libraries that are not installed: {', '.join(missing)}.",
            hint="Install them: pip install 'earthcode-broker[compare]'",
        )
    notes: list[str] = []
    bwrap = isolation.working_bwrap(notes)
    if bwrap is None and not own:
        raise SetupError(f"Outputs are compared inside bubblewrap only: {'; '.join(notes)}")
    return Confinement(bwrap, **bounds)
