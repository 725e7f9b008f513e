"""OWSLib 0.35, unmodified: its `ogcapi.processes` reads everything and executes both ways."""

from __future__ import annotations

import json

from tests.clients.conftest import Run

READS = """
import json, sys
from owslib.ogcapi.processes import Processes
api = Processes(sys.argv[1])
described = api.process("echo")
print(json.dumps({
    "title": api.links[0]["rel"],
    "conformance": api.conformance()["conformsTo"],
    "ids": sorted(one["id"] for one in api.processes()),
    "inputs": sorted(described["inputs"]),
}))
"""
EXECUTES = """
import json, sys
from owslib.ogcapi.processes import Processes
inputs = {"message": "hello", "array": [1, 2]}
print(json.dumps([
    Processes(sys.argv[1]).execute("echo", inputs=inputs),
    Processes(sys.argv[1]).execute("echo", inputs=inputs, async_=True),
    Processes(sys.argv[1]).execute("outputs", inputs={"text": "hello"}, response="document"),
]))
"""


def test_it_reads_what_there_is(script: Run) -> None:
    found = json.loads(script(READS))
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in found["conformance"]
    assert {"echo", "outputs"} <= set(found["ids"])
    assert "bbox" in found["inputs"]


def test_it_executes(script: Run) -> None:
    sync, job, several = json.loads(script(EXECUTES))
    assert sync == {"message": "hello"}
    assert job["status"] in ("accepted", "running", "successful")
    assert job["jobID"]
    assert several["text"] == "hello"
    assert several["said"]["href"].endswith("said.txt")
