"""The shape of packages, and the types of data that they name: what placement is told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.openeo import cwl
from broker.jobs.model import Capabilities, Needs, StageItem
from broker.jobs.placement import Candidate, Wish, against, closed
from broker.packages import openeo
from broker.packages.bundle import build
from broker.packages.shape import shaped
from tests.unit.packages.documents import inspected

OUT = {"results": {"type": "Directory", "outputBinding": {"glob": "."}}}
SCENE = {"scene": {"type": "File", "format": "https://www.iana.org/assignments/media-types/image/jp2"}}
TOOL: dict[str, Any] = {"class": "CommandLineTool", "id": "main", "baseCommand": "x", "inputs": SCENE, "outputs": OUT}
CWL_THERE = Capabilities(frozenset({"cwl", "openeo"}), ram_mib=4096, container_engine="openEO", without=cwl.WITHOUT)
LINK = StageItem("scene/a.jp2", url="https://data.example/a.jp2")


def needs(tool: Mapping[str, Any]) -> Needs:
    text = json.dumps({"cwlVersion": "v1.2", **tool})
    bundle, found = build(text), inspected(text)
    return shaped(found.needs, bundle, found.process)


def why(needs: Needs, *stage: StageItem, **offer: Any) -> tuple[str, ...]:
    """Why such a job may not run on a back-end that runs CWL."""
    return against(Wish(needs, closed=closed(stage)), Candidate("far", replace(CWL_THERE, **offer)))


@pytest.mark.parametrize(
    ("tool", "stage", "reason"),
    [
        (TOOL, [LINK], None),
        (TOOL | {"outputs": {}}, [], "one output is a Directory"),
        (TOOL | {"outputs": {**OUT, "more": "stdout"}}, [], "one output is a Directory"),
        (TOOL, [StageItem("a", text="by value")], "a is not"),
        (TOOL, [StageItem("a", url="s3://bucket/a")], "a is not"),
        (TOOL, [StageItem("a", url="upload:1")], "a is not"),
        (TOOL, [LINK, StageItem("b", url="https://data.example/b", stac=True)], "b is not"),
    ],
)
def test_what_a_back_end_that_runs_cwl_takes(tool: dict[str, Any], stage: list[StageItem], reason: str | None) -> None:
    """The same that its adapter finds when the job is submitted, before it is placed there."""
    found = why(needs(tool), *stage)
    assert (found == ()) if reason is None else (len(found) == 1 and reason in found[0]), found
    assert why(needs(tool), *stage, without=frozenset()) == ()  # other platforms take all of them


def test_several_files_are_part_of_the_shape() -> None:
    text = json.dumps({"cwlVersion": "v1.2", **TOOL})
    one, found = build(text), inspected(text)
    several = replace(one, documents={**one.documents, "other.cwl": "x: 1"})
    assert "several" in why(shaped(found.needs, several, found.process))[0]


def test_the_media_types_of_inputs_and_outputs_are_needs() -> None:
    found = needs(TOOL)
    assert found.data_types == {"input scene": ("image/jp2",)}
    assert Needs.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert why(found, data_types=frozenset({"JP2OpenJPEG"})) == ()
    [reason] = why(found, data_types=frozenset({"GTiff", "netCDF"}))
    assert reason == "it does not support image/jp2 (the input scene)."
    unknown = needs(TOOL | {"inputs": {"a": {"type": "File", "format": "https://example.org/own-format"}}})
    assert unknown.data_types == {}


def test_the_format_of_an_openeo_process_is_a_need() -> None:
    load = {"process_id": "load", "arguments": {}}
    for form, wanted in (("netCDF", {"output stac": ("netCDF",)}), ({"from_parameter": "format"}, {})):
        save = {"process_id": "save_result", "arguments": {"data": {"from_node": "a"}, "format": form}, "result": True}
        parameters = [{"name": "format", "description": "", "schema": {"type": "string"}}]
        process = {"id": "p", "parameters": parameters, "process_graph": {"a": load, "b": save}}
        bundle = build(json.dumps(process), name="p.json")
        assert openeo.inspection(bundle.documents, bundle.entry).needs.data_types == wanted
