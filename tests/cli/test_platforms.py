"""`broker platforms` and `broker usage`, for who is no operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Broker

pytestmark = pytest.mark.xdist_group("broker")
TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: used-hello
baseCommand: [echo, hello]
requirements: {ResourceRequirement: {coresMin: 1, ramMin: 64}}
inputs: []
outputs: {said: stdout}
"""


def test_where_jobs_run_and_where_a_process_fits(broker: Broker) -> None:
    for words in (("platforms",), ("platforms", "list")):
        said = broker(*words)
        assert said.code == 0, said.err
        assert "local@" in said.out
        assert "KIND" in said.out
    [one] = broker("platforms", "fits", "echo", "--json").json["platforms"]
    assert one["fits"]
    assert "yes" in broker("platforms", "fits", "echo").out


def test_only_operators_operate(broker: Broker) -> None:
    for words in (
        ("add", "far", "--adapter", "ogcapi", "--set", "url=http://127.0.0.1:9"),
        ("remove", "far"),
        ("pause", "far"),
        ("check", "far"),
    ):
        said = broker("platforms", *words)
        assert (said.code, "--role operator" in said.err) == (1, True), said.err
    assert "NAME=VALUE" in broker("platforms", "add", "far", "--adapter", "ogcapi", "--set", "url").err
    assert "--role operator" in broker("usage", "budget", "local", "far", "--credits", "3").err


def test_usage_of_a_job(broker: Broker, alone: Path) -> None:
    (alone / "hello.cwl").write_text(TOOL)
    assert broker("run", alone / "hello.cwl", "--outdir", alone / "out").code == 0
    rows = broker("usage", "--by", "process", "--json").json["usage"]
    [one] = [row for row in rows if row["process"] == "used-hello"]
    assert (one["jobs"], one["result_bytes"] > 0, one["cpu_hours"] > 0) == (1, True, True)
    assert "used-hello" in broker("usage", "--by", "process").out
    assert broker("usage", "--by", "process", "--csv").out.startswith("process,currency,jobs,")
    assert broker("usage", "budgets").code == 0
    assert broker("usage", "--period", "soon").code == 1
