"""Results as servers write them: each packaging gives the same outputs, and hostile ones are refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.ogcapi.results import LARGEST_VALUE, MOST_FILES, Results, monitor, of_document, results
from adapters.ogcapi.server import Reply
from broker.errors import PlatformRefused

HERE = "https://there/jobs/1/results"
KNOWN = frozenset({"area", "mask"})
LINK = {"href": "https://data/x/mask.tif", "type": "image/tiff"}
FILE = {"class": "File", "location": "mask/mask.tif", "basename": "mask.tif"}
BYTES = b"II*\0" + bytes(range(200))


def document(value: Any, known: frozenset[str] = KNOWN) -> Results:
    return of_document(value, known, HERE)


def reply(body: bytes, media: str, status: int = 200, **headers: str) -> Reply:
    return Reply(status, {"Content-Type": media, **headers}, body, HERE)


@pytest.mark.parametrize(
    "value",
    [
        {"area": 7, "mask": LINK},
        {"outputs": {"area": 7, "mask": LINK}},
        {"outputs": [{"id": "area", "value": 7}, {"id": "mask", **LINK}]},
        [{"id": "area", "value": 7}, {"id": "mask", **LINK}],
        {"outputs": [{"area": 7, "mask": LINK}]},
        {"area": {"value": 7, "mediaType": "application/json"}, "mask": LINK},
        {"area": 7, "mask": {"class": "File", "location": LINK["href"], "format": "image/tiff"}},
    ],
    ids=["keyed", "below outputs", "a list below outputs", "a list", "keyed in a list", "qualified", "cwl"],
)
def test_each_form_of_a_document(value: Any) -> None:
    found = document(value)
    assert found.outputs == {"area": 7, "mask": FILE}
    [file] = found.files
    assert (file.ref, file.path, file.media_type) == (LINK["href"], "mask/mask.tif", "image/tiff")


@pytest.mark.parametrize(
    "value",
    ["hello", {"id": "said", "value": "hello"}, {"outputs": [{"id": "said", "value": "hello"}]}, {"said": "hello"}],
)
def test_a_single_output(value: Any) -> None:
    assert document(value, frozenset({"said"})).outputs == {"said": "hello"}


def test_an_output_that_is_called_as_the_wrapper() -> None:
    """A process may name its outputs so: then they are what they say."""
    assert document({"outputs": [1, 2]}, frozenset({"outputs"})).outputs == {"outputs": [1, 2]}
    assert document({"id": "x", "value": 3}, frozenset({"id", "value"})).outputs == {"id": "x", "value": 3}


def test_json_stays_a_value_and_all_else_becomes_a_file() -> None:
    feature = {"type": "Point", "coordinates": [1, 2]}
    found = document(
        {
            "area": {"value": feature, "mediaType": "application/geo+json"},
            "mask": {"value": base64.b64encode(BYTES).decode(), "encoding": "base64", "mediaType": "image/tiff"},
            "text": {"value": "a,b\n", "mediaType": "text/csv"},
            "none": None,
        }
    )
    assert found.outputs["area"] == feature
    assert found.outputs["none"] is None
    assert [(file.path, file.size) for file in found.files] == [("mask/mask.tif", len(BYTES)), ("text/text.csv", 4)]
    assert found.contents == {"#mask/mask.tif": BYTES, "#text/text.csv": b"a,b\n"}


def test_a_large_value_becomes_a_file() -> None:
    found = document({"area": "x" * LARGEST_VALUE, "mask": list(range(LARGEST_VALUE))})
    assert found.outputs["area"] == "x" * LARGEST_VALUE
    [file] = found.files
    assert json.loads(found.contents[file.ref]) == list(range(LARGEST_VALUE))


def test_relative_links_and_names_that_are_there_twice() -> None:
    found = document({"mask": [{"href": "../files/a/m.tif"}, {"href": "../files/b/m.tif"}]})
    assert [file.ref for file in found.files] == [
        "https://there/jobs/files/a/m.tif",
        "https://there/jobs/files/b/m.tif",
    ]
    assert [one["location"] for one in found.outputs["mask"]] == ["mask/m.tif", "mask/2_m.tif"]


def test_no_two_files_have_one_path() -> None:
    names = ["m.tif", "2_m.tif", "m.tif", "2_m.tif", "m.tif"]
    found = document({"mask": [{"href": f"https://h/{number}/{name}"} for number, name in enumerate(names)]})
    assert len({file.path for file in found.files}) == len(names)


def test_many_files_are_still_files() -> None:
    found = document({"mask": [LINK] * 2000})
    assert len(found.outputs["mask"]) == len(found.files) == 2000
    assert all(one["class"] == "File" for one in found.outputs["mask"])


def test_a_directory_keeps_its_layout() -> None:
    inner = {"class": "Directory", "basename": "b", "listing": [{"class": "File", "location": HERE + "/c.json"}]}
    whole = {"class": "Directory", "basename": "a", "listing": [inner, {"class": "File", "location": HERE + "/d.tif"}]}
    found = document({"mask": whole})
    assert found.outputs["mask"] == {"class": "Directory", "location": "mask/a", "basename": "a"}
    assert [file.path for file in found.files] == ["mask/a/b/c.json", "mask/a/d.tif"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a/../../b", "x\0y"])
def test_no_name_leaves_its_directory(name: str) -> None:
    found = document({name: LINK, "mask": {"class": "File", "location": LINK["href"], "basename": name}})
    for file in found.files:
        assert not file.path.startswith("/")
        assert ".." not in file.path.split("/")
        assert "\0" not in file.path


def test_too_many_files_are_refused() -> None:
    with pytest.raises(PlatformRefused, match="more than"):
        document({"mask": [LINK] * (MOST_FILES + 1)})


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(PlatformRefused, match="base64"):
        document({"mask": {"value": "a", "encoding": "base64", "mediaType": "image/tiff"}})


def test_raw_results_are_one_file_that_is_not_read() -> None:
    found = results(reply(b"", "image/tiff"), frozenset({"mask"}))
    assert [(file.path, file.ref, file.size) for file in found.files] == [("mask/mask.tif", HERE, None)]


def test_multipart() -> None:
    body = (
        b"--b\r\nContent-ID: <area>\r\nContent-Type: application/json\r\n\r\n7\r\n"
        b"--b\r\nContent-ID: <mask>\r\nContent-Type: image/tiff\r\nContent-Location: files/mask.tif\r\n\r\n\r\n"
        b"--b\r\nContent-ID: <other>\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + BYTES
        + b"\r\n--b--\r\n"
    )
    found = results(reply(body, 'multipart/related; boundary="b"'), KNOWN)
    assert found.outputs["area"] == 7
    assert [file.ref for file in found.files] == ["https://there/jobs/1/files/mask.tif", "#other/other.tif"]
    assert found.contents["#other/other.tif"] == BYTES


def test_links_without_a_body() -> None:
    link = '</f/m.tif>; rel="item"; type="image/tiff"; title="mask", <https://there/jobs/1>; rel=monitor'
    found = results(reply(b"", "", 204, Link=link), KNOWN)
    assert found.outputs == {"mask": {**FILE, "location": "mask/m.tif", "basename": "m.tif"}}
    assert [file.ref for file in found.files] == ["https://there/f/m.tif"]
    assert monitor(reply(b"", "", 204, Link=link)) == "https://there/jobs/1"


def test_results_that_are_no_json_are_refused() -> None:
    with pytest.raises(PlatformRefused, match="JSON"):
        results(reply(b"<html>", "application/json"), KNOWN)
