"""`broker run --reuse` against a real broker: what was computed is not computed again, as long as it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer, wait_for

pytestmark = pytest.mark.xdist_group("broker")

# What says when it ran cannot be computed twice with the same result.
PACKAGE = """\
cwlVersion: v1.2
class: Workflow
id: reuse-%s
inputs: {text: File, n: int}
outputs: {out: {type: File, outputSource: last/out}}
steps:
  first:
    in: {text: text}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; date +%%s%%N']
      inputs: {text: {type: File, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: first.txt
  last:
    in: {text: first/out, n: n}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; echo $1; date +%%s%%N']
      inputs: {text: {type: File, inputBinding: {position: 1}}, n: {type: int, inputBinding: {position: 2}}}
      outputs: {out: {type: stdout}}
      stdout: last.txt
"""


@pytest.fixture
def package(alone: Path, request: pytest.FixtureRequest) -> Path:
    """A package of the test's own, and a file to read."""
    Path("in.txt").write_text("hello\n")
    path = Path("package.cwl")
    path.write_text(PACKAGE % request.node.name.removeprefix("test_").replace("_", "-"))
    return path


def run(broker: Broker, package: Path, *words: str, n: int = 1) -> tuple[str, list[str]]:
    """The job, and the lines of its file."""
    said = broker("run", package, "-i", "text=@in.txt", "-i", f"n={n}", "--outdir", "results", "--json", *words)
    assert said.code == 0, said.err
    return json.loads(said.out)["jobID"], Path("results/out/last.txt").read_text().splitlines()


def test_the_same_again_is_not_computed_and_says_so(broker: Broker, peer: BrokerPeer, package: Path) -> None:
    first, lines = run(broker, package, "--reuse")
    second, again = run(broker, package, "--reuse")
    assert again == lines
    status = peer.status(second)
    assert (status["reusedFrom"], status["status"]) == (first, "successful")
    assert first in broker("status", second).out
    record = peer.get(f"/jobs/{second}/prov", headers={"Accept": "application/json"}).text
    assert first in record
    page = peer.get(f"/jobs/{second}?f=html").text
    assert f"/jobs/{first}?f=html" in page
    said = broker("run", package, "-i", "text=@in.txt", "-i", "n=1", "--outdir", "results", "--reuse")
    assert "It did not run" in said.err


def test_the_steps_that_did_not_change_are_not_computed(broker: Broker, peer: BrokerPeer, package: Path) -> None:
    first, lines = run(broker, package, "--reuse")
    second, others = run(broker, package, "--reuse", n=2)
    assert "reusedFrom" not in peer.status(second)
    assert others[:2] == lines[:2]
    assert others[2:] != lines[2:]
    assert peer.status(second)["steps"] == {"done": 2, "total": 2}
    assert first in peer.get(f"/jobs/{second}/prov", headers={"Accept": "application/json"}).text


def test_nothing_is_used_again_that_nobody_allowed(
    broker: Broker, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = run(broker, package)
    monkeypatch.setenv("BROKER_REUSE", "1")
    _, second = run(broker, package)
    assert second[1] != first[1]
    _, third = run(broker, package, "--no-reuse")
    assert third[1] not in (first[1], second[1])
    _, fourth = run(broker, package)
    assert fourth == second


def test_what_was_deleted_is_computed_and_so_are_its_steps(broker: Broker, peer: BrokerPeer, package: Path) -> None:
    first, lines = run(broker, package, "--reuse")
    second, again = run(broker, package, "--reuse")
    assert again == lines
    for job in (first, second):
        assert peer.delete(f"/jobs/{job}/results").status_code == 200
    kept = peer.state / "local" / ".replays"
    wait_for(lambda: not list(kept.glob(f"*/{first}")), 30, lambda: f"not forgotten: {list(kept.glob('*/*'))}")
    _, anew = run(broker, package, "--reuse")
    assert anew[1] != lines[1]
