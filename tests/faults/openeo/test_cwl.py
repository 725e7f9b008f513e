"""Back-ends that run CWL packages themselves."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.jobs.model import Needs, StageItem
from broker.jobs.observation import State
from broker.packages.bundle import build
from tests.faults.openeo.looking import NDVI, ended, read
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, submitted
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")


PACKAGE = """cwlVersion: v1.2
class: CommandLineTool
id: main
baseCommand: [sh, -c, 'mkdir out; cp "$0" out/copy.txt; echo "{}" > out/catalog.json']
inputs:
  text: {type: File, inputBinding: {}}
outputs:
  results: {type: Directory, outputBinding: {glob: out}}
"""


def test_a_back_end_that_runs_cwl_takes_packages(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    capabilities = platform.check().capabilities
    assert capabilities.kinds == {"cwl", "openeo"}
    assert "DockerRequirement" in capabilities.features
    with WebPeer() as web:
        link = web.serve("/hello.txt", b"hello")
        order = {"text": {"class": "File", "location": "inputs/text/hello.txt", "basename": "hello.txt"}}
        stage = (StageItem(path="text/hello.txt", url=link),)
        bundle = build(PACKAGE).to_json()
        attempt = submitted(platform, back_end.spec(NDVI, order, bundle=bundle, stage=stage, needs=Needs("cwl")))
        seen = ended(platform, attempt)
    assert seen.state == State.SUCCEEDED, seen
    collected = platform.collect(attempt)
    assert collected.outputs["results"]["class"] == "Directory"
    assert read(platform, attempt, "stac/copy.txt") == b"hello"


@pytest.mark.parametrize(
    ("listed", "runtimes", "found"),
    [
        (["add", "run_cwl_to_stac"], {}, "run_cwl_to_stac"),
        (["add"], {"EOAP-CWL": {}}, "run_udf"),
        (["add"], {"Python": {}}, None),
    ],
)
def test_by_which_process_a_back_end_runs_cwl(
    back_end: OpenEoPeer, faults: Faults, listed: list[str], runtimes: dict[str, Any], found: str | None
) -> None:
    faults.answer("GET", "/processes$", 200, body={"processes": [{"id": name} for name in listed]})
    faults.answer("GET", "/udf_runtimes$", 200, body=runtimes)
    platform = back_end.platform(faults.url)
    assert platform.api.runs_cwl() == found
    assert ("cwl" in platform.check().capabilities.kinds) == (found is not None)
    assert faults.count("GET", "/processes$") == 1  # it is long
    assert back_end.platform(cwl="none").check().capabilities.kinds == {"openeo"}
