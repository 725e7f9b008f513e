"""The CWL v1.2 conformance suite through the broker's HTTP API: `python -m tests.conformance SUITE [cwltest options]`.

SUITE is a checkout of common-workflow-language/cwl-v1.2. Without $BROKER_SERVER a broker is started for the run.
Where podman is, but no registry can be reached, `tests/conformance/images.sh` makes the images that the suite names;
CWL_ENGINE=none runs the suite without containers, CWL_TAGS=inline_javascript,required only the tests of these tags.
The verdicts go to build/conformance-cwl.xml (JUnit) and build/conformance-cwl-badges/ (per tag).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.peers.broker import broker_peer

ROOT = Path(__file__).parent.parent.parent
TOOL = Path(__file__).with_name("broker_cwl.py")


def cwltest(suite: Path, server: str, options: Sequence[str]) -> int:
    """Run cwltest; its exit code."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        tool, badges = Path(directory) / "broker-cwl", Path(directory) / "badges"
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.conformance.broker_cwl "$@"\n')
        tool.chmod(0o755)
        command = [
            str(Path(sys.executable).with_name("cwltest")),
            f"--test={suite / 'conformance_tests.yaml'}",
            f"--tool={tool}",
            f"--junit-xml={build / 'conformance-cwl.xml'}",
            f"--badgedir={badges}",  # cwltest wants to make it
            "--timeout=120",
            *([f"--tags={tags}"] if (tags := os.environ.get("CWL_TAGS")) else []),
            *(options or ["-j4"]),
        ]
        environment = os.environ | {"BROKER_SERVER": server, "PYTHONPATH": str(ROOT)}
        code = subprocess.run(command, env=environment, check=False).returncode
        if badges.is_dir():
            shutil.copytree(badges, build / "conformance-cwl-badges", dirs_exist_ok=True)
        return code


def main(arguments: Sequence[str]) -> int:
    if not arguments or not (Path(arguments[0]) / "conformance_tests.yaml").is_file():
        print("Say where the suite is: CWL_SUITE=/path/to/cwl-v1.2", file=sys.stderr)
        print("It comes from: git clone https://github.com/common-workflow-language/cwl-v1.2", file=sys.stderr)
        return 2
    suite = Path(arguments[0]).absolute()
    if server := os.environ.get("BROKER_SERVER"):
        return cwltest(suite, server, arguments[1:])
    # Without containers tools of the suite look for `python`, which a machine may only have as python3.
    local = {"adapter": "local", "software": [sys.prefix], "engine": os.environ.get("CWL_ENGINE", "auto")}
    with (
        tempfile.TemporaryDirectory() as directory,
        broker_peer(Path(directory) / "state", platforms={"local": local}) as peer,
    ):
        return cwltest(suite, peer.url, arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
