"""openEO processes as packages: a document (user-defined process, UDP) is recognised, checked, and described with CWL
types, so that whatever works with a package works with it.

Sources: API 1.2 (`process_graph_with_metadata`), the processing of parameters in openeo-processes 2.0, and the records
of the ESA APEx catalogue (`rel` application and service).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.errors import BrokerError, PackageError, UnsupportedPackage, WorkflowNotFound
from broker.jobs.model import Needs
from broker.jobs.placement import UPLOADS
from broker.packages.closure import Read
from broker.packages.cwl import Inspection, parse
from broker.packages.describe import EARTHCODE, SCHEMA
from broker.packages.media import OPENEO_TYPE
from broker.packages.types import BBOX, CRS84

KIND = "openeo"
HINT = EARTHCODE + "OpenEOProcess"  # of a CWL tool that is one: see `openeotool`
MEDIA_TYPE = f"{OPENEO_TYPE};type=process"
FORMAT = "output_format"  # the input that is added where the graph itself does not save its result
DEFAULT_FORMAT = "GTiff"
STAC, ASSETS = "stac", "assets"  # the outputs of every process
# What the processes of openeo-processes 2.0 call the parameters of the processes in them: in there these names mean
# those, whatever the parameters of the whole are called.
OF_CHILDREN = frozenset({"x", "y", "data", "value", "context", "index", "label", "parameters"})
_SCALARS = {"number": "double", "integer": "long", "string": "string", "boolean": "boolean", "null": "null"}
_NUMBER = (int, float)
# JSON schema keywords that are kept, where their values are what they must be
_BOUNDS: Mapping[str, type | tuple[type, ...]] = {
    "enum": list, "format": str, "pattern": str, "minimum": _NUMBER, "maximum": _NUMBER, "multipleOf": _NUMBER,
    "minLength": int, "maxLength": int, "minItems": int, "maxItems": int, "uniqueItems": bool,
}  # fmt: skip
_WITH_HEIGHTS = ("west", "south", "base", "east", "north", "height")
_PATHS = frozenset({"file-path", "file-paths"})
_CUBES = frozenset({"datacube", "raster-cube", "process-graph", "udf-code", "ml-model"})


def documents(text: str, name: str, process: str | None, read: Read | None) -> tuple[str, dict[str, str]] | None:
    """The entry and the documents of a package that is an openEO process, or a record that links to one (which `read`
    fetches); None for any other text. Raises PackageError, WorkflowNotFound, LimitError."""
    if '"process_graph"' not in text and OPENEO_TYPE not in text:
        return None
    whole = _json(text)
    if isinstance(whole, list) or (isinstance(whole, Mapping) and "process_graph" in whole):
        return _entry(text, name, process), {name: text}
    if not isinstance(whole, Mapping) or (link := _application(whole)) is None:
        return None
    if read is None:
        raise PackageError("Packages by link are not read here.", hint="Send the process itself.", file=name)
    try:
        found = read(link).decode()
    except (BrokerError, UnicodeDecodeError, OSError) as error:
        raise PackageError(f"The process {link} that the record links to cannot be read: {error}") from error
    return _entry(found, link, process), {link: found}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # whatever it is, it is no openEO process


def _application(record: Mapping[str, Any]) -> str | None:
    """The process that a record of a catalogue links to."""
    for link in _list(record.get("links")):
        if isinstance(link, Mapping) and link.get("rel") == "application" and OPENEO_TYPE in str(link.get("type")):
            href = str(link.get("href"))
            if href.startswith(("https://", "http://")):
                return href
    return None


def process_of(documents: Mapping[str, str], entry: str) -> dict[str, Any]:
    """The process of a bundle (`process_graph`, `id`, `parameters` …), as its author wrote it."""
    name, _, wanted = entry.partition("#")
    found: dict[str, Any] = _chosen(json.loads(documents[name]), wanted or None, name)
    return found


def _chosen(whole: Any, wanted: str | None, name: str) -> Any:
    """A document may be a list of processes."""
    if not isinstance(whole, list):
        return whole
    found = [one for one in whole if isinstance(one, Mapping) and (wanted is None or one.get("id") == wanted)]
    if len(found) != 1:
        ids = ", ".join(str(one.get("id")) for one in whole if isinstance(one, Mapping))
        raise WorkflowNotFound(f"The document holds several processes: {ids}.", hint="Name one with ?w=.", file=name)
    return found[0]


def _entry(text: str, name: str, wanted: str | None) -> str:
    """The entry of a package. Raises PackageError, with the line, for what is no process that can be run."""
    whole = parse(text, name)  # our parser: bounded, and it knows lines
    process = _chosen(whole, wanted, name)
    for detail, at in _mistakes(process):
        place = getattr(at, "lc", None)
        raise PackageError(detail, file=name, line=place.line + 1 if place else None)
    return name if process is whole else f"{name}#{process.get('id')}"


def _mistakes(process: Any) -> Iterator[tuple[str, Any]]:
    """What is wrong with a process, and the part of it that is."""
    graph = process.get("process_graph") if isinstance(process, Mapping) else None
    if not isinstance(graph, Mapping) or not graph:
        yield "process_graph is not an object of nodes.", process
        return
    for node, one in graph.items():
        if not isinstance(one, Mapping) or not isinstance(one.get("process_id"), str):
            yield f"The node {node!r} has no process_id.", one
        elif not isinstance(one.get("arguments", {}), Mapping):
            yield f"The arguments of the node {node!r} are not an object.", one
    if sum(isinstance(one, Mapping) and one.get("result") is True for one in graph.values()) != 1:
        yield "One node of the process graph must have result: true.", graph
    returns = process.get("returns")
    if returns is not None and not (isinstance(returns, Mapping) and _schemas(returns)):
        yield "returns is not an object with a schema.", process
    yield from _parameter_mistakes(process, graph)


def _parameter_mistakes(process: Mapping[str, Any], graph: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    known = process.get("parameters") or []
    if not isinstance(known, list) or not all(isinstance(one, Mapping) for one in known):
        yield "parameters is not a list of objects.", process
        return
    names = [one.get("name") for one in known]
    for one, given in zip(known, names, strict=True):
        if not isinstance(given, str) or not given or names.count(given) > 1:
            yield f"A parameter has no name of its own: {given!r}.", one
        elif not _schemas(one):
            yield f"The schema of the parameter {given!r} is not an object, nor a list of objects.", one
    for missing in sorted({*_used(graph)} - {one for one in names if isinstance(one, str)} - OF_CHILDREN):
        yield f"The process graph uses the parameter {missing!r}, which the process does not have.", graph


def _schemas(of: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of a parameter's or a result's schema; [] for what is none."""
    schema = of.get("schema", {})
    found = schema if isinstance(schema, list) else [schema]
    return found if all(isinstance(one, Mapping) for one in found) else []


