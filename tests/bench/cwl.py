"""Figures beside the `cwltool` command: a trivial job's latency, and the CPU of a step in a scatter of 1000."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import load
from tests.bench.cpu import tree_cpu
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer

ECHO = Path(__file__).resolve().parents[2] / "workflows" / "echo" / "package.cwl"
CWLTOOL = [str(Path(sys.executable).parent / "cwltool"), "--no-container", "--quiet"]
SCATTER = """cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {n: 'string[]'}
steps:
  say:
    run:
      class: CommandLineTool
      baseCommand: echo
      requirements: {ResourceRequirement: {coresMin: 1, ramMin: 16}}
      inputs: {n: {type: string, inputBinding: {}}}
      outputs: {out: stdout}
    scatter: n
    in: {n: n}
    out: [out]
outputs: {all: {type: 'File[]', outputSource: say/out}}
"""
STEPS = 1000


def echo(peer: BrokerPeer, folder: Path, runs: int = 30) -> Figure:
    """From POST to `successful`, seen by a client that waits with Prefer: wait."""
    body = json.dumps({"inputs": {"message": "hello"}, "response": "document"}).encode()
    whole = load.request("POST", "/processes/echo/execution", body, [("Content-Type", "application/json")])
    load.run(peer.port, lambda _: whole, count=3, clients=1)
    run = load.run(peer.port, lambda _: whole, count=runs, clients=1)
    assert not run.errors
    ours = run.p50 / 1000
    order = ECHO.with_name("inputs.yml")
    peers = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*CWLTOOL, "--outdir", str(folder), str(ECHO), str(order)], check=True, capture_output=True)
        peers.append(time.perf_counter() - start)
    theirs = statistics.median(peers)
    return Figure(
        "echo job, POST to successful, median",
        f"{ours * 1000:.0f} ms",
        f"cwltool command {theirs * 1000:.0f} ms",
        ours / theirs,
        1 / 15,
        "at most 1/15 of cwltool's",
    )


def scatter(peer: BrokerPeer, folder: Path) -> Figure:
    """CPU of all processes (user and system), divided by the steps; both sides write 1000 output files."""
    document, order = folder / "scatter.cwl", folder / "scatter.json"
    document.write_text(SCATTER)
    values = {"n": [f"s{i}" for i in range(STEPS)]}
    order.write_text(json.dumps(values))
    process = peer.deploy(SCATTER)
    assert peer.process is not None
    before = tree_cpu(peer.process.pid)
    status = peer.ended(peer.execute(process, values), 600)
    assert status["status"] == "successful", status
    ours = (tree_cpu(peer.process.pid) - before) / STEPS * 1000
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*CWLTOOL, "--outdir", str(folder / "out"), str(document), str(order)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = (end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime) / STEPS * 1000
    platform = peer.get("/platforms").json()["platforms"][0]
    isolation = platform["capabilities"]["isolation"]
    return Figure(
        f"scatter of {STEPS} steps, CPU per step (ours isolated by {isolation}, cwltool not at all)",
        f"{ours:.1f} ms",
        f"cwltool {theirs:.1f} ms",
        ours / theirs,
        1.0,
        "below cwltool's; aim at half",
    )
