"""Execute inputs: every shape that OGC API - Processes and CWL know, every problem with its pointer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from broker.errors import InputError
from broker.jobs.model import StageItem
from broker.packages.describe import describe
from broker.packages.inputs import Order, UploadRef, check, job_order
from tests.unit.packages.documents import EOAP, inspected, schemas, tool

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
TIFF = "https://www.iana.org/assignments/media-types/image/tiff"
BBOX = "{type: {type: record, fields: {bbox: 'double[]', crs: string?}}}"


def uploads(href: str) -> UploadRef | None:
    return UploadRef("upload:7", "my file.tif", "image/tiff", 4, "ab") if href.endswith("/uploads/7") else None


def order(inputs: str, given: Any, more: str = "") -> Order:
    return job_order(inspected(tool(inputs, more=more)), given, uploads=uploads)


def value(kind: str, given: Any, more: str = "") -> Any:
    return order(f"{{a: {kind}}}", {"a": given}, more).job_order["a"]


def problems(inputs: str, given: Any, more: str = "") -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        order(inputs, given, more)
    return {one.pointer: one.detail for one in caught.value.problems}


MATRIX = "{type: array, items: {type: array, items: int}}"
VALUES = [
    ("string", "x", "x"),
    ("string", "", ""),
    ("string", {"value": "x"}, "x"),
    ("string", {"value": "x", "mediaType": "text/plain"}, "x"),
    ("int", 5, 5),
    ("int", 5.0, 5),
    ("int", {"value": 5}, 5),
    ("long", 2**40, 2**40),
    ("double", 1, 1),
    ("double", 1.5, 1.5),
    ("boolean", False, False),
    ("Any", {"x": [1, None]}, {"x": [1, None]}),
    ("Any", 0, 0),
    ("{type: enum, symbols: [red, nir]}", "nir", "nir"),
    ("int[]", [1, 2], [1, 2]),
    ("int[]", 1, [1]),
    ("int[]", [], []),
    ("int[]", {"value": [1]}, [1]),
    (MATRIX, [[1], [2, 3]], [[1], [2, 3]]),
    (MATRIX, [[1], 2], [[1], [2]]),
    ("[int, string]", "x", "x"),
    ("[int, string]", 3, 3),
    ("['null', int, 'int[]']", [3], [3]),
    ("{type: record, fields: {x: int, y: string?}}", {"x": 1}, {"x": 1}),
    ("{type: record, fields: {x: int, y: string?}}", {"value": {"x": 1, "y": None}}, {"x": 1, "y": None}),
    ("{type: record, fields: {value: int}}", {"value": 1}, {"value": 1}),
    ("{type: record, fields: {value: int}}", {"value": {"value": 1}}, {"value": 1}),
    ("[string, {type: record, fields: {x: int}}]", {"value": "teststring"}, "teststring"),
]


@pytest.mark.parametrize(("kind", "given", "wanted"), VALUES)
def test_values(kind: str, given: Any, wanted: Any) -> None:
    kind = kind if kind[0] in "{[" else f"'{kind}'"
    assert value(f"{{type: {kind}}}", given) == wanted


WRONG = [
    ("string", 5, "", "is a number, but must be a text"),
    ("string", None, "", "missing"),
    ("string", {"href": "https://h/x"}, "", "by value"),
    ("int", "5", "", "is a text, but must be a whole number"),
    ("int", 1.5, "", "whole number"),
    ("int", True, "", "is a boolean"),
    ("int", 2**31, "", "range"),
    ("long", 2**63, "", "range"),
    ("double", float("nan"), "", "finite"),
    ("boolean", "true", "", "true or false"),
    ("boolean", 1, "", "true or false"),
    ("{type: enum, symbols: [red, nir]}", "rde", "", "did you mean 'red'"),
    ("{type: enum, symbols: [red, nir]}", 1, "", "one of red, nir"),
    ("int[]", [1, "x", 2, "y"], "/1", "is a text"),
    ("int[]", "x", "", "array of int"),
    ("int[]", [1, None], "/1", "null"),
    ("[int, boolean]", "x", "", "one of: int, boolean"),
    ("{type: record, fields: {x: int, name: string}}", {"x": "1", "nmae": "n"}, "/x", "whole number"),
    ("{type: record, fields: {x: int, name: string}}", {"x": "1", "nmae": "n"}, "/nmae", "did you mean 'name'"),
    ("{type: record, fields: {x: int, name: string}}", {"x": "1", "nmae": "n"}, "/name", "missing"),
    ("{type: record, fields: {x: {type: {type: record, fields: {y: int}}}}}", {"x": {"y": "z"}}, "/x/y", "whole"),
    ("{type: record, fields: {x: int}}", 3, "", "object with x"),
    ("string", {"process": "https://h/processes/p", "inputs": {}}, "", "nested process"),
    ("File", {"collection": "https://h/collections/c"}, "", "nested collection"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "pointer", "words"), WRONG)
def test_problems(kind: str, given: Any, pointer: str, words: str) -> None:
    kind = kind if kind[0] in "{[" else f"'{kind}'"
    found = problems(f"{{a: {{type: {kind}}}}}", {"a": given})
    assert words in found[f"/inputs/a{pointer}"]


def test_all_problems_at_once() -> None:
    found = problems("{scene: string, count: int, other: int?}", {"scnee": "x", "count": "y", "zzz": 1})
    assert list(found) == ["/inputs/scnee", "/inputs/zzz", "/inputs/scene", "/inputs/count"]
    assert found["/inputs/scnee"] == "is not an input of this process; did you mean 'scene'?"
    assert "it has scene, count, other" in found["/inputs/zzz"]
    assert "missing" in found["/inputs/scene"]


def test_pointers_are_escaped() -> None:
    assert list(problems("{a: int}", {"a": 1, "x/y~z": 1})) == ["/inputs/x~1y~0z"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_texts_that_no_database_keeps(text: str) -> None:
    assert "/inputs/a/0/x" in problems("{a: Any}", {"a": [{"x": text}]})
    assert "/inputs/a" in problems("{a: Any}", {"a": {text: 1}})


def test_values_nested_without_end() -> None:
    nested: Any = 1
    for _ in range(500):
        nested = [nested]
    (detail,) = problems("{a: Any}", {"a": nested}).values()
    assert "nested" in detail


def test_many_unknown_inputs() -> None:
    assert len(problems("{a: int}", {f"b{number}": 1 for number in range(1000)})) <= 50


def test_defaults_stay_the_packages() -> None:
    text = "{a: {type: int, default: 0}, b: string?, c: {type: File, default: {class: File, basename: x, contents: y}}}"
    assert order(text, {}) == Order({}, ())
    assert order(text, {"a": None, "b": None, "c": None}) == Order({}, ())


def test_a_default_at_a_link_is_staged() -> None:
    text = "{a: {type: File, default: {class: File, location: 'https://h/x.tif'}}}"
    found = order(text, {})
    assert found.stage == (StageItem("a/x.tif", url="https://h/x.tif", packaged=True),)
    assert order(text, {"a": "s3://b/y.tif"}).stage == (StageItem("a/y.tif", url="s3://b/y.tif"),)


@pytest.mark.parametrize("given", [[], 1, "x", None])
def test_inputs_that_are_no_object(given: Any) -> None:
    with pytest.raises(InputError):
        job_order(inspected(tool()), given, uploads=uploads)


# Files: what is given, the StageItem's path and source
SHA = "ab" * 32
FILES: list[tuple[Any, str, dict[str, Any]]] = [
    ("https://h/a/b%20c.tif?sig=1", "a/b c.tif", {"url": "https://h/a/b%20c.tif?sig=1"}),
    ({"href": "https://h/x.tif", "type": "image/tiff"}, "a/x.tif", {"url": "https://h/x.tif"}),
    ({"href": "https://h/", "type": "image/tiff; application=geotiff"}, "a/data.tif", {"url": "https://h/"}),
    ({"href": "s3://bucket/k/x.tif"}, "a/x.tif", {"url": "s3://bucket/k/x.tif"}),
    (
        {"href": "https://me/uploads/7"},
        "a/my file.tif",
        {"url": "upload:7", "trusted": True, "size": 4, "sha256": "ab"},
    ),
    ({"value": "AAAA", "mediaType": "image/tiff", "encoding": "base64"}, "a/data.tif", {"data": "AAAA"}),
    ({"value": "AA\nAA", "format": {"mediaType": "image/tiff", "encoding": "base64"}}, "a/data.tif", {"data": "AAAA"}),
    ({"value": {"href": "https://h/x.tif"}}, "a/x.tif", {"url": "https://h/x.tif"}),
    ({"value": "https://h/x.tif"}, "a/x.tif", {"url": "https://h/x.tif"}),
    ("data:image/tiff;base64,AAAA", "a/data.tif", {"data": "AAAA"}),
    ({"class": "File", "location": "https://h/x.tif"}, "a/x.tif", {"url": "https://h/x.tif"}),
    ({"class": "File", "location": "https://h/x", "basename": "y.tif"}, "a/y.tif", {"url": "https://h/x"}),
    ({"class": "File", "contents": "text", "basename": "y.txt"}, "a/y.txt", {"text": "text"}),
    ({"class": "File", "location": "https://h/x", "sha256": SHA}, "a/x", {"url": "https://h/x", "sha256": SHA}),
]


@pytest.mark.parametrize(("given", "path", "source"), FILES)
def test_files(given: Any, path: str, source: dict[str, Any]) -> None:
    found = order(f"{{a: {{type: File, format: '{TIFF}'}}}}", {"a": given})
    name = path.rpartition("/")[2]
    assert found.job_order["a"] == {"class": "File", "location": f"inputs/{path}", "basename": name, "format": TIFF}
    assert found.stage == (StageItem(path, **source),)


@pytest.mark.parametrize(
    ("given", "name", "text"),
    [
        ({"value": "hello"}, "data.txt", "hello"),
        ({"value": {"a": 1}}, "data.json", '{"a": 1}'),
        ({"type": "Point", "coordinates": [1, 2]}, "data.geojson", '{"type": "Point", "coordinates": [1, 2]}'),
    ],
)
def test_files_by_value(given: Any, name: str, text: str) -> None:
    assert order("{a: File}", {"a": given}).stage == (StageItem(f"a/{name}", text=text),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("file:///etc/passwd", "upload it first"),
        ("FILE:///etc/passwd", "upload it first"),
        ("/etc/passwd", "upload it first"),
        ("../x", "upload it first"),
        ({"href": "file:///etc/passwd"}, "upload it first"),
        ({"class": "File", "path": "/etc/passwd"}, "upload it first"),
        ("hello", "not a link"),
        ("ftp://h/x", "not a link"),
        ("https://", "not a URL"),
        ("https://h/a b", "not a URL"),
        (5, "is a number"),
        ({}, "neither a link"),
        ({"type": "wrong/type_"}, "neither a link"),
        ({"href": 5}, "href"),
        ({"href": "https://h/x.png", "type": "image/png"}, "image/tiff is wanted"),
        ({"value": "AAAA", "mediaType": "image/png", "encoding": "base64"}, "image/tiff is wanted"),
        ({"value": "%%", "encoding": "base64"}, "not base64"),
        ({"value": "x", "encoding": "rot13"}, "rot13"),
        ({"class": "Directory", "location": "https://h/x"}, "but a File is wanted"),
        ({"class": "File"}, "neither a location nor contents"),
        ({"class": "File", "location": "https://h/x", "basename": "../x"}, "basename"),
        ({"class": "File", "location": "https://h/x", "sha256": "AB"}, "64 hexadecimal digits"),
    ],
)
def test_files_that_are_none(given: Any, words: str) -> None:
    assert words in problems(f"{{a: {{type: File, format: '{TIFF}'}}}}", {"a": given})["/inputs/a"]


def test_arrays_of_files_have_a_folder_each() -> None:
    found = order("{a: 'File[]'}", {"a": ["https://h/1/x.tif", "https://h/2/x.tif"]})
    assert [item.path for item in found.stage] == ["a/0/x.tif", "a/1/x.tif"]
    assert [one["location"] for one in found.job_order["a"]] == ["inputs/a/0/x.tif", "inputs/a/1/x.tif"]


def test_secondary_files() -> None:
    text = "{a: {type: File, secondaryFiles: [.aux, ^.tfw, .opt?, $(self.basename)]}}"
    found = order(text, {"a": "https://h/x.tif?s=1"})
    assert {item.path: item.url for item in found.stage} == {
        "a/x.tif": "https://h/x.tif?s=1",
        "a/x.tif.aux": "https://h/x.tif.aux?s=1",
        "a/x.tfw": "https://h/x.tfw?s=1",
    }
    given = {"class": "File", "location": "https://h/x.tif",
             "secondaryFiles": [{"class": "File", "location": "https://me/uploads/7"}]}  # fmt: skip
    found = order(text, {"a": given})
    assert [item.path for item in found.stage] == ["a/x.tif", "a/my file.tif"]
    assert found.job_order["a"]["secondaryFiles"][0]["location"] == "inputs/a/my file.tif"


ITEM = {"type": "Feature", "stac_version": "1.0.0", "id": "S2A", "collection": "sentinel-2", "geometry": None}
DIRECTORIES: list[tuple[Any, str, dict[str, Any]]] = [
    ("https://h/stac/item.json", "a/item", {"url": "https://h/stac/item.json", "stac": True}),
    ("https://h/collections/c/items/i", "a/i", {"url": "https://h/collections/c/items/i", "stac": True}),
    ({"href": "https://h/i", "type": "application/geo+json"}, "a/i", {"url": "https://h/i", "stac": True}),
    ("https://h/dir/", "a/dir", {"url": "https://h/dir/", "directory": True}),
    ("s3://b/prefix/", "a/prefix", {"url": "s3://b/prefix/", "directory": True}),
    ("s3://b/catalog.json", "a/catalog", {"url": "s3://b/catalog.json", "stac": True}),
    ({"class": "Directory", "location": "s3://b/p", "basename": "n"}, "a/n", {"url": "s3://b/p", "directory": True}),
    ({"value": {"href": "https://h/i.json"}}, "a/i", {"url": "https://h/i.json", "stac": True}),
    (
        {
            "class": "Directory",
            "location": "https://h/i.json",
            "files": [{"path": "x.tif", "sha256": "AB" * 32, "size": 1}],
        },
        "a/i",
        {"url": "https://h/i.json", "stac": True, "files": {"x.tif": "ab" * 32}},
    ),
]


@pytest.mark.parametrize(("given", "path", "source"), DIRECTORIES)
def test_directories(given: Any, path: str, source: dict[str, Any]) -> None:
    found = order("{a: Directory}", {"a": given})
    name = path.rpartition("/")[2]
    assert found.job_order["a"] == {"class": "Directory", "location": f"inputs/{path}", "basename": name}
    assert found.stage == (StageItem(path, **source),)


@pytest.mark.parametrize("files", ["x.tif", [1], [{"path": "x.tif"}], [{"path": "x.tif", "sha256": "ab"}]])
def test_files_of_a_directory_that_mean_nothing(files: Any) -> None:
    given = {"class": "Directory", "location": "https://h/i.json", "files": files}
    with pytest.raises(InputError, match="has files"):
        order("{a: Directory}", {"a": given})


@pytest.mark.parametrize("given", [ITEM, {"value": ITEM, "mediaType": "application/geo+json"}])
def test_stac_by_value(given: Any) -> None:
    (item,) = order("{a: Directory}", {"a": given}).stage
    assert (item.path, item.stac) == ("a/S2A", True)
    assert '"sentinel-2"' in (item.text or "")


def test_a_literal_directory() -> None:
    listing = [
        {"class": "File", "location": "https://h/x"},
        {"class": "Directory", "basename": "sub", "listing": [{"class": "File", "basename": "y", "contents": "Y"}]},
    ]
    found = order("{a: Directory}", {"a": {"class": "Directory", "basename": "d", "listing": listing}})
    assert [item.path for item in found.stage] == ["a/d/x", "a/d/sub/y"]
    placed = {"class": "Directory", "location": "inputs/a/d", "basename": "d"}
    assert found.job_order["a"] == {
        **placed,
        "listing": [
            {"class": "File", "location": "inputs/a/d/x", "basename": "x"},
            {
                "class": "Directory",
                "location": "inputs/a/d/sub",
                "basename": "sub",
                "listing": [{"class": "File", "location": "inputs/a/d/sub/y", "basename": "y"}],
            },
        ],
    }
    somewhere = {"class": "Directory", "path": "d", "listing": listing}
    assert order("{a: Directory}", {"a": somewhere}).job_order["a"] == placed
    empty = {"class": "Directory", "basename": "d", "listing": []}
    assert order("{a: Directory}", {"a": empty}).job_order["a"] == empty


@pytest.mark.parametrize(
    "given",
    [
        "file:///etc",
        5,
        {},
        {"class": "File", "location": "https://h/x"},
        {"class": "Directory"},
        {"class": "Directory", "listing": [{"class": "File", "path": "/x"}]},
    ],
)
def test_directories_that_are_none(given: Any) -> None:
    assert "/inputs/a" in problems("{a: Directory}", {"a": given})


def test_unions_stage_only_what_they_take() -> None:
    found = order("{a: {type: [Directory, File]}}", {"a": {"class": "File", "location": "https://h/x"}})
    assert found.stage == (StageItem("a/x", url="https://h/x"),)
    assert order("{a: {type: [string, File]}}", {"a": "https://h/x"}).stage == ()


def test_any_stages_its_files() -> None:
    found = order("{a: Any}", {"a": {"x": [{"class": "File", "location": "https://h/x"}], "y": "https://h/y"}})
    assert [item.path for item in found.stage] == ["a/x/0/x"]
    assert "/inputs/a/x" in problems("{a: Any}", {"a": {"x": {"class": "File", "path": "/etc/shadow"}}})


BOXES: list[tuple[Any, dict[str, Any]]] = [
    ({"bbox": [51.9, 7, 52, 7.1]}, {"bbox": [51.9, 7.0, 52.0, 7.1], "crs": CRS84}),
    ({"bbox": [1, 2, 3, 4, 5, 6], "crs": CRS84}, {"bbox": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "crs": CRS84}),
    ([1, 2, 3, 4], {"bbox": [1.0, 2.0, 3.0, 4.0], "crs": CRS84}),
    ({"value": {"bbox": [170, 2, -170, 4]}}, {"bbox": [170.0, 2.0, -170.0, 4.0], "crs": CRS84}),
    (
        {"bbox": [345345345] * 4, "crs": "urn:ogc:def:crs:EPSG:6.6:4326"},
        {"bbox": [345345345.0] * 4, "crs": "urn:ogc:def:crs:EPSG:6.6:4326"},
    ),
    ({"bbox": [1, 2, 3, 4], "crs": "EPSG:32632"}, {"bbox": [1.0, 2.0, 3.0, 4.0], "crs": "EPSG:32632"}),
]


@pytest.mark.parametrize(("given", "wanted"), BOXES)
def test_bounding_boxes(given: Any, wanted: Any) -> None:
    assert value(BBOX, given) == wanted


@pytest.mark.parametrize("crs", [None, CRS84, "urn:ogc:def:crs:OGC:1.3:CRS84", "CRS84"])
def test_eoap_bounding_boxes_have_short_crs(crs: str | None) -> None:
    """cwltool knows the symbol http://…/CRS84 by its last part only."""
    given: Mapping[str, Any] = {
        "bbox": [1, 2, 3, 4],
        **({"crs": crs} if (crs and "/" in crs) or (crs and ":" in crs) else {}),
    }
    assert value(f"'{EOAP}/ogc.yaml#BBox'", given, schemas("ogc")) == {"bbox": [1.0, 2.0, 3.0, 4.0], "crs": "CRS84"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bbox": [1, 2, 3]}, "3 numbers"),
        ({"bbox": [1, 2, 3, 4, 5]}, "5 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "other things"),
        ({"bbox": [1, 2, 3, True]}, "other things"),
        ({"bbox": [1, 2, 3, float("inf")]}, "other things"),
        ({"bbox": [1, 50, 3, 40]}, "south <= north"),
        ({"bbox": [1, 50, 3, 100]}, "within -90 to 90"),
        ({"bbox": [1000, 1, 3, 4]}, "longitudes"),
        ({"bbox": [1, 2, 3, 4], "crs": "nonsense"}, "nonsense"),
        ({"bbox": [1, 2, 3, 4], "crs": 4326}, "4326"),
        ({"bbox": [1, 2, 3, 4], "crz": CRS84}, "'crz'"),
        ({"crs": CRS84}, "bounding box"),
        ("1,2,3,4", "bounding box"),
    ],
)
def test_bounding_boxes_that_are_none(given: Any, words: str) -> None:
    assert words in problems(f"{{a: {BBOX}}}", {"a": given})["/inputs/a"]


