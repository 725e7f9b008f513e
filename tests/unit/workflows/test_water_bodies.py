"""The water-bodies package is valid CWL, follows the EO application package best practice, and its data are sound."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pystac
import pytest
import yaml
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

SCRIPTS = ("catalog", "crop", "index", "polygons", "threshold")
SCENE = "patagonia-sentinel-2"


@pytest.fixture(scope="module")
def graph(water_bodies: Path) -> list[dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load((water_bodies / "package.cwl").read_text(encoding="utf-8"))
    processes: list[dict[str, Any]] = content["$graph"]
    return processes


@pytest.fixture(scope="module")
def workflow(graph: list[dict[str, Any]]) -> dict[str, Any]:
    return next(process for process in graph if process["class"] == "Workflow")


@pytest.fixture(scope="module")
def tools(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [process for process in graph if process["class"] == "CommandLineTool"]


@pytest.fixture
def item(water_bodies: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((water_bodies / "data" / SCENE / f"{SCENE}.json").read_text(encoding="utf-8"))
    return content


def test_cwltool_accepts_the_package(water_bodies: Path, load: Callable[..., Any]) -> None:
    process = load(water_bodies / "package.cwl", "water-bodies")
    assert [step.tool["class"] for step in (step.embedded_tool for step in process.steps)] == ["CommandLineTool"] * 5


def test_workflow_follows_the_best_practice(water_bodies: Path, workflow: dict[str, Any]) -> None:
    document = yaml.safe_load((water_bodies / "package.cwl").read_text(encoding="utf-8"))
    assert document["s:softwareVersion"]
    assert workflow["label"]
    assert workflow["doc"]
    assert all(port["label"] and port["doc"] for port in workflow["inputs"].values())
    assert workflow["inputs"]["scene"]["type"] == "Directory"
    assert {port["type"] for port in workflow["outputs"].values()} == {"Directory"}


def test_tools_name_resources_image_and_software(tools: list[dict[str, Any]]) -> None:
    for tool in tools:
        assert tool["requirements"]["ResourceRequirement"].keys() == {"coresMin", "coresMax", "ramMin", "ramMax"}
        assert tool["hints"]["DockerRequirement"]["dockerPull"]
        assert tool["hints"]["SoftwareRequirement"]["packages"].keys() == {"python", "numpy", "rasterio"}


def test_each_tool_includes_the_script_it_calls(water_bodies: Path, tools: list[dict[str, Any]]) -> None:
    called = set()
    for tool in tools:
        interpreter, script = tool["baseCommand"]
        assert interpreter == "python3"
        (entry,) = tool["requirements"]["InitialWorkDirRequirement"]["listing"]
        assert entry == {"entryname": script, "entry": {"$include": f"scripts/{script}"}}
        called.add(script)
    assert called == {path.name for path in (water_bodies / "scripts").glob("*.py")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_survives_the_way_through_cwl(water_bodies: Path, name: str) -> None:
    """CWL reads `$(`, `${` and backslashes in a listing entry as expressions and escapes."""
    text = (water_bodies / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    assert not [mark for mark in ("$(", "${", "\\") if mark in text]
    module = ast.parse(text)
    assert ast.get_docstring(module)
    imported = {root for node in ast.walk(module) for root in imported_roots(node)}
    assert imported <= {"json", "math", "numpy", "pathlib", "rasterio", "shutil", "sys", "warnings"}


def imported_roots(node: ast.AST) -> Iterator[str]:
    """The top-level packages that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield (node.module or "").partition(".")[0]


def test_example_inputs_agree_and_fit_the_workflow(water_bodies: Path, workflow: dict[str, Any]) -> None:
    request = json.loads((water_bodies / "inputs.json").read_text(encoding="utf-8"))["inputs"]
    order = yaml.safe_load((water_bodies / "inputs.yml").read_text(encoding="utf-8"))
    assert request.keys() == order.keys()
    assert set(request) <= set(workflow["inputs"])
    assert request.pop("scene")["href"] == f"{order.pop('scene')['location']}/catalog.json"
    assert request == order


