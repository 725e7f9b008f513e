"""`broker reproduce` and `broker run --experiment`: records here, on the web, a job; a real broker runs them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Broker

SAY = """cwlVersion: v1.2
class: CommandLineTool
id: say-json
baseCommand: [printf]
inputs:
  text: {type: string, inputBinding: {position: 1}}
stdout: said.json
outputs:
  said: stdout
"""
TEXT = '{"n": 1.0}'
TENTH, TWELFTH = (f"text='{json.dumps({'n': number})}'" for number in (1.1, 1.2))


def written(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def brought(folder: str) -> str:
    """What was said in the results."""
    [found] = Path(folder).rglob("said.json")
    return found.read_text()


@pytest.fixture
def record(alone: Path) -> Path:
    """An experiment in a checkout of a catalog."""
    links = [
        {"rel": "related", "href": "../../workflows/say/record.json"},
        *({"rel": rel, "href": f"./{rel}.yaml"} for rel in ("input", "environment", "output")),
    ]
    experiment = {"id": "said", "properties": {"type": "experiment", "osc:workflow": "say"}, "links": links}
    package = {"rel": "application", "href": "./package.cwl", "type": "application/cwl"}
    there, workflow = alone / "osc" / "experiments" / "said", alone / "osc" / "workflows" / "say"
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    outputs = {"said": [{"path": "said.json", "sha256": digest, "size": len(TEXT)}]}
    written(there / "record.json", experiment)
    written(there / "input.yaml", yaml.safe_dump({"text": TEXT}))
    written(there / "output.yaml", yaml.safe_dump(outputs))
    written(workflow / "record.json", {"id": "say", "properties": {}, "links": [package]})
    written(workflow / "package.cwl", SAY)
    return there


def test_a_record_here_is_checked_and_run_and_the_exit_code_says_the_verdict(broker: Broker, record: Path) -> None:
    checked = broker("reproduce", record, "--check")
    assert checked.code == 0, checked.err
    assert "It can be run again." in checked.err
    assert "warning: experiments/said/environment.yaml cannot be read" in checked.err
    same = broker("reproduce", record / "record.json")
    assert same.code == 0, same.err
    assert "said.json  identical" in same.out
    other = broker("reproduce", record, "-i", TENTH, "--json")
    assert (other.code, other.json["verdict"]) == (1, "different")
    first = other.json["jobID"]  # its files are here: other values may be near enough
    near = broker("reproduce", first, "-i", TWELFTH, "--tolerance", "relative=0.2", "--json")
    assert (near.code, near.json["verdict"]) == (0, "equivalent")


def test_on_other_inputs_with_the_results_here(broker: Broker, record: Path) -> None:
    found = broker("run", "--experiment", record, "-i", "text='{n: 5}'", "-o", "got", "--json")
    assert found.code == 0, found.err
    assert brought("got") == "{n: 5}"
    assert broker("run", "--experiment", record, "-o", "as-it-was", "--json").code == 0
    assert brought("as-it-was") == TEXT


def test_what_is_in_the_way_is_told(broker: Broker, record: Path) -> None:
    (record / "input.yaml").write_text("")
    checked = broker("reproduce", record, "--check")
    assert checked.code == 1
    assert "error: experiments/said/input.yaml is empty: nobody knows what it ran on." in checked.err
    refused = broker("reproduce", record)
    assert refused.code == 1
    assert "input.yaml is empty" in refused.err
    assert "--input NAME=VALUE" in refused.err
    assert broker("reproduce", record, "-i", f"text='{TEXT}'").code == 0
    written(record / "record.json", "[]")
    nothing = broker("reproduce", record)
    assert "is no record of an experiment" in nothing.err
    assert broker("reproduce", "no/such/record.json").code == 2
