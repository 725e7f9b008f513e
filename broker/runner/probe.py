"""Tries commands out: whether one works here, or what it said last; and the environment of container engines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker.jobs.secrets import scrubbed

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
PROBE_SECONDS = 60


def engine_environment() -> dict[str, str]:
    """What a container engine needs of an environment: the engine process of a job has none of its own."""
    # In a run PATH is that of the tools; a network of podman's needs iptables.
    environment = {"PATH": f"{os.environ.get('PATH', SYSTEM_PATH)}:/usr/sbin:/sbin"}
    environment["HOME"] = os.environ.get("HOME") or str(Path("~").expanduser())
    runtime = Path(f"/run/user/{os.getuid()}")
    if runtime.is_dir():
        environment["XDG_RUNTIME_DIR"] = str(runtime)
    for name in ("DOCKER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"):
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment


def trial(argv: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """None when the command succeeds, else the last thing it said."""
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1][:300] if said else f"exit code {done.returncode}"


def run_told(argv: Sequence[str], environment: Mapping[str, str], secret: Sequence[str] = ()) -> tuple[int, str]:
    """Run a command to its end, however long that takes: its exit code and what it said, which we say too.

    `secret`: what it must not have said.
    """
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    sys.stderr.write(scrubbed(done.stdout + done.stderr, secret))
    return done.returncode, scrubbed(done.stderr, secret)
