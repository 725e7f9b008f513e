"""A tool that fills the disk is ended, whatever it does to hide what it has there, and the job says so."""

from __future__ import annotations

import pytest

from broker.jobs.model import Fault, Limits, Reason, StageItem
from broker.jobs.observation import Observation, State
from tests.peers.runner import RunnerPeer, shell

MIB = 2**20
ENDLESS = "; sleep 600"
FILL = "head -c 40M /dev/zero"
WAYS = {
    "one file": f"{FILL} > f",
    "many files": "for i in $(seq 3000); do echo > f$i; done",
    "in its own /tmp": f"{FILL} > /tmp/f",
    "what it says": f"{FILL} >&2",
    "in a directory that it closed": f"mkdir d; {FILL} > d/f; chmod 0 d",
    "deleted and still open": f"exec 9> f; rm f; {FILL} >&9",
    "one in the other": "mkdir -p $(seq -s / 300)",
    "several names for it": f"{FILL} > f; for i in $(seq 2000); do ln f g$i; done",
}


def run(runner: RunnerPeer, script: str, *, size: int = 32 * MIB, files: int = 1500) -> Observation:
    return runner.run(shell(script), limits=Limits(time=20.0, disk_bytes=size, disk_files=files))[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_tool_that_fills_the_disk(runner: RunnerPeer, way: str) -> None:
    """Seen red: without `watch.look`; without `_without_a_name`; as an ordinary user without the second way of
    `open_directory`."""
    seen = run(runner, WAYS[way] + ENDLESS)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.DISK_LIMIT), seen.failure
    assert "at one time" in seen.failure.message or "one in the other" in seen.failure.message
    assert runner.run(shell("true"))[1].state == State.SUCCEEDED


def test_what_is_not_too_much(runner: RunnerPeer) -> None:
    """Links are not followed, names of one file are one file, holes are nothing, and inputs are not counted."""
    package = shell(
        "ln -s / all; head -c 20M /dev/zero > f; ln f g; ln f h; truncate -s 1T hole; rm hole; sleep 3",
        more="requirements: {InitialWorkDirRequirement: {listing: [$(inputs.large)]}}\n",
    ).replace("inputs: []", "inputs: {large: File}")
    order = {"large": {"class": "File", "location": "inputs/large.bin"}}
    item = StageItem("large.bin", text="x" * 40 * MIB)
    limits = Limits(disk_bytes=32 * MIB, disk_files=100)
    _, seen = runner.run(package, order, stage=(item,), limits=limits)
    assert seen.state == State.SUCCEEDED, seen
