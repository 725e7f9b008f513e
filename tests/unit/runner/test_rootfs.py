"""The root that the sandboxes of a job share: what a step leaves is not for the next one, and nothing is let in."""

from __future__ import annotations

import os
from pathlib import Path

from broker.jobs.model import StageItem
from broker.jobs.observation import State
from broker.runner import kernel, rootfs
from tests.peers.runner import RunnerPeer

STEPS = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: 'File[]'}
steps:
  look:
    scatter: file
    in: {file: files}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'ls /cwl/in/* /dev/shm /tmp; echo x > /dev/shm/left; echo x > /tmp/left; ls /proc/self/fd']
      inputs: {file: File}
      outputs: {out: stdout}
outputs: {out: {type: 'File[]', outputSource: look/out}}
"""


def test_steps_share_nothing_that_is_written(runner: RunnerPeer) -> None:
    stage = tuple(StageItem(f"files/{n}/name{n}", text="x") for n in range(3))
    order = {"files": [{"class": "File", "location": f"inputs/files/{n}/name{n}"} for n in range(3)]}
    platform = runner.platform(cores=1)
    attempt, seen = runner.run(STEPS, order, on=platform, stage=stage)
    assert seen.state == State.SUCCEEDED, seen
    for number, file in enumerate(sorted(one.path for one in platform.collect(attempt).files)):
        with platform.open(attempt, file) as stream:
            text = stream.read().decode()
        assert "left" not in text
        assert len([word for word in text.split() if word.startswith("name")]) == 1, (number, text)
        # 3 is what `ls` reads by
        assert [word for word in text.split() if word.isdigit()] == ["0", "1", "2", "3"], text


def test_it_is_read_only_and_of_this_process_alone(tmp_path: Path) -> None:
    def child() -> int:
        kernel.leave_network()  # a user who is not root may mount only in a user namespace
        root = tmp_path / "root"
        if not rootfs.make(root, (), network=False):
            return 2
        closed = 0
        for path in (root / "x", root / "usr" / "x", root / "etc" / "x", root / "dev" / "x"):
            try:
                path.touch()
            except OSError:
                closed += 1
        (root / "dev" / "null").write_bytes(b"x")
        return 0 if closed == 4 and (root / "usr" / "bin").is_dir() else 1

    _, status = os.waitpid(kernel.fork(child), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert list((tmp_path / "root").iterdir()) == []


def test_what_steps_have_of_their_own_is_not_bound_twice() -> None:
    assert rootfs.of_steps("/tmp/venv")
    assert rootfs.of_steps("/cwl/out")
    assert not rootfs.of_steps("/opt/eo")
    assert not rootfs.of_steps("/tmpfiles")
