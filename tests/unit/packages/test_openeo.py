"""openEO processes as packages: recognised in every way of deploying, described, their mistakes found with the line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from broker.errors import InputError, PackageError, UnsupportedPackage, WorkflowNotFound
from broker.jobs.placement import UPLOADS
from broker.packages import openeo
from broker.packages.appackage import deployment
from broker.packages.bundle import Bundle, build
from broker.packages.deployment import Deployment
from broker.packages.describe import describe
from broker.packages.inputs import job_order
from broker.packages.types import CRS84
from broker.runner.loading import inspect

LOAD = {"process_id": "load_collection", "arguments": {"id": "S2", "spatial_extent": {"from_parameter": "box"}}}
BOX = {"name": "box", "schema": {"type": "object", "subtype": "bounding-box"}}
UDP: dict[str, Any] = {
    "id": "ndvi",
    "summary": "Vegetation",
    "description": "The greenness of a place.",
    "parameters": [BOX],
    "process_graph": {
        "load": LOAD,
        "ndvi": {"process_id": "ndvi", "arguments": {"data": {"from_node": "load"}}, "result": True},
    },
}
LINK = "https://processes.example/ndvi.json"


def udp(*parameters: dict[str, Any], **members: Any) -> bytes:
    return json.dumps(UDP | {"parameters": [BOX, *parameters], **members}).encode()


def deployed(body: bytes, media: str = openeo.MEDIA_TYPE) -> Deployment:
    return deployment(body, media, process=None, read={LINK: udp()}.__getitem__)


def described(*parameters: dict[str, Any]) -> dict[str, Any]:
    return describe(inspect(build(udp(*parameters), name="p.json"), Path("/nowhere")))


def order(*parameters: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    inspection = inspect(build(udp(*parameters), name="p.json"), Path("/nowhere"))
    return job_order(inspection, {"box": {"bbox": [1, 2, 3, 4]}} | inputs, uploads=lambda href: None).job_order


UNIT = {"href": LINK, "type": openeo.MEDIA_TYPE}
RECORD: dict[str, Any] = {"type": "Feature", "links": [{"rel": "application", "type": openeo.MEDIA_TYPE, "href": LINK}]}


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (udp(), openeo.MEDIA_TYPE),
        (udp(), "application/json"),
        (json.dumps([UDP]).encode(), openeo.MEDIA_TYPE),
        (json.dumps(RECORD).encode(), openeo.MEDIA_TYPE),
        (json.dumps({"executionUnit": UNIT}).encode(), "application/ogcapppkg+json"),
        (json.dumps({"executionUnit": UDP}).encode(), "application/ogcapppkg+json"),
        (
            json.dumps({"executionUnit": {"value": UDP, "mediaType": openeo.MEDIA_TYPE}}).encode(),
            "application/ogcapppkg+json",
        ),
        (json.dumps(build(udp(), name="p.json").to_json()).encode(), "application/vnd.earthcode-broker.bundle+json"),
    ],
    ids=["raw", "as json", "in a list", "record", "by link", "as unit", "by value", "bundle"],
)
def test_every_way_of_deploying_gives_the_same_process(body: bytes, media: str) -> None:
    found = deployed(body, media)
    assert (found.kind, found.bundle.kind, found.process_id) == ("openeo", "openeo", "ndvi")
    assert openeo.process_of(found.bundle.documents, found.bundle.entry) == UDP
    assert Bundle.from_json(found.bundle.to_json()) == found.bundle
    assert inspect(found.bundle, Path("/nowhere")).needs.kind == "openeo"


def test_one_of_several_processes_is_named() -> None:
    several = json.dumps([UDP, UDP | {"id": "other"}])
    assert build(several, name="p.json", process="other").entry == "p.json#other"
    with pytest.raises(WorkflowNotFound, match="ndvi, other"):
        build(several, name="p.json")


def test_cwl_that_speaks_of_process_graphs_stays_cwl() -> None:
    tool = {"cwlVersion": "v1.2", "class": "CommandLineTool", "inputs": [], "outputs": [], "doc": '"process_graph"'}
    assert build(json.dumps(tool)).kind == "cwl"


def test_the_description_is_that_of_the_process() -> None:
    found = described({"name": "scale", "schema": {"type": "number", "maximum": 2}, "default": 1, "optional": True})
    assert (found["id"], found["title"], found["description"]) == ("ndvi", "Vegetation", "The greenness of a place.")
    assert found["inputs"]["box"]["schema"]["format"] == "ogc-bbox"
    assert found["inputs"]["box"]["minOccurs"] == 1
    scale = found["inputs"]["scale"]
    assert scale["minOccurs"] == 0
    assert (scale["schema"]["type"], scale["schema"]["maximum"], scale["schema"]["default"]) == ("number", 2, 1)
    assert found["inputs"]["output_format"]["schema"]["default"] == "GTiff"
    assert set(found["outputs"]) == {"stac", "assets"}


def test_what_saves_its_result_itself_has_no_format() -> None:
    saved = {"process_id": "save_result", "arguments": {"data": {"from_node": "load"}, "format": "PNG"}, "result": True}
    bundle = build(udp(process_graph={"load": LOAD, "save": saved}), name="p.json")
    assert [one["id"] for one in inspect(bundle, Path("/x")).process["inputs"]] == ["box"]


INTERVAL = {"name": "t", "schema": {"type": "array", "subtype": "temporal-interval"}}
CUBE = {"type": "object", "subtype": "datacube"}
UNION = {"name": "t", "schema": [BOX["schema"], CUBE, {"type": "null"}]}


@pytest.mark.parametrize(
    ("parameter", "given", "in_order"),
    [
        (INTERVAL, ["2026-01-01", None], ["2026-01-01", None]),
        (UNION, {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4], "crs": CRS84}),
        ({"name": "t", "schema": {"type": "integer"}}, 3, 3),
        ({"name": "t", "schema": {"type": "boolean"}}, False, False),
        ({"name": "t", "schema": {"type": ["number", "string"]}}, "a", "a"),
        ({"name": "t", "schema": {"type": "array", "items": {"type": "string"}}}, ["B04"], ["B04"]),
        ({"name": "t", "schema": {"type": "object"}}, {"any": {"thing": 1}}, {"any": {"thing": 1}}),
    ],
    ids=["interval", "union", "integer", "boolean", "either", "array", "object"],
)
def test_values_by_type(parameter: dict[str, Any], given: Any, in_order: Any) -> None:
    assert order(parameter, t=given)["t"] == in_order


def test_a_geometry_is_given_by_value_or_link() -> None:
    geometry = {"name": "t", "schema": {"type": "object", "subtype": "geojson"}}
    point = {"type": "Point", "coordinates": [1, 2]}
    assert order(geometry, t=point)["t"]["location"] == "inputs/t/data.geojson"
    assert order(geometry, t={"href": "https://example.org/a.geojson"})["t"]["location"] == "inputs/t/a.geojson"


@pytest.mark.parametrize(
    ("parameter", "given", "said"),
    [
        (INTERVAL, ["2026-01-01"], "at least 2"),
        ({"name": "t", "schema": {"type": "string", "enum": ["a", "b"]}}, "c", "one of a, b"),
        ({"name": "t", "schema": BOX["schema"]}, [1, 2, 3], "3 numbers"),
        ({"name": "t", "schema": {"type": "integer"}}, "x", "whole number"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_sent(parameter: dict[str, Any], given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        order(parameter, t=given)


def test_a_cube_that_must_be_given_cannot_be() -> None:
    with pytest.raises(UnsupportedPackage, match="data cube"):
        inspect(build(udp({"name": "t", "schema": CUBE}), name="p.json"), Path("/x"))
    optional = inspect(build(udp({"name": "t", "schema": CUBE, "optional": True}), name="p.json"), Path("/x"))
    assert [one["id"] for one in optional.process["inputs"]] == ["box", "output_format"]
    assert "left at its default" in optional.warnings[0]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"process_graph": {}}, "not an object of nodes"),
        ({"process_graph": {"a": {"arguments": {}}}}, "no process_id"),
        ({"process_graph": {"a": {"process_id": "b", "arguments": []}}}, "are not an object"),
        ({"process_graph": {"load": LOAD}}, "result: true"),
        ({"parameters": []}, "uses the parameter 'box'"),
        ({"parameters": [BOX, BOX]}, "no name of its own"),
        ({"parameters": "box"}, "not a list"),
        ({"parameters": [BOX | {"schema": 5}]}, "schema of the parameter 'box'"),
        ({"parameters": [BOX | {"schema": [BOX["schema"], "x"]}]}, "schema of the parameter 'box'"),
        ({"returns": "a cube"}, "returns is not an object"),
        ({"returns": {"schema": "a cube"}}, "returns is not an object"),
    ],
)
def test_mistakes_are_told_with_the_line(members: dict[str, Any], said: str) -> None:
    with pytest.raises(PackageError, match=said) as told:
        build(json.dumps(UDP | members, indent=1), name="p.json")
    assert told.value.file == "p.json"
    assert told.value.line


@pytest.mark.parametrize(
    "parameter",
    [
        {"schema": {"type": "string", "minLength": "x", "enum": 5, "pattern": ["x"]}},
        {"schema": {"type": "array", "minItems": "x", "items": 5}},
        {"schema": {"type": {"a": 1}, "subtype": ["x"]}},
        {"schema": {"subtype": "bounding-box"}, "default": {"west": "x", "south": 1, "east": [], "north": {}}},
        {"schema": {"subtype": "datacube", "dimensions": 5}, "optional": True},
        {"schema": {"type": "number"}, "default": "x"},
        {"schema": {}, "description": {"a": "b"}},
    ],
)
def test_odd_schemas_are_described_and_take_values(parameter: dict[str, Any]) -> None:
    odd = {"name": "t", **parameter}
    assert "box" in described(odd)["inputs"]
    for value in ("text", ["text"], {"bbox": [1, 2, 3, 4]}, 1):
        with suppress(InputError):
            order(odd, t=value)


PATH = {"type": "string", "subtype": "file-path", "pattern": "^[^:]+$"}
PATHS = {"type": "array", "subtype": "file-paths", "items": PATH}


@pytest.mark.parametrize(
    ("schema", "many"), [(PATH, False), (PATHS, True), ({"type": "array", "items": PATH}, True), ([PATHS], True)]
)
def test_files_in_the_workspace_are_files(schema: Any, many: bool) -> None:
    one = {"name": "scene", "schema": schema, "description": "Rasters."}
    found = inspect(build(udp(one), name="p.json"), Path("/nowhere"))
    assert found.needs.shape == {UPLOADS}
    given = {"value": "SUkq", "encoding": "base64", "mediaType": "image/tiff"}
    made = order(one, scene=[given, given] if many else given)["scene"]
    assert [place["class"] for place in (made if many else [made])] == ["File", "File"][: len(made) if many else 1]
    assert "pattern" not in json.dumps(describe(found)["inputs"]["scene"])
    assert inspect(build(udp(), name="p.json"), Path("/nowhere")).needs.shape == frozenset()


def test_what_load_uploaded_files_is_given_is_uploaded() -> None:
    load = {"process_id": "load_uploaded_files", "arguments": {"paths": {"from_parameter": "a"}, "format": "JSON"}}
    process = {"parameters": [{"name": "a"}, {"name": "b"}], "process_graph": {"load": load}}
    assert openeo.uploaded(process) == {"a"}


@pytest.mark.parametrize("links", [5, "x", [5], [{"rel": "application", "type": openeo.MEDIA_TYPE, "href": 5}]])
def test_records_that_link_to_nothing_are_no_packages(links: Any) -> None:
    with pytest.raises(PackageError, match="not a CWL document"):
        build(json.dumps(RECORD | {"links": links, "note": openeo.MEDIA_TYPE}), name="r.json")


def test_a_record_whose_process_cannot_be_read() -> None:
    record = json.dumps(RECORD | {"links": [RECORD["links"][0] | {"href": "https://gone.example/x"}]})

    def gone(url: str) -> bytes:
        raise FileNotFoundError(2, "gone", url)

    with pytest.raises(PackageError, match="gone"):
        build(record, name="r.json", read=gone)


@pytest.mark.parametrize(
    ("extent", "box"),
    [
        ({"west": 1, "south": 2, "east": 3, "north": 4, "crs": 4326}, {"bbox": [1, 2, 3, 4], "crs": CRS84}),
        (
            {"west": 1, "south": 2, "base": 0, "east": 3, "north": 4, "height": 9, "crs": 32632},
            {"bbox": [1, 2, 0, 3, 4, 9], "crs": "http://www.opengis.net/def/crs/EPSG/0/32632"},
        ),
    ],
)
def test_bounding_boxes_both_ways(extent: dict[str, Any], box: dict[str, Any]) -> None:
    assert openeo.box_of(extent) == box
    assert openeo.extent_of(box) == extent