def test_input_catalog_is_valid_stac(water_bodies: Path) -> None:
    """Offline, against the core schemas that pystac brings; pystac lifts STAC 1.0 to their version."""
    schemas = get_local_schema_cache()
    registry = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()])
    catalog = pystac.Catalog.from_file(water_bodies / "data" / "catalog.json")
    (item,) = catalog.get_items()
    for thing, kind in ((catalog, "catalog"), (item, "item")):
        schema = next(schema for uri, schema in schemas.items() if uri.endswith(f"/{kind}.json"))
        jsonschema.Draft7Validator(schema, registry=registry).validate(thing.to_dict(transform_hrefs=False))


def test_input_catalog_is_self_contained(water_bodies: Path, item: dict[str, Any]) -> None:
    folder = water_bodies / "data" / SCENE
    for asset in item["assets"].values():
        assert asset["href"].startswith("./")
        assert (folder / asset["href"]).read_bytes().startswith(b"II*\0")
    assert {path.name for path in folder.glob("*.tif")} == {
        Path(asset["href"]).name for asset in item["assets"].values()
    }
    assert all(link["href"].startswith(".") for link in item["links"] if link["rel"] in ("root", "parent"))


def test_input_bands_can_be_found_by_common_name(item: dict[str, Any]) -> None:
    names = {asset["eo:bands"][0]["common_name"] for asset in item["assets"].values()}
    assert {"green", "nir", "swir16"} <= names


def test_source_and_licence_are_stated(water_bodies: Path) -> None:
    source = (water_bodies / "data" / "SOURCE.md").read_text(encoding="utf-8")
    digest = (water_bodies / "make_data.py").read_text(encoding="utf-8").partition('SHA256 = "')[2].partition('"')[0]
    assert len(digest) == 64
    assert digest in source
    assert "Contains modified Copernicus Sentinel data" in source
    assert (water_bodies / "data" / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_bands_begin_in_one_corner_and_keep_their_own_pixels(item: dict[str, Any]) -> None:
    for name, asset in item["assets"].items():
        pixel = 20.0 if name.startswith("swir") else 10.0
        assert asset["gsd"] == asset["raster:bands"][0]["spatial_resolution"] == pixel
        assert asset["proj:transform"] == [pixel, 0.0, 600000.0, 0.0, -pixel, 4700020.0]
        assert asset["proj:shape"] == [200, 300]
    assert item["properties"]["proj:transform"] == item["assets"]["green"]["proj:transform"]


def test_by_default_an_implausible_threshold_is_not_taken(workflow: dict[str, Any]) -> None:
    """The example asks for it; nobody else gets land for water."""
    assert workflow["inputs"]["otsu"]["default"] == "plausible"


def test_expectation_agrees_with_the_data(water_bodies: Path, item: dict[str, Any]) -> None:
    expected = json.loads((water_bodies / "expected.json").read_text(encoding="utf-8"))
    values = {check["pointer"]: check.get("is") for check in expected["values"]}
    assert values["/bbox"] == item["bbox"]
    carried = ("datetime", "start_datetime", "end_datetime", "constellation")
    for name in ("proj:epsg", "proj:shape", "proj:transform", *carried):
        assert values[f"/properties/{name}"] == item["properties"][name]
    assert values["/properties/water:source"] == item["id"]

    rows, columns = item["properties"]["proj:shape"]
    pixel_km2 = item["properties"]["proj:transform"][0] ** 2 / 1e6
    area = values["/properties/water:mask_fraction"] * rows * columns * pixel_km2
    assert area == pytest.approx(values["/properties/water:mask_area_km2"], abs=1e-3)
    assert values["/features/0/properties/pixels"] <= values["/properties/water:mask_fraction"] * rows * columns
