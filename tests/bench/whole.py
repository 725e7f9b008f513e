"""Figures of the whole stack: memory when idle, recovery after kill -9, and `make demo` on a new machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.cpu import tree_pss
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
NAP = """cwlVersion: v1.2
class: CommandLineTool
id: nap
baseCommand: sleep
requirements: {ResourceRequirement: {coresMin: 0.01, ramMin: 8}}
inputs: {seconds: {type: double, inputBinding: {}}}
outputs: []
"""


def idle_memory(peer: BrokerPeer) -> Figure:
    """PSS of every process of the stack, after it has run a job and been left alone."""
    peer.ended(peer.execute("echo", {"message": "x"}))
    assert peer.process is not None
    parts = tree_pss(peer.process.pid)
    for name, size in parts.items():
        print(f"    {size:6.1f} MB  {name}")
    total = sum(parts.values())
    return Figure(
        "idle stack, two worker slots, PSS of all processes", f"{total:.0f} MB", "-", total, 300, "at most 300 MB"
    )


def recovery(peer: BrokerPeer, jobs: int = 50, seconds: float = 10.0) -> Figure:
    """kill -9 of all processes of the broker while jobs run; from `up` again until all are terminal."""
    peer.deploy(NAP)
    ids = [peer.execute("nap", {"seconds": seconds}) for _ in range(jobs)]
    wait_for(lambda: all(peer.status(job)["phase"] == "running" for job in ids), 120, lambda: "not all are running")
    began = [peer.status(job)["started"] for job in ids]
    assert all(began)
    peer.kill()
    start = time.monotonic()
    peer.start()
    for job in ids:
        assert peer.ended(job, 60)["status"] == "successful"
    took = time.monotonic() - start
    own = seconds
    return Figure(
        f"after kill -9 with {jobs} jobs running: all terminal",
        f"{took:.1f} s",
        f"their own run time is {own:.0f} s",
        max(0.0, took - own),
        15.0,
        "at most 15 s more than their run time",
    )


def demo() -> Figure:
    """`make demo` in a fresh clone with an empty home directory and an empty cache: downloads included."""
    with tempfile.TemporaryDirectory() as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        kept = ("PATH", "LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home)}
        start = time.monotonic()
        done = subprocess.run(["make", "demo"], cwd=clone, env=environment, capture_output=True, text=True)
        took = time.monotonic() - start
        assert done.returncode == 0, done.stdout + done.stderr
    return Figure("make demo on a bare machine, downloads included", f"{took:.0f} s", "-", took, 180, "at most 180 s")
