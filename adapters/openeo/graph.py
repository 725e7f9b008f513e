"""Process graphs: the one of a process with the inputs of a job put in, and what to run is told in a request. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.errors import PlatformRefused
from broker.packages import openeo

# format as the platforms name it (in lower case) -> suffix and media type of its files
FORMATS: Mapping[str, tuple[str, str]] = {
    "gtiff": (".tif", "image/tiff; application=geotiff"),
    "geotiff": (".tif", "image/tiff; application=geotiff"),
    "cog": (".tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
    "netcdf": (".nc", "application/x-netcdf"),
    "png": (".png", "image/png"),
    "jpeg": (".jpg", "image/jpeg"),
    "json": (".json", "application/json"),
    "geojson": (".geojson", "application/geo+json"),
    "csv": (".csv", "text/csv"),
    "parquet": (".parquet", "application/vnd.apache.parquet"),
    "geoparquet": (".parquet", "application/vnd.apache.parquet"),
}
NO_FORMAT = ("", "application/octet-stream")
# What costs nothing and needs no data: 1 + 2, as JSON.
SUM: Mapping[str, Any] = {
    "sum": {"process_id": "add", "arguments": {"x": 1, "y": 2}},
    "save": {
        "process_id": "save_result",
        "arguments": {"data": {"from_node": "sum"}, "format": "JSON"},
        "result": True,
    },
}


def compiled(process: Mapping[str, Any], order: Mapping[str, Any], files: Mapping[str, Any]) -> dict[str, Any]:
    """The graph to send: self-contained, so that what runs is what was deployed, whatever the platform knows.

    `order`: the job order; `files`: location -> the JSON in it, or its name in the workspace. Inputs that are left out
    have the process's defaults.
    Raises PlatformRefused for an input that cannot be written as an argument.
    """
    given = {
        one["name"]: _argument(one["name"], order[one["name"]], files)
        if order.get(one["name"]) is not None
        else one.get("default")
        for one in process.get("parameters") or ()
    }
    graph = _filled(process["process_graph"], given)
    if openeo.saves(process):
        return dict(graph)
    return openeo.saving(graph, order.get(openeo.FORMAT) or openeo.DEFAULT_FORMAT)


def uploads(process: Mapping[str, Any], order: Mapping[str, Any]) -> frozenset[str]:
    """The locations of the inputs that the process reads from the account's workspace."""
    names = openeo.uploaded(process)
    return frozenset(place for name in names for place in _locations(order.get(name)))


def _locations(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping) and one.get("class") == "File":
            yield str(one["location"])


def _filled(value: Any, given: Mapping[str, Any]) -> Any:
    """A graph (or a part of it) with values in place of the parameters that are known.

    Inside the graphs of reducers and the like the names of what those are given mean that, and stay.
    """
    if isinstance(value, Mapping):
        name = value.get("from_parameter")
        if isinstance(name, str) and len(value) == 1:
            return given[name] if name in given else dict(value)
        inner = {key: one for key, one in given.items() if key not in openeo.OF_CHILDREN}
        return {key: _filled(one, inner if key == "process_graph" else given) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, given) for one in value]
    return value


def _argument(name: str, value: Any, files: Mapping[str, Any]) -> Any:
    """The value of an input as openEO writes it: bounding boxes, geometries by value."""
    if isinstance(value, list):
        return [_argument(name, one, files) for one in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class") == "File":
        return files[value["location"]]
    if value.get("class") == "Directory":
        raise PlatformRefused(f"The input {name} is a directory, which an openEO process cannot be given.",
                              fault_of="input", code="invalid-input")  # fmt: skip
    if isinstance(value.get("bbox"), list) and {*value} <= {"bbox", "crs"}:
        return openeo.extent_of(value)
    return {key: _argument(name, one, files) for key, one in value.items()}


def format_of(graph: Mapping[str, Any]) -> tuple[str, str]:
    """Suffix and media type of the file that a graph gives."""
    arguments = openeo.result_node(graph)[1].get("arguments") or {}
    return FORMATS.get(str(arguments.get("format")).lower(), NO_FORMAT)


def asked(
    graph: Mapping[str, Any], process: Mapping[str, Any], options: Mapping[str, Any], *, synchronous: bool
) -> dict[str, Any]:
    """The members of a request besides title and description. `options`: the platform's own; those that the process
    brings along count more (extension processing-parameters)."""
    own = process.get("default_synchronous_options" if synchronous else "default_job_options")
    merged = {**options, **(own if isinstance(own, Mapping) else {})}
    return {"process": {"process_graph": graph}} | ({"job_options": merged} if merged else {})