def test_eoap_box_in_another_system() -> None:
    found = problems(
        f"{{a: '{EOAP}/ogc.yaml#BBox'}}", {"a": {"bbox": [1, 2, 3, 4], "crs": "EPSG:4326"}}, schemas("ogc")
    )
    assert CRS84 in found["/inputs/a"]


@pytest.mark.parametrize("given", ["https://h/x", {"value": "https://h/x"}, {"value": {"value": "https://h/x"}}])
def test_eoap_texts_are_wrapped(given: Any) -> None:
    assert value(f"'{EOAP}/string_format.yaml#URI'", given, schemas("string_format")) == {"value": "https://h/x"}


@pytest.mark.parametrize(
    ("name", "given"), [("URI", "no uri"), ("Date", "2020"), ("DateTime", "x"), ("UUID", "1"), ("URI", 5)]
)
def test_eoap_texts_are_checked(name: str, given: Any) -> None:
    assert "/inputs/a" in problems(f"{{a: '{EOAP}/string_format.yaml#{name}'}}", {"a": given}, schemas("string_format"))


def test_geojson_gets_what_eoap_wants() -> None:
    ring = [[[1, 2], [3, 2], [3, 5], [1, 2]]]
    polygon = {"type": "Polygon", "coordinates": ring}
    more = schemas("geojson")
    assert value(f"'{EOAP}/geojson.yaml#Polygon'", polygon, more) == {**polygon, "bbox": [1.0, 2.0, 3.0, 5.0]}
    feature = {"type": "Feature", "geometry": polygon, "properties": {"a": 1}}
    found = value(f"'{EOAP}/geojson.yaml#Feature'", {"value": feature}, more)
    assert found["geometry"]["bbox"] == found["bbox"] == [1.0, 2.0, 3.0, 5.0]
    assert (found["id"], found["properties"]) == ("", {"a": 1})
    collection = {"type": "FeatureCollection", "features": [feature]}
    assert value(f"'{EOAP}/geojson.yaml#FeatureCollection'", collection, more)["numberMatched"] == 1
    wrong = problems(f"{{a: '{EOAP}/geojson.yaml#Polygon'}}", {"a": {"type": "Point", "coordinates": ring}}, more)
    assert "must be one of Polygon" in wrong["/inputs/a/type"]


