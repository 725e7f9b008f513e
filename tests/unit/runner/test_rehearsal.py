"""The rehearsal of an engine in waiting goes the whole way of a job, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# in a process of its own: what the engine does to cwltool is for the life of a process
REHEARSED = """
import json, os
from broker.runner import rehearsal
report = rehearsal.rehearse()
print(json.dumps({"report": report, "directory": os.getcwd(), "open": len(os.listdir("/proc/self/fd"))}))
again = rehearsal.rehearse()
print(json.dumps({"report": again, "directory": os.getcwd(), "open": len(os.listdir("/proc/self/fd"))}))
"""


def test_goes_the_whole_way_and_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", REHEARSED],
        cwd=tmp_path,
        env={"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    for one in (first, second):
        assert one["report"]["failure"] is None
        assert one["report"]["outputs"] == {"text": "x", "files": []}
        assert one["report"]["facts"]["steps"] == 1
        assert one["directory"] == str(tmp_path)
    assert second["open"] <= first["open"] + 1, "the lock of the one core"
    assert done.stderr == ""
    assert not list(temporary.iterdir())
