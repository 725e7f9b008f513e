"""Process graphs with the inputs put in: what is sent is whole, and means what the process meant."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.openeo import graph
from broker.errors import PlatformRefused


def process(*names: str, **members: Any) -> dict[str, Any]:
    """A process that loads with all of its parameters as arguments."""
    arguments = {name: {"from_parameter": name} for name in names}
    load = {"process_id": "load", "arguments": arguments, "result": True}
    return {"id": "p", "parameters": [{"name": name} for name in names], "process_graph": {"load": load}} | members


def arguments(order: dict[str, Any], files: dict[str, Any] | None = None, **members: Any) -> Any:
    return graph.compiled(process(*order, **members), order, files or {})["load"]["arguments"]


BBOX = {"bbox": [1.0, 2.0, 3.0, 4.0], "crs": "http://www.opengis.net/def/crs/EPSG/0/32632"}
EXTENT = {"west": 1.0, "south": 2.0, "east": 3.0, "north": 4.0, "crs": 32632}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (BBOX, EXTENT),
        ([BBOX], [EXTENT]),
        ({"class": "File", "location": "inputs/a/b.geojson"}, {"type": "Point"}),
        (["2026-01-01", None], ["2026-01-01", None]),
        ({"any": {"bbox": "text"}}, {"any": {"bbox": "text"}}),
        (False, False),
        (0, 0),
    ],
)
def test_values_as_openeo_writes_them(value: Any, sent: Any) -> None:
    assert arguments({"a": value}, {"inputs/a/b.geojson": {"type": "Point"}}) == {"a": sent}


def test_what_is_left_out_has_the_default_of_the_process() -> None:
    one = process("a", "b", parameters=[{"name": "a", "default": EXTENT}, {"name": "b", "optional": True}])
    assert graph.compiled(one, {"a": None}, {})["load"]["arguments"] == {"a": EXTENT, "b": None}


def test_a_directory_cannot_be_sent() -> None:
    with pytest.raises(PlatformRefused, match="directory") as told:
        arguments({"a": {"class": "Directory", "location": "inputs/a"}})
    assert told.value.fault_of == "input"


def test_inside_a_reducer_its_own_names_stay() -> None:
    """`data` is what a reducer is given; `scale` comes from outside, at any depth."""
    inner = {
        "mean": {
            "process_id": "mean",
            "arguments": {"data": {"from_parameter": "data"}, "by": {"from_parameter": "scale"}},
        }
    }
    reduce = {
        "data": {"from_parameter": "data"},
        "reducer": {"process_graph": {"apply": {"arguments": {"process": {"process_graph": inner}}}}},
    }
    whole = {"reduce": {"process_id": "reduce_dimension", "arguments": reduce, "result": True}}
    one = {"id": "p", "parameters": [{"name": "data"}, {"name": "scale"}], "process_graph": whole}
    sent = graph.compiled(one, {"data": "outer", "scale": 2}, {})["reduce"]["arguments"]
    assert sent["data"] == "outer"
    deepest = sent["reducer"]["process_graph"]["apply"]["arguments"]["process"]["process_graph"]["mean"]["arguments"]
    assert deepest == {"data": {"from_parameter": "data"}, "by": 2}


def test_the_result_is_saved_once() -> None:
    one = process("a", process_graph={"save": {"process_id": "load", "arguments": {}, "result": True}})
    made = graph.compiled(one, {"output_format": "netCDF"}, {})
    [(name, saved)] = [(name, node) for name, node in made.items() if node.get("result")]
    assert saved["process_id"] == "save_result"
    assert saved["arguments"] == {"data": {"from_node": "save"}, "format": "netCDF"}
    assert name != "save"
    assert graph.compiled(one | {"process_graph": made}, {}, {}) == made
    assert one["process_graph"]["save"]["result"] is True  # as deployed
    assert graph.format_of(made) == (".nc", "application/x-netcdf")
    assert graph.format_of({"a": {"process_id": "b", "result": True}}) == graph.NO_FORMAT


@pytest.mark.parametrize("subtype", ["stac", "stac-collection"])
def test_what_gives_stac_is_not_saved(subtype: str) -> None:
    one = process("a", returns={"schema": {"type": "object", "subtype": subtype}})
    assert set(graph.compiled(one, {"a": 1}, {})) == {"load"}


@pytest.mark.parametrize(("synchronous", "memory"), [(False, "4g"), (True, "8g")])
def test_options_of_the_process_win(synchronous: bool, memory: str) -> None:
    own = {"default_job_options": {"memory": "4g"}, "default_synchronous_options": {"memory": "8g"}}
    options = {"memory": "1g", "log": "info"}
    asked = graph.asked({}, process(**own), options, synchronous=synchronous)
    assert asked["job_options"] == {"memory": memory, "log": "info"}
    assert "job_options" not in graph.asked({}, process(), {}, synchronous=synchronous)
