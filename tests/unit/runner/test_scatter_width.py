"""How wide a step may be scattered: the quota of the job's owner, carried in its limits."""

from __future__ import annotations

import pytest

from broker.jobs.model import Fault, Limits, Reason
from broker.jobs.observation import State
from tests.peers.runner import RunnerPeer

SCATTER = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}}
inputs: {left: "string[]", right: "string[]"}
outputs: {}
steps:
  say:
    in: {one: left, two: right}
    scatter: [one, two]
    scatterMethod: METHOD
    run:
      class: CommandLineTool
      baseCommand: [echo]
      inputs: {one: string, two: string}
      outputs: {}
    out: []
"""


@pytest.mark.parametrize("method", ["dotproduct", "flat_crossproduct", "nested_crossproduct"])
def test_a_scatter_wider_than_the_quota_fails_before_it_runs(runner: RunnerPeer, method: str) -> None:
    width = 3 if method == "dotproduct" else 9
    order = {"left": ["a", "b", "c"], "right": ["d", "e", "f"]}
    package = SCATTER.replace("METHOD", method)
    _, seen = runner.run(package, order, limits=Limits(scatter_width=width))
    assert seen.state is State.SUCCEEDED, seen
    attempt, seen = runner.run(package, order, limits=Limits(scatter_width=width - 1))
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason, seen.failure.step) == (
        Fault.LIMIT,
        Reason.SCATTER_TOO_WIDE,
        "say",
    )
    assert f"over {width} items; this job's quota allows {width - 1}" in seen.failure.message
    assert not runner.platform().steps(attempt), "no step has run"
