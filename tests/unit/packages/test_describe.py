"""CWL as a process description: valid by the OGC's schemas, true to the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from broker.errors import PackageError
from broker.packages.describe import describe, own_id, summary
from broker.packages.types import media_type
from tests.unit.packages.documents import EOAP, inspected, schemas, tool

OGC = Path(__file__).parents[2] / "data" / "ogcapi" / "part1-v1.0"
REGISTRY: Registry[Any] = Registry().with_resources(
    (file.name, DRAFT4.create_resource(yaml.safe_load(file.read_text()))) for file in OGC.glob("*.yaml")
)
FILE = {"type": "string", "format": "uri"}
EO = """\
cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:softwareVersion: 1.4.2
s:keywords: [water, ndwi]
s:author: [{class: s:Person, s:name: Jane Doe, s:identifier: https://orcid.org/0000-0001}]
s:license: https://spdx.org/licenses/MIT
$graph:
- class: Workflow
  id: water-bodies
  label: Water bodies
  doc: [Finds, water.]
  inputs:
    zone: {type: string, label: Zone, doc: Where}
    items: {type: 'Directory[]', label: Scenes}
    aoi: {type: string?}
  outputs: {out: {type: Directory, outputSource: st/out}}
  steps: {st: {run: '#t', in: {i: items}, out: [out]}}
- class: CommandLineTool
  id: t
  baseCommand: x
  inputs: {i: 'Directory[]'}
  outputs: {out: {type: Directory, outputBinding: {glob: .}}}
"""


def described(inputs: str, more: str = "") -> Any:
    description = describe(inspected(tool(inputs, more=more)), process_id="p")
    assert not problems(description)
    return description["inputs"]


def problems(description: Any) -> list[str]:
    schema = {"$ref": "process.yaml"}
    return [error.message for error in Draft4Validator(schema, registry=REGISTRY).iter_errors(description)]


TYPES = {
    "string": ("string", {"type": "string"}),
    "int": ("int", {"type": "integer", "format": "int32"}),
    "long": ("long", {"type": "integer", "format": "int64"}),
    "float": ("float", {"type": "number", "format": "float"}),
    "double": ("double", {"type": "number", "format": "double"}),
    "boolean": ("boolean", {"type": "boolean"}),
    "any": ("Any", {}),
    "optional": ("string?", {"type": "string", "nullable": True}),
    "array": ("'int[]'", {"type": "array", "items": {"type": "integer", "format": "int32"}}),
    "optional array": ("'string[]?'", {"type": "array", "items": {"type": "string"}, "nullable": True}),
    "enum": ("{type: enum, symbols: [a, b]}", {"type": "string", "enum": ["a", "b"]}),
    "union": ("[int, string]", {"oneOf": [{"type": "integer", "format": "int32"}, {"type": "string"}]}),
    "overlap": (
        "[int, double]",
        {"anyOf": [{"type": "integer", "format": "int32"}, {"type": "number", "format": "double"}]},
    ),
    "record": (
        "{type: record, fields: {x: {type: int, label: X}, y: string?}}",
        {
            "type": "object",
            "properties": {
                "x": {"type": "integer", "format": "int32", "title": "X"},
                "y": {"type": "string", "nullable": True},
            },
            "required": ["x"],
        },
    ),
    "file": (
        "File",
        {
            "oneOf": [
                FILE,
                {"type": "object", "required": ["href"], "properties": {"href": FILE, "type": {"type": "string"}}},
            ]
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TYPES)
def test_types(case: str) -> None:
    kind, schema = TYPES[case]
    assert described(f"{{a: {{type: {kind}}}}}")["a"]["schema"] == schema


@pytest.mark.parametrize(
    ("kind", "default"),
    [("boolean", "false"), ("int", "0"), ("string", "''"), ("string", "x"), ("double", "1.5"), ("'int[]'", "[]"),
     ("{type: enum, symbols: [a, b]}", "b"), ("string?", "x")],
)  # fmt: skip
def test_defaults_are_kept(kind: str, default: str) -> None:
    one = described(f"{{a: {{type: {kind}, default: {default}}}}}")["a"]
    assert one["schema"]["default"] == yaml.safe_load(default)
    assert one["minOccurs"] == 0


def test_what_is_required() -> None:
    found = described(
        "{a: string, b: string?, c: {type: File, default: {class: File, basename: x, contents: y}}, d: Any}"
    )
    assert [found[name]["minOccurs"] for name in "abcd"] == [1, 0, 0, 1]
    assert "default" not in found["c"]["schema"]


def test_order_is_the_authors() -> None:
    assert list(described("{zebra: string, apple: int, Mango: File}")) == ["zebra", "apple", "Mango"]


def test_files_and_directories() -> None:
    found = described(
        "{f: {type: File, format: 'https://www.iana.org/assignments/media-types/image/tiff',"
        " secondaryFiles: [.aux, ^.x?]},"
        " d: 'Directory[]'}"
    )
    assert found["f"]["schema"]["oneOf"][0]["contentMediaType"] == "image/tiff"
    assert found["f"]["x-cwl"] == {"type": "File", "secondaryFiles": [".aux", "^.x"]}
    assert found["d"]["x-cwl"] == {"type": "Directory"}
    assert found["d"]["schema"]["items"]["oneOf"][0] == FILE


@pytest.mark.parametrize(
    ("form", "media"),
    [
        ("http://edamontology.org/format_3464", "application/json"),
        ("http://www.iana.org/assignments/media-types/application/geo+json", "application/geo+json"),
        ("http://www.opengis.net/def/media-type/ogc/1.0/netcdf", "application/netcdf"),
        ("image/png", "image/png"),
        (["http://edamontology.org/format_3752", "x"], "text/csv"),
        ("$(inputs.x)", None),
        ("http://example.org/formats/own", None),
        (None, None),
    ],
)
def test_media_types(form: Any, media: str | None) -> None:
    assert media_type(form) == media


@pytest.mark.parametrize(
    ("name", "file", "form"),
    [("URI", "string_format", "uri"), ("DateTime", "string_format", "date-time"), ("Time", "string_format", "time"),
     ("BBox", "ogc", "ogc-bbox"), ("Feature", "geojson", "geojson-feature"), ("Polygon", "geojson", "geojson-geometry"),
     ("FeatureCollection", "geojson", "geojson-feature-collection"), ("Item", "stac", "stac-item"),
     ("Collection", "stac", "stac-collection"), ("Catalog", "stac", "stac-catalog")],
)  # fmt: skip
def test_eoap_types(name: str, file: str, form: str) -> None:
    found = described(
        f"{{a: '{EOAP}/{file}.yaml#{name}', b: {{type: ['null', '{EOAP}/{file}.yaml#{name}']}}}}", schemas(file)
    )
    assert found["a"]["schema"]["format"] == form
    assert found["b"]["schema"]["nullable"] is True


def test_an_own_bounding_box() -> None:
    found = described("{a: {type: {type: record, fields: {bbox: 'double[]', crs: string?}}}}")["a"]["schema"]
    assert found["format"] == "ogc-bbox"
    assert found["properties"]["crs"]["default"] == "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def test_own_types_of_the_package() -> None:
    more = "requirements: {SchemaDefRequirement: {types: [{type: enum, name: Band, symbols: [red, nir]}]}}\n"
    found = described("{a: '#Band', b: {type: {type: array, items: '#Band'}}}", more)
    assert found["a"]["schema"] == {"type": "string", "enum": ["red", "nir"]}
    assert found["b"]["schema"]["items"]["enum"] == ["red", "nir"]


REFINED = "$namespaces: {earthcode: 'https://earthcode.esa.int/cwl#'}\n"


def test_authors_refine_schemas() -> None:
    found = described(
        "{a: {type: int, earthcode:schema: {minimum: 0, maximum: 9}},"
        " b: {type: 'double[]', earthcode:schema: {minItems: 1, maximum: 1, evil: 1}},"
        " c: {type: File, earthcode:schema: {type: string, format: byte, contentMediaType: image/tiff}}}",
        REFINED,
    )
    assert found["a"]["schema"]["maximum"] == 9
    assert found["b"]["schema"]["minItems"] == 1
    assert found["b"]["schema"]["items"] == {"type": "number", "format": "double", "maximum": 1}
    assert found["c"]["schema"] == {"type": "string", "format": "byte", "contentMediaType": "image/tiff"}


def test_outputs() -> None:
    text = tool(
        outputs="{z: stdout, f: {type: File, outputBinding: {glob: x}},"
        " n: {type: int, outputBinding: {outputEval: $(1)}}}"
    )
    found = describe(inspected(text), process_id="p")
    assert not problems(found)
    assert list(found["outputs"]) == ["z", "f", "n"]
    assert found["outputs"]["z"]["schema"] == {"type": "string", "contentMediaType": "text/plain"}


def test_metadata_of_an_application_package() -> None:
    found = describe(inspected(EO), mutable=False)
    assert not problems(found)
    assert found["id"] == "water-bodies"
    assert (found["title"], found["description"], found["version"]) == ("Water bodies", "Finds\nwater.", "1.4.2")
    assert found["keywords"] == ["water", "ndwi"]
    assert found["mutable"] is False
    assert {"title": "Jane Doe", "role": "https://schema.org/author", "href": "https://orcid.org/0000-0001"} in found[
        "metadata"
    ]
    assert list(found["inputs"]) == ["zone", "items", "aoi"]
    short = summary(found)
    assert "inputs" not in short
    assert not list(Draft4Validator({"$ref": "processSummary.yaml"}, registry=REGISTRY).iter_errors(short))


def test_what_a_deployer_says_wins() -> None:
    overrides = {
        "title": "T",
        "version": "9",
        "inputs": {"zone": {"title": "Z", "schema": {"type": "integer"}}, "no": {}},
    }
    found = describe(inspected(EO), process_id="p", overrides=overrides)
    assert (found["title"], found["version"], found["inputs"]["zone"]["title"]) == ("T", "9", "Z")
    assert found["inputs"]["zone"]["schema"] == {"type": "string"}
    assert "no" not in found["inputs"]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("id: my tool\n", "my-tool"),
        ("label: Water bodies!\n", "Water-bodies"),
        ("", "package"),
        ("id: main\n", "package"),
    ],
)
def test_ids_of_packages_that_nobody_named(head: str, name: str) -> None:
    assert own_id(inspected(head + tool())) == name


@pytest.mark.parametrize("name", ["a/b", "a b", "..", "", "x" * 101, "-a"])
def test_ids_that_do_not_fit_into_a_path(name: str) -> None:
    if name:
        with pytest.raises(PackageError, match="id of a process"):
            describe(inspected(tool()), process_id=name)
