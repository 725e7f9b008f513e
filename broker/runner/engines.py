"""Container engines: which of them really starts a container here, and how it wants to be called."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from broker.runner import apptainer
from broker.runner.probe import SYSTEM_PATH, engine_environment, trial

ENGINES = ("podman", "docker", apptainer.NAME)  # in this order, where any will do
PROBE_IMAGE = "localhost/earthcode-broker-probe:1"
_PROBE_MOUNT = ("--mount=type=bind,source=/usr,target=/usr,readonly",)


# For every container: no right of root's, also where it runs as root, and none to be had from a program.
HARDENED = ("--cap-drop=all", "--security-opt=no-new-privileges")


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that works here. `run_args`: what `run` needs; `limited`: whether it keeps `limits`."""

    name: str
    argv: tuple[str, ...]
    run_args: tuple[str, ...]
    limited: bool = False


def limits(memory: int, processes: int, cores: float) -> tuple[str, ...]:
    """Arguments of `run`: bytes (no swap besides), processes and threads, cores."""
    return (f"--memory={memory}b", f"--memory-swap={memory}b", f"--pids-limit={processes}", f"--cpus={cores:g}")


def working(name: str, engine_args: Sequence[str], notes: list[str], *, wanted: bool) -> Engine | None:
    """The first way of calling the engine that really starts a container (of an empty image, with our /usr)."""
    program = shutil.which(name, path=os.environ.get("PATH", SYSTEM_PATH))
    if program is None:
        if wanted:
            notes.append(f"{name} is not installed: apt-get install {name}")
        return None
    if name == apptainer.NAME:
        found = apptainer.find(program, engine_args, engine_environment())
        if isinstance(found, str):
            notes.append(f"{name} is installed but starts no container ({found}).")
            return None
        return Engine(name, *found)
    calls = [(program, *engine_args)]
    if name == "podman" and not engine_args and shutil.which("runc"):
        calls.append((program, "--runtime", "runc"))
    outcome = _make_probe_image(calls[0])
    bounds = limits(2**28, 100, 1.0)
    # Without root, our user's number inside is another user's outside, unless it is kept: files could not be written.
    always = (*HARDENED, "--userns=keep-id") if name == "podman" and os.geteuid() != 0 else HARDENED
    for run_args, bounded, call in product(((), _ulimits()), (bounds, ()), calls):
        if outcome is None or outcome.startswith("run:"):
            words = [*call, "run", "--rm", "--network=none", *always, *bounded, *run_args, *_PROBE_MOUNT]
            said = trial([*words, PROBE_IMAGE, "/usr/bin/true"], engine_environment())
            if said is None:
                if not bounded:
                    notes.append(f"{name} cannot limit memory and processes of containers here.")
                return Engine(name, call, (*always, *run_args), bool(bounded))
            outcome = f"run: {said}"
    notes.append(f"{name} is installed but starts no container ({outcome}).")
    return None


def _ulimits() -> tuple[str, ...]:
    """The limits this process has: an engine that may not raise limits fails unless told to leave them."""
    limits = []
    for name, which in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        soft = resource.getrlimit(which)[0]
        bound = 4096 if soft == resource.RLIM_INFINITY else min(soft, 4096)
        limits.append(f"--ulimit={name}={bound}:{bound}")
    return tuple(limits)


def _make_probe_image(call: Sequence[str]) -> str | None:
    """Import an image that holds one static program; what went wrong, or None."""
    environment = engine_environment()
    if trial([*call, "image", "inspect", PROBE_IMAGE], environment) is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        for name in ("usr", "proc", "sys", "dev", "etc", "tmp"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        archive = shutil.make_archive(str(Path(directory) / "image"), "tar", root)
        return trial([*call, "import", archive, PROBE_IMAGE], environment)
