"""`broker quota`, `broker results --delete`, and what `broker jobs` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Broker

pytestmark = pytest.mark.xdist_group("broker")
TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: quota-hello
baseCommand: [echo, hello]
requirements: {ResourceRequirement: {coresMin: 0.1, ramMin: 16}}
inputs: []
outputs: {said: stdout}
"""


def test_my_quota_by_command(broker: Broker) -> None:
    for words in (("quota",), ("quota", "show")):
        said = broker(*words)
        assert said.code == 0, said.err
        assert "jobs that wait" in said.out
        assert "person local" in said.out
    [me] = [one for one in broker("quota", "show", "--json").json["quotas"] if one["kind"] == "person"]
    assert (me["subject"], me["limits"]) == ("local", {})


def test_only_operators_set_quotas(broker: Broker) -> None:
    assert "--role operator" in broker("quota", "set", "person", "local", "--running", "3").err
    assert broker("quota", "unset", "person", "local").code == 1
    assert broker("quota", "show", "--all").code == 1
    assert broker("quota", "set", "person", "local").code == 2
    assert broker("quota", "show", "person").code == 2


def test_results_are_deleted_by_command(broker: Broker, alone: Path) -> None:
    (alone / "hello.cwl").write_text(TOOL)
    assert broker("run", alone / "hello.cwl", "--outdir", alone / "out").code == 0
    job = next(one for one in broker("jobs", "--json").json if one["processID"] == "quota-hello")["jobID"]
    both = broker("results", job, "--delete", "--download", alone / "again")
    assert both.code == 2
    assert "were deleted on 20" in broker("results", job, "--delete").err
    gone = broker("results", job)
    assert gone.code == 1
    assert "were deleted on 20" in gone.err
    assert "quota-hello" in gone.err, "how to have them again"
    shown = broker("jobs", "--process", "quota-hello")
    assert "were deleted on 20" in shown.out
    assert "TOOK" in shown.out
    assert "results-gone" in broker("results", job, "--json").err
