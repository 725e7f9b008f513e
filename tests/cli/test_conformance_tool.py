"""The tool that cwltest calls: its output, and the exit codes that cwltest reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.broker import BrokerPeer

pytestmark = pytest.mark.xdist_group("broker")
ROOT = Path(__file__).parent.parent.parent

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0" > out.txt; exit $1']
requirements: {ResourceRequirement: {coresMin: 0.1, ramMin: 16}}
arguments: [$(inputs.f), $(inputs.code)]
inputs: {f: File, code: int}
outputs: {out: {type: File, outputBinding: {glob: out.txt}}}
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("hello")
    (tmp_path / "job.yml").write_text("f: {class: File, location: in.txt}\ncode: 0\nunknown: passed over\n")
    (tmp_path / "tool.cwl").write_text(TOOL)
    return tmp_path / "tool.cwl"


def call(peer: BrokerPeer, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.conformance.broker_cwl", "--quiet", *words]
    environment = peer.environment | {"BROKER_SERVER": peer.url, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_output_object_has_local_files(peer: BrokerPeer, document: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    done = call(peer, f"--outdir={out}", document.as_uri(), document.with_name("job.yml").as_uri())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["out"]
    assert Path(found["path"]).is_relative_to(out)
    assert Path(found["path"]).read_text() == "hello"
    assert found["size"] == 5
    assert found["checksum"].startswith("sha1$")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("code: 0", "code: 3", 1), ("f: {class", "g: {class", 1), ("", "", 0)],
)
def test_exit_codes(peer: BrokerPeer, document: Path, old: str, new: str, code: int) -> None:
    order = document.with_name("job.yml")
    order.write_text(order.read_text().replace(old, new))
    assert call(peer, str(document), str(order)).returncode == code


def test_what_is_not_supported_is_33(peer: BrokerPeer, document: Path) -> None:
    unsupported = "requirements: {MPIRequirement: {processes: 2}, ResourceRequirement"
    document.write_text(TOOL.replace("requirements: {ResourceRequirement", unsupported))
    done = call(peer, str(document), str(document.with_name("job.yml")))
    assert done.returncode == 33
    assert "MPIRequirement" in done.stderr