REFINED = "$namespaces: {earthcode: 'https://earthcode.esa.int/cwl#'}\n"


@pytest.mark.parametrize(
    ("kind", "schema", "right", "wrong"),
    [
        ("int", "{minimum: 0, maximum: 9}", [0, 9], [-1, 10]),
        ("double", "{minimum: 0, exclusiveMinimum: true}", [0.1], [0]),
        ("int", "{enum: [1, 2]}", [1], [3]),
        ("string", "{pattern: '^[a-z]+$', maxLength: 3}", ["abc"], ["ABC", "abcd"]),
        ("string", "{pattern: '^(a+)+$'}", ["b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"], []),
        ("'double[]'", "{minItems: 1, maximum: 1}", [[1], 0.5], [[], [2]]),
    ],
)
def test_authors_bounds(kind: str, schema: str, right: list[Any], wrong: list[Any]) -> None:
    text = f"{{a: {{type: {kind}, earthcode:schema: {schema}}}}}"
    for one in right:
        order(text, {"a": one}, REFINED)
    for one in wrong:
        problems(text, {"a": one}, REFINED)


def test_check_takes_any_upload() -> None:
    check(inspected(tool("{a: File}")), {"a": {"href": "/uploads/abc"}})
    with pytest.raises(InputError):
        check(inspected(tool("{a: File}")), {"a": {"href": "/other/abc"}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["https://h/x", "file:///x", "s3://b/k", "https://[", "data:,x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["class", "href", "type", "value", "location", "listing", "secondaryFiles", "basename", "bbox",
                         "crs", "format", "encoding", "contents", "mediaType", "x", "coordinates"]),
        inner | st.sampled_from(["File", "Directory", "base64", "Feature"]), max_size=4),
    max_leaves=10,
)  # fmt: skip
EVERYTHING = (
    "{s: string?, i: int?, f: File?, d: Directory?, fs: {type: [File, 'File[]', 'null']}, any: Any?,"
    " b: {type: ['null', {type: record, fields: {bbox: 'double[]', crs: string?}}]},"
    " r: {type: ['null', {type: record, fields: {x: File}}]}}"
)


