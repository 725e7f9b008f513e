"""CWL tools that name an openEO process: closed over it when they are deployed, their mistakes told then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker.errors import PackageError, UnsupportedPackage
from broker.jobs.placement import UPLOADS
from broker.packages.bundle import Bundle, build
from broker.packages.openeotool import CALL, called, documents
from broker.packages.shape import shaped
from broker.packages.units import held
from broker.runner.loading import inspect

LINK = "https://processes.example/ndwi.json"
NDWI = (Path(__file__).parents[2] / "data" / "openeo" / "ndwi.json").read_bytes()
HINT: dict[str, Any] = {"process_id": "ndwi", "namespace": LINK, "arguments": {"area": "$(inputs.box)"}}


def tool(hint: dict[str, Any], outputs: dict[str, Any] | None = None, **inputs: Any) -> str:
    found = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "id": "there",
        "$namespaces": {"earthcode": "https://earthcode.esa.int/cwl#"},
        "hints": {"earthcode:OpenEOProcess": hint},
        "baseCommand": ["false"],
        "inputs": inputs or {"box": "Any?"},
        "outputs": outputs or {"index": {"type": "File", "outputBinding": {"glob": "*.tif"}}},
    }
    return json.dumps(found)


def closed(hint: dict[str, Any], outputs: dict[str, Any] | None = None, **inputs: Any) -> Bundle:
    return build(tool(hint, outputs, **inputs), read={LINK: NDWI}.__getitem__)


def test_the_process_is_part_of_the_package_and_of_its_digest() -> None:
    bundle = closed(HINT)
    assert bundle.documents[LINK] == NDWI.decode()
    changed = build(tool(HINT), read={LINK: NDWI.replace(b"green", b"swir16")}.__getitem__)
    assert changed.digest != bundle.digest
    assert held(bundle.to_json(), None) == bundle
    found = inspect(bundle, Path("/nowhere"))
    assert found.needs.kind == "openeo"
    assert found.warnings == ()
    assert [one["id"] for one in found.process["inputs"]] == ["box"]


def test_a_call_that_a_client_wrote_itself_counts_for_nothing() -> None:
    sent = closed(HINT)
    forged = Bundle.make(sent.entry, {**sent.documents, CALL: "{}"}, {})
    assert held(forged.to_json(), None) == sent


def test_inputs_are_arguments_by_name_by_reference_and_by_value() -> None:
    hint = {"process_id": "filter", "arguments": {"where": "$(inputs.box)", "scale": 3, "how": "$( inputs.how )"}}
    bundle = closed(hint, box="Any", how={"type": "string", "default": "near"}).to_json()
    process, values, outputs = called(bundle, {"box": [1]})
    assert values == {"where": [1], "scale": 3, "how": "near"}
    assert process["process_graph"]["call"]["arguments"]["where"] == {"from_parameter": "where"}
    assert outputs == {"index": {"type": "File", "glob": "*.tif", "optional": False}}
    assert called(closed({"process_id": "filter"}).to_json(), {"box": [2]})[1] == {"box": [2]}
    assert called(closed(HINT).to_json(), {"box": None})[1] == {"area": None}


def test_a_tool_whose_process_reads_files_needs_a_workspace() -> None:
    bundle = closed({"process_id": "load_uploaded_files", "arguments": {"paths": "$(inputs.scenes)"}}, scenes="File[]")
    found = inspect(bundle, Path("/nowhere"))
    assert shaped(found.needs, bundle, found.process).shape == {UPLOADS}
    other = closed(HINT)
    assert shaped(inspect(other, Path("/nowhere")).needs, other, {}).shape == frozenset()


def test_what_the_hint_says_of_result_and_job() -> None:
    save = {"format": "netCDF", "options": {"zlib": True}}
    process, _, _ = called(closed(HINT | {"save_result": save, "job_options": {"memory": "2g"}}).to_json(), {})
    assert process["process_graph"]["save"]["arguments"] == {"data": {"from_node": "index"}, **save}
    assert process["default_job_options"] == {"memory": "2g"}


OUTPUT = {"type": "File", "outputBinding": {"glob": "*.tif"}}


@pytest.mark.parametrize(
    ("hint", "outputs", "error", "said"),
    [
        ({"namespace": LINK}, None, PackageError, "names no process_id"),
        (HINT | {"proces": 1}, None, PackageError, "no member 'proces'"),
        (HINT | {"process_id": "other"}, None, PackageError, "does not hold the openEO process 'other'"),
        (HINT | {"namespace": "https://gone.example/x"}, None, KeyError, "gone"),
        (HINT | {"arguments": {"aera": 1}}, None, PackageError, "no parameter 'aera'"),
        (HINT | {"arguments": {"area": "$(inputs.bx)"}}, None, PackageError, "the input 'bx'"),
        (HINT | {"arguments": {"area": "$(inputs.box)!"}}, None, UnsupportedPackage, "is an expression"),
        (HINT, {"a": {**OUTPUT, "type": "string"}}, UnsupportedPackage, "not string"),
        (HINT, {"a": {"type": "File"}}, UnsupportedPackage, "needs a glob"),
        (HINT, {"a": {"type": "File", "outputBinding": {"glob": "$(inputs.box)"}}}, UnsupportedPackage, "needs a glob"),
    ],
)
def test_mistakes_are_told_when_it_is_deployed(
    hint: dict[str, Any], outputs: dict[str, Any] | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        closed(hint, outputs)


def test_a_step_that_names_a_process_is_sent_to_a_platform_of_those() -> None:
    flow = {
        "cwlVersion": "v1.2",
        "class": "Workflow",
        "inputs": {"box": "Any?"},
        "outputs": [],
        "steps": {"far": {"run": json.loads(tool(HINT)), "in": {"box": "box"}, "out": []}},
    }
    found = inspect(build(json.dumps(flow)), Path("/nowhere"))
    assert found.needs.kind == "cwl"
    assert found.needs.elsewhere == {"openEO"}


@pytest.mark.parametrize("hints", [5, "x", [""], [None], {"a": "b"}, {"a": None}])
@pytest.mark.parametrize("namespaces", [None, [], "x", {}])
def test_hints_of_any_shape_name_no_process(hints: Any, namespaces: Any) -> None:
    tool = {"class": "CommandLineTool", "hints": hints, "$namespaces": namespaces}
    assert documents(tool, "", {}) == {}


def test_other_tools_are_left_alone() -> None:
    plain = json.loads(tool(HINT))
    del plain["hints"]
    bundle = build(json.dumps(plain))
    assert [*bundle.documents] == ["package.cwl"]
    assert inspect(bundle, Path("/nowhere")).needs.kind == "cwl"
