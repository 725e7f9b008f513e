"""Needs: the largest resources of any step, the union of features and images."""

from __future__ import annotations

import pytest

from broker.jobs.model import Needs
from tests.unit.packages.documents import inspected, tool

WORKFLOW = """\
cwlVersion: v1.2
$namespaces: {cwltool: 'http://commonwl.org/cwltool#'}
$graph:
- class: Workflow
  id: main
  requirements: {ScatterFeatureRequirement: {}, SubworkflowFeatureRequirement: {}, ResourceRequirement: {ramMin: 1000}}
  inputs: {a: 'string[]'}
  outputs: []
  steps:
    second: {run: '#big', in: {x: a}, out: [], scatter: x}
    first: {run: '#inner', in: {}, out: []}
- class: Workflow
  id: inner
  inputs: []
  outputs: []
  steps:
    deep: {run: '#small', in: {}, out: [], requirements: {ToolTimeLimit: {timelimit: 60}}}
- class: CommandLineTool
  id: big
  requirements:
    DockerRequirement: {dockerPull: big:1}
    NetworkAccess: {networkAccess: true}
    ResourceRequirement: {coresMin: 4, ramMin: $(inputs.x), tmpdirMax: 5}
    cwltool:CUDARequirement: {cudaVersionMin: '11', cudaComputeCapability: '3', cudaDeviceCountMin: 1}
  inputs: {x: string}
  outputs: []
- class: CommandLineTool
  id: small
  hints:
    DockerRequirement: {dockerPull: small:1}
    ResourceRequirement: {coresMin: 99}
    NetworkAccess: {networkAccess: true}
  inputs: []
  outputs: []
"""


def test_of_a_workflow() -> None:
    found = inspected(WORKFLOW)
    assert found.steps == ("second", "first", "first/deep")
    assert found.needs == Needs(
        cores=4.0,
        ram_mib=1000,
        tmp_mib=5,
        features=frozenset({
            "ScatterFeatureRequirement", "SubworkflowFeatureRequirement", "ResourceRequirement", "ToolTimeLimit",
            "DockerRequirement", "NetworkAccess", "CUDARequirement",
        }),
        images={"big:1": True, "small:1": False},
        network=True,
        gpu=True,
        time_limit=60.0,
    )  # fmt: skip


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
def test_defaults(version: str) -> None:
    found = inspected(tool(version=version))
    assert found.needs == Needs(cores=1.0, ram_mib=256)
    assert found.cwl_version == version


@pytest.mark.parametrize(
    ("resources", "cores", "ram"),
    [
        ("{coresMin: 2, coresMax: 8}", 2, 256),
        ("{coresMax: 8}", 8, 256),
        ("{coresMin: 0.5, ramMin: 10.2}", 0.5, 11),
        ("{coresMin: $(1+1), ramMin: '$(2)'}", 1, 256),
    ],
)
def test_resources(resources: str, cores: float, ram: int) -> None:
    needs = inspected(tool(more=f"requirements: {{ResourceRequirement: {resources}}}\n")).needs
    assert (needs.cores, needs.ram_mib) == (cores, ram)