@given(st.dictionaries(st.sampled_from(["s", "i", "f", "d", "fs", "any", "b", "r", "zz"]), JSON, max_size=4))
def test_any_json_is_taken_or_refused(inputs: dict[str, Any]) -> None:
    try:
        found = order(EVERYTHING, inputs)
    except InputError as error:
        assert all(one.pointer.startswith("/inputs") for one in error.problems)  # noqa: PT017
        return
    for item in found.stage:
        parts = item.path.split("/")
        assert ".." not in parts
        assert "" not in parts
        assert not (item.url or "").lower().startswith("file:")
        assert sum(source is not None for source in (item.url, item.text, item.data)) == 1
        if item.data:
            base64.b64decode(item.data, validate=True)
    assert len({item.path for item in found.stage}) == len(found.stage)


TEXT = st.characters(exclude_characters="\0", exclude_categories=["Cs"])  # the others are refused
SCALARS = {
    "string": st.text(TEXT, max_size=5), "int": st.integers(-(2**31), 2**31 - 1), "boolean": st.booleans(),
    "double": st.floats(allow_nan=False, allow_infinity=False), "File": st.just("https://h/x.tif"),
}  # fmt: skip


@given(st.data())
def test_what_fits_the_package_fits_the_description(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(SCALARS)))
    shape = data.draw(st.sampled_from(["%s", "%s?", "%s[]"]))
    inspection = inspected(tool(f"{{a: {{type: '{shape % kind}'}}}}"))
    one = SCALARS[kind]
    given = data.draw(st.lists(one, max_size=3) if "[]" in shape else one)
    job_order(inspection, {"a": given}, uploads=uploads)
    schema = describe(inspection)["inputs"]["a"]["schema"]
    assert not list(Draft4Validator(schema).iter_errors(given))
