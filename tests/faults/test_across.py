"""One workflow across platforms: steps of it run at another broker, in one job, with one provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.broker import BrokerPeer, broker_peer, wait_for

pytestmark = pytest.mark.xdist_group("across")
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
id: across
$namespaces: {earthcode: "https://earthcode.esa.int/cwl#"}
requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}
inputs: {word: string, n: {type: "int[]", default: [1, 2, 7]}, seconds: {type: int, default: 0}}
outputs:
  all: {type: File, outputSource: last/out}
  first: {type: File, outputSource: first/out}
steps:
  first:  # here
    in: {word: word}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0"; date +%s%N']
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: first.txt
  away:  # elsewhere, for each n below 3
    in:
      made: first/out
      n: n
      seconds: seconds
      twice: {valueFrom: $(inputs.n * 2)}
    when: $(inputs.n < 3)
    scatter: n
    out: [out]
    hints: {"earthcode:Platform": {platform: PLATFORM}}
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'head -n 1 "$0"; echo $1; sleep $2; exit $(( $1 == 666 ? 3 : 0 ))']
      inputs:
        made: {type: File, inputBinding: {position: 1}}
        twice: {type: int, inputBinding: {position: 2}}
        seconds: {type: int, inputBinding: {position: 3}}
      outputs: {out: {type: stdout}}
  last:  # here, with what came back
    in: {parts: {source: away/out, pickValue: all_non_null}}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {parts: {type: "File[]", inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: all.txt
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerPeer, BrokerPeer]]:
    """A broker that runs jobs itself, and has another one as a platform."""
    folder = tmp_path_factory.mktemp("across")
    with broker_peer(folder / "far", EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]') as far:
        platforms = {"local": {"adapter": "local"}, "far": {"adapter": "ogcapi", "url": far.url}}
        with broker_peer(folder / "near", platforms=platforms) as near:
            wait_for(lambda: len(near.get("/platforms").json()["platforms"]) == 2, 30, lambda: near.log.read_text())
            near.deploy(WORKFLOW.replace("PLATFORM", "far"))
            yield near, far


def text_of(near: BrokerPeer, job: str, output: str) -> str:
    href = near.get(f"/jobs/{job}/results?f=json").json()[output]["href"]
    return near.get(href.removeprefix(near.url)).text


def test_a_workflow_runs_here_and_there(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute("across", {"word": "hello"})
    status = near.ended(job)
    assert status["status"] == "successful", json.dumps(status, indent=1)
    assert text_of(near, job, "all") == "hello\n2\nhello\n4\n"
