"""CWL packages on a back-end that runs CWL itself: the table of what it can take, and what it is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.openeo import cwl
from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec, StageItem
from broker.jobs.secrets import Released
from broker.packages.bundle import build
from broker.packages.cwl import parse

OUT = {"results": {"type": "Directory", "outputBinding": {"glob": "."}}}
TOOL: dict[str, Any] = {"class": "CommandLineTool", "id": "main", "baseCommand": "x", "inputs": {}, "outputs": OUT}
SCENE = StageItem(path="scene/a.tif", url="https://data.example/a.tif")


def spec(tool: dict[str, Any] | None = None, process: str | None = None, **more: Any) -> JobSpec:
    bundle = build(json.dumps({"cwlVersion": "v1.2", **(tool or TOOL)}), process=process)
    return replace(JobSpec("j", 1, "eb-j-1", "me", "mine", "p", bundle.to_json(), {}), **more)


GRAPH = {"$graph": [TOOL | {"id": "first"}, TOOL | {"id": "last"}]}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (spec(), None),
        (spec(GRAPH, "last"), None),
        (spec(stage=(SCENE,)), None),
        (spec(GRAPH, "first"), "neither main nor the last"),
        (spec(stage=(StageItem(path="a", text="by value"),)), "a is not a link"),
        (spec(stage=(StageItem(path="a", url="s3://bucket/a"),)), "a is not a link"),
        (spec(stage=(replace(SCENE, trusted=True),)), "is not a link"),
        (spec(stage=(replace(SCENE, stac=True),)), "is not a link"),
        (spec(secrets=Released(registries={"r.example": {}})), "images need credentials"),
        (spec(TOOL | {"outputs": {}}), "not one Directory"),
        (spec(TOOL | {"outputs": {**OUT, "more": "stdout"}}), "not one Directory"),
        (spec(TOOL | {"outputs": {"a": {"type": "File", "outputBinding": {"glob": "a"}}}}), "not one Directory"),
    ],
)
def test_what_can_be_run_there(given: JobSpec, reason: str | None) -> None:
    document = parse(given.bundle["documents"]["package.cwl"], "package.cwl")
    found = [*cwl.unfit(given, document)]
    assert (found == []) if reason is None else (len(found) == 1 and reason in found[0])
    if reason is not None:
        with pytest.raises(PlatformRefused, match=reason):
            cwl.graph(given, cwl.TO_STAC)


def test_a_package_of_several_files_is_refused() -> None:
    given = spec()
    bundle = {**given.bundle, "documents": {**given.bundle["documents"], "other.cwl": "x"}}
    with pytest.raises(PlatformRefused, match="several files"):
        cwl.graph(replace(given, bundle=bundle), cwl.TO_STAC)


def test_the_text_is_sent_as_it_was_deployed_with_links_as_inputs() -> None:
    order = {"scene": {"class": "File", "location": "inputs/scene/a.tif", "basename": "a.tif"}, "n": [1, {"a": True}]}
    given = spec(stage=(SCENE,), job_order=order)
    arguments = cwl.graph(given, cwl.TO_STAC)["cwl"]["arguments"]
    assert arguments["cwl"] == given.bundle["documents"]["package.cwl"]
    assert arguments["context"] == {"scene": {"class": "File", "location": SCENE.url}, "n": [1, {"a": True}]}
    udf = cwl.graph(given, cwl.UDF)
    assert udf["cwl"]["arguments"] | {"udf": "", "context": {}} == {
        "data": None, "udf": "", "runtime": "EOAP-CWL", "context": {},
    }  # fmt: skip
    assert udf["save"]["process_id"] == "save_result"
    assert cwl.outputs(given) == {"results": {"type": "Directory"}}
