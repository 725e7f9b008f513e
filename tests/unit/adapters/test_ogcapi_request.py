"""Execute requests for other servers: what a job order becomes, and what is refused instead of sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.ogcapi.request import Sending, execute_request, packaging, recorded
from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec, StageItem
from broker.jobs.secrets import Released

KEYS = {"endpoint": "https://s3.there", "accessKey": "AK", "secretKey": "SK"}
TIFF = "https://www.iana.org/assignments/media-types/image/tiff"
GEOJSON = "https://www.iana.org/assignments/media-types/application/geo+json"


def body(order: Mapping[str, Any], *stage: StageItem, draft: bool = False, **secrets: Any) -> dict[str, Any]:
    spec = JobSpec("j", 1, "eb-j-1", "me", "mine", "p@1", {}, order, stage, secrets=Released(**secrets))
    return execute_request(spec, {"outputs": {}}, Sending(10, {"mine": KEYS}), draft=draft)


def inputs(order: Mapping[str, Any], *stage: StageItem, **secrets: Any) -> Any:
    return body(order, *stage, **secrets)["inputs"]


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"class": "File", "location": f"inputs/{path}", "basename": path.rpartition("/")[2], **more}


def test_values_and_their_wrapping() -> None:
    """1.0: an object is wrapped in `value`; a bounding box is not, nor what has a `value` already."""
    box = {"bbox": [1, 2, 3, 4], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
    given = {
        "number": 3, "text": "a", "flag": False, "none": None, "list": [1, 2], "object": {"a": 1},
        "objects": [{"a": 1}, {"b": 2}], "box": box, "date": {"value": "2026-01-01"},
    }  # fmt: skip
    assert inputs(given) == {
        "number": 3, "text": "a", "flag": False, "list": [1, 2], "object": {"value": {"a": 1}},
        "objects": [{"value": {"a": 1}}, {"value": {"b": 2}}], "box": box, "date": {"value": "2026-01-01"},
    }  # fmt: skip


def test_links_go_as_links() -> None:
    found = inputs(
        {"image": file("image/a.tif", format=TIFF), "bare": file("bare/b")},
        StageItem("image/a.tif", url="https://data/a.tif"),
        StageItem("bare/b", url="https://data/b"),
    )
    assert found == {"image": {"href": "https://data/a.tif", "type": "image/tiff"}, "bare": {"href": "https://data/b"}}


def test_contents_go_by_value() -> None:
    found = inputs(
        {"text": file("t/a.txt"), "json": file("j/a.geojson", format=GEOJSON), "bytes": file("b/a.tif", format=TIFF)},
        StageItem("t/a.txt", text="hello"),
        StageItem("j/a.geojson", text='{"type": "Point"}'),
        StageItem("b/a.tif", data="SUkq"),
    )
    assert found == {
        "text": {"value": "hello", "mediaType": "text/plain"},
        "json": {"value": {"type": "Point"}, "mediaType": "application/geo+json"},
        "bytes": {"value": "SUkq", "mediaType": "image/tiff", "encoding": "base64"},
    }


def test_a_file_of_this_machine_goes_by_value_if_it_is_small(tmp_path: Path) -> None:
    upload = tmp_path / "an upload.bin"
    upload.write_bytes(b"12345")
    item = StageItem("f/a.bin", url=upload.as_uri(), trusted=True)
    assert inputs({"f": file("f/a.bin")}, item)["f"] == {
        "value": "MTIzNDU=",
        "mediaType": "application/octet-stream",
        "encoding": "base64",
    }
    upload.write_bytes(b"x" * 11)
    with pytest.raises(PlatformRefused, match="larger than the 10 bytes") as refused:
        inputs({"f": file("f/a.bin")}, item)
    assert refused.value.fault_of == "input"


def test_no_file_of_this_machine_goes_that_the_broker_did_not_put_there() -> None:
    with pytest.raises(PlatformRefused, match="file of this machine"):
        inputs({"f": file("f/passwd")}, StageItem("f/passwd", url="file:///etc/passwd"))


def test_s3_links_are_signed_where_there_is_an_account() -> None:
    own = {"endpoint": "https://s3.own", "accessKey": "OWN", "secretKey": "X"}
    found = inputs(
        {"a": file("a/x"), "b": file("b/x"), "c": file("c/x")},
        StageItem("a/x", url="s3://mine/dir/x y.tif"),
        StageItem("b/x", url="s3://persons/x.tif"),
        StageItem("c/x", url="s3://public/x.tif"),
        s3={"persons": own},
    )
    assert found["a"]["href"].startswith("https://s3.there/mine/dir/x%20y.tif?X-Amz-Algorithm")
    assert found["b"]["href"].startswith("https://s3.own/persons/x.tif?")
    assert found["c"]["href"] == "s3://public/x.tif"


def test_no_credential_of_a_person_goes_to_another_server() -> None:
    item = StageItem("a/x", url="https://closed.org/x.tif")
    with pytest.raises(PlatformRefused, match="needs your credentials"):
        inputs({"a": file("a/x")}, item, http={"https://closed.org": "Bearer s3cret"})
    assert inputs({"a": file("a/x")}, item, http={"https://other.org": "Bearer s3cret"})["a"] == {
        "href": "https://closed.org/x.tif"
    }


def test_directories() -> None:
    found = inputs(
        {
            "stac": {"class": "Directory", "location": "inputs/stac/i"},
            "dir": {"class": "Directory", "location": "inputs/d"},
        },
        StageItem("stac/i", url="https://h/item.json", stac=True),
        StageItem("d", url="https://h/all/", directory=True),
    )
    assert found == {
        "stac": {"href": "https://h/item.json", "type": "application/json"},
        "dir": {"href": "https://h/all/", "type": "application/directory"},
    }


def test_secondary_files_go_as_cwl() -> None:
    main = file("a/x.tif", secondaryFiles=[file("a/x.tfw"), file("a/x.txt")])
    found = inputs(
        {"a": main},
        StageItem("a/x.tif", url="https://h/x.tif"),
        StageItem("a/x.tfw", url="https://h/x.tfw"),
        StageItem("a/x.txt", text="words"),
    )
    assert found["a"] == {
        "class": "File",
        "location": "https://h/x.tif",
        "basename": "x.tif",
        "secondaryFiles": [
            {"class": "File", "location": "https://h/x.tfw", "basename": "x.tfw"},
            {"class": "File", "contents": "words", "basename": "x.txt"},
        ],
    }


FILE_OUTPUT = {"schema": {"type": "string", "contentMediaType": "image/tiff", "contentEncoding": "binary"}}
NUMBER = {"schema": {"type": "number"}}


@pytest.mark.parametrize(
    ("outputs", "modes", "wanted"),
    [
        ({"n": NUMBER}, ["value", "reference"], {"response": "document"}),
        ({"n": NUMBER}, None, {"response": "document"}),
        ({"f": FILE_OUTPUT}, ["value"], {"response": "raw"}),
        ({"f": FILE_OUTPUT, "n": NUMBER}, ["value"], {"response": "document"}),
        (
            {"f": FILE_OUTPUT, "n": NUMBER},
            ["value", "reference"],
            {
                "response": "document",
                "outputs": {"f": {"transmissionMode": "reference"}, "n": {"transmissionMode": "value"}},
            },
        ),
        (
            [{"id": "f", **FILE_OUTPUT}],
            ["reference"],
            {"response": "document", "outputs": {"f": {"transmissionMode": "reference"}}},
        ),
    ],
)
def test_how_outputs_are_wanted(outputs: Any, modes: Any, wanted: Any) -> None:
    assert packaging({"outputs": outputs, "outputTransmission": modes}) == wanted


def test_the_draft_has_neither_response_nor_transmission() -> None:
    assert {*body({"a": 1}, draft=True)} == {"inputs", "title", "tags"}
    assert body({"a": 1})["tags"] == ["eb-j-1"]


def test_the_record_has_no_signature_and_no_content() -> None:
    sent = body(
        {"a": file("a/x"), "b": file("b/x")},
        StageItem("a/x", url="s3://mine/x.tif"),
        StageItem("b/x", data="MTIzNDU="),
    )
    kept = recorded(sent)
    assert kept["inputs"]["a"] == {"href": "https://s3.there/mine/x.tif"}
    assert kept["inputs"]["b"]["size"] == 5
    assert "MTIzNDU=" not in str(kept)
    assert "X-Amz" not in str(kept)