def _used(value: Any) -> Iterator[str]:
    """The parameters that a graph names, also in the graphs inside it."""
    if isinstance(value, Mapping):
        if isinstance(value.get("from_parameter"), str):
            yield value["from_parameter"]
        for one in value.values():
            yield from _used(one)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from _used(one)


def result_node(graph: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and node of a checked graph's result."""
    return next((name, node) for name, node in graph.items() if node.get("result") is True)


def saves(process: Mapping[str, Any]) -> bool:
    """Whether the process itself says in which format its result is, or that there is nothing to be saved."""
    subtypes = [one.get("subtype") for one in _schemas(process.get("returns") or {})]
    if "stac" in subtypes or "stac-collection" in subtypes:
        return True
    return result_node(process["process_graph"])[1]["process_id"] in ("save_result", "export_workspace")


def _saved(process: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The format in which its result is saved, where the process says that itself: as `Needs.data_types`."""
    result = result_node(process["process_graph"])[1]
    form = (result.get("arguments") or {}).get("format") if result["process_id"] == "save_result" else None
    return {f"output {STAC}": (form,)} if isinstance(form, str) and form else {}


def saving(graph: Mapping[str, Any], form: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A graph whose result is saved."""
    name, result = result_node(graph)
    arguments: dict[str, Any] = {"data": {"from_node": name}, "format": form}
    if options:
        arguments["options"] = dict(options)
    free = next(one for one in ("save", *(f"save{number}" for number in range(len(graph) + 1))) if one not in graph)
    node = {"process_id": "save_result", "arguments": arguments, "result": True}
    return {**graph, name: {**result, "result": False}, free: node}


def uploaded(process: Mapping[str, Any]) -> frozenset[str]:
    """The parameters that are files in the account's workspace at the back-end: by their schema, or because
    `load_uploaded_files` gets them."""
    found = {
        str(one["name"]) for one in process.get("parameters") or () for schema in _schemas(one) if _holds_paths(schema)
    }
    nodes = process["process_graph"].values()
    loaded = [one.get("arguments") or {} for one in nodes if one.get("process_id") == "load_uploaded_files"]
    return frozenset(found.union(*(_used(one.get("paths")) for one in loaded)))


def inspection(documents: Mapping[str, str], entry: str) -> Inspection:
    """What an openEO process is, in the terms of a CWL package. Raises UnsupportedPackage."""
    process = process_of(documents, entry)
    inputs, warnings = [], []
    for one in process.get("parameters") or ():
        found = _parameter(one)
        if found is None:
            warnings.append(f"The parameter {one['name']} takes data cubes only; it is left at its default.")
        else:
            inputs.append(found)
    shadowed = sorted(OF_CHILDREN & {one["id"] for one in inputs})
    warnings += [
        f"Inside reducers and the like, {name} is what they are given, not the parameter." for name in shadowed
    ]
    if not saves(process) and all(one["id"] != FORMAT for one in inputs):
        doc = "Format of the result, as the platform names it (GTiff, netCDF, …)."
        inputs.append({"id": FORMAT, "type": "string", "doc": doc, "default": DEFAULT_FORMAT})
    described = {
        "class": KIND,
        "id": str(process.get("id") or ""),
        "label": process.get("summary") or process.get("id") or "",
        "doc": process.get("description") or "",
        "inputs": inputs,
        "outputs": [
            {"id": STAC, "type": "Directory", "doc": "The results with their STAC metadata (catalog.json)."},
            {"id": ASSETS, "type": {"type": "array", "items": "File"}, "doc": "Each file of the results."},
        ],
        "hints": [],
        "requirements": [],
    }
    name = str(process.get("id") or "process")
    shape = frozenset({UPLOADS} if uploaded(process) else ())
    needs = Needs(KIND, 0.0, 0, data_types=_saved(process), shape=shape)
    return Inspection(described, needs=needs, steps=(name,), warnings=tuple(warnings), cwl_version="")


def _parameter(one: Mapping[str, Any]) -> dict[str, Any] | None:
    """A parameter as an input; None for one that nobody can give, and need not. Raises UnsupportedPackage."""
    alternatives = _schemas(one)
    optional = one.get("optional") is True or "default" in one
    kinds: list[Any] = []
    for alternative in alternatives:
        kind = _type(alternative)
        kinds += [single for single in (kind if isinstance(kind, list) else [kind]) if single not in (None, *kinds)]
    if not kinds or kinds == ["null"]:
        if not optional:
            raise UnsupportedPackage(f"The parameter {one['name']} takes a data cube, which cannot be given by value.")
        return None
    if optional and "null" not in kinds:
        kinds.insert(0, "null")
    found: dict[str, Any] = {"id": one["name"], "type": kinds[0] if len(kinds) == 1 else kinds}
    if isinstance(one.get("description"), str):
        found["doc"] = one["description"]
    plain = [kind for kind in kinds if kind != "null"]
    if any(_holds_paths(alternative) for alternative in alternatives):
        return found  # a default of the author's is a file that is there already
    if plain == ["File"]:
        found["format"] = "https://www.iana.org/assignments/media-types/application/geo+json"
    elif one.get("default") is not None:
        found["default"] = box_of(one["default"]) if BBOX in plain else one["default"]
    if len(alternatives) == 1 and plain and plain[0] != BBOX:
        refined = {key: value for key, value in alternatives[0].items() if isinstance(value, _BOUNDS.get(key, ()))}
        found[SCHEMA] = refined | ({"minItems": 2, "maxItems": 2} if _subtype(alternatives[0]) == "interval" else {})
    return found


def box_of(extent: Any) -> Any:
    """An openEO bounding box as that of OGC: `{bbox, crs}`; anything else as it is."""
    if not isinstance(extent, Mapping) or not {"west", "south", "east", "north"} <= {*extent}:
        return extent
    if not all(isinstance(extent.get(one), int | float | None) for one in _WITH_HEIGHTS):
        return extent
    order = [one for one in _WITH_HEIGHTS if extent.get(one) is not None]
    crs = extent.get("crs", 4326)
    if code := re.fullmatch(r"(?:EPSG:)?(\d+)", str(crs), re.IGNORECASE):
        crs = CRS84 if code[1] == "4326" else f"http://www.opengis.net/def/crs/EPSG/0/{code[1]}"
    return {"bbox": [float(extent[one]) for one in order], "crs": crs}


def extent_of(box: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round. The numbers are west, south, east, north, whatever the reference system."""
    numbers, crs = box["bbox"], str(box.get("crs") or CRS84)
    names = ("west", "south", "east", "north") if len(numbers) == 4 else _WITH_HEIGHTS
    code = re.search(r"EPSG\W.*?(\d+)\]?\Z", crs, re.IGNORECASE)
    number = 4326 if "CRS84" in crs else int(code[1]) if code else crs
    return dict(zip(names, numbers, strict=True)) | {"crs": number}


def _subtype(schema: Mapping[str, Any]) -> str:
    return str(schema.get("subtype") or "").removeprefix("temporal-")


def _holds_paths(schema: Mapping[str, Any]) -> bool:
    items = schema.get("items")
    return _subtype(schema) in _PATHS or (isinstance(items, Mapping) and _subtype(items) in _PATHS)


def _type(schema: Mapping[str, Any]) -> Any:
    """The CWL type of one JSON schema; None for what cannot be given by value."""
    match _subtype(schema):
        case "bounding-box":
            return BBOX
        case "file-path":
            return "File"
        case "file-paths":
            return {"type": "array", "items": "File"}
        case "interval":
            return {"type": "array", "items": ["null", "string"]}
        case "geojson" | "vector-cube" | "feature" | "feature-collection":
            return "File"
        case "datacube" if any(_is_geometry(one) for one in _list(schema.get("dimensions"))):
            return "File"
        case subtype if subtype in _CUBES:
            return None
    kind = schema.get("type")
    if isinstance(kind, list):
        return [_SCALARS.get(one, "Any") for one in kind]
    if kind == "array":
        items = schema.get("items")
        return {"type": "array", "items": (_type(items) or "Any") if isinstance(items, Mapping) else "Any"}
    return _SCALARS.get(str(kind), "Any")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_geometry(dimension: Any) -> bool:
    return isinstance(dimension, Mapping) and dimension.get("type") == "geometry"
