"""A cwltool job order becomes the inputs of an execution: paths, literals, directories, secondary files, formats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli import joborder
from broker.cli.joborder import BY_VALUE, Converter, JobOrder, secondary_name
from broker.cli.package import Beside
from broker.errors import InputError, PackageError


@dataclass
class Uploads:
    """Takes files as the server would, and remembers them."""

    sent: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, path: Path, name: str) -> str:
        self.sent.append((path.name, name))
        return f"https://b/uploads/{name}"


def binary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\x00data")
    return path


def read(directory: Path, order: Any, *settings: str) -> JobOrder:
    file = directory / "job.json"
    file.write_text(order if isinstance(order, str) else json.dumps(order))
    return joborder.read(str(file), settings, stdin=str)


def convert(order: JobOrder, patterns: Mapping[str, Sequence[str]] | None = None, **more: Any) -> tuple[Any, Uploads]:
    uploads = Uploads()
    beside = {name: Beside(found) for name, found in (patterns or {}).items()}
    return Converter(order, uploads, beside=beside, **more).inputs(), uploads


def test_paths_are_relative_to_the_job_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary(tmp_path / "data" / "a b.tif")
    monkeypatch.chdir("/")
    for where in ({"path": "data/a b.tif"}, {"location": "data/a%20b.tif"}, {"location": "data/a b.tif"},
                  {"location": (tmp_path / "data" / "a b.tif").as_uri()}):  # fmt: skip
        found, uploads = convert(read(tmp_path, {"image": {"class": "File", **where}}))
        assert found == {"image": {"class": "File", "basename": "a b.tif", "location": "https://b/uploads/a b.tif"}}
        assert uploads.sent == [("a b.tif", "a b.tif")]


def test_small_texts_go_by_value_and_all_else_by_upload(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("grüße\r\n", newline="")
    (tmp_path / "large.txt").write_text("x" * (BY_VALUE + 1))
    (tmp_path / "empty").touch()
    binary(tmp_path / "bin")
    order = read(tmp_path, {n: {"class": "File", "path": n} for n in ("small.txt", "large.txt", "empty", "bin")})
    found, uploads = convert(order)
    assert found["small.txt"] == {"class": "File", "basename": "small.txt", "contents": "grüße\r\n"}
    assert found["empty"]["contents"] == ""
    assert [name for name, _ in uploads.sent] == ["large.txt", "bin"]


def test_what_goes_by_value_is_bounded_in_all(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"d{number}").write_text("x" * BY_VALUE)
    order = read(tmp_path, {"all": [{"class": "File", "path": f"d{number}"} for number in range(40)]})
    found, uploads = convert(order)
    by_value = [one for one in found["all"] if "contents" in one]
    assert len(by_value) * BY_VALUE == joborder.ALL_BY_VALUE
    assert len(uploads.sent) == 40 - len(by_value)


def test_literals_links_and_plain_values_stay(tmp_path: Path) -> None:
    order = {
        "text": {"class": "File", "contents": "hi", "basename": "hi.txt"},
        "web": {"class": "File", "location": "https://example.org/a.tif"},
        "object": {"a": 1, "f": {"class": "File", "location": "s3://b/k"}},
        "list": [1, None, "x"],
        "absent": None,
    }
    found, uploads = convert(read(tmp_path, order))
    assert found == {
        "text": order["text"],
        "web": order["web"],
        "object": {"value": order["object"]},
        "list": order["list"],
    }
    assert uploads.sent == []


def test_a_directory_is_sent_as_listings_of_its_files(tmp_path: Path) -> None:
    binary(tmp_path / "scene" / "b4.tif")
    binary(tmp_path / "scene" / "meta" / "deep" / "x.bin")
    (tmp_path / "scene" / "meta" / "empty").mkdir()
    found, uploads = convert(read(tmp_path, {"scene": {"class": "Directory", "path": "scene/"}}))
    assert found["scene"] == {
        "class": "Directory",
        "basename": "scene",
        "path": "scene",
        "listing": [
            {"class": "File", "basename": "b4.tif", "location": "https://b/uploads/b4.tif"},
            {
                "class": "Directory",
                "basename": "meta",
                "path": "meta",
                "listing": [
                    {
                        "class": "Directory",
                        "basename": "deep",
                        "path": "deep",
                        "listing": [{"class": "File", "basename": "x.bin", "location": "https://b/uploads/x.bin"}],
                    },
                    {"class": "Directory", "basename": "empty", "path": "empty", "listing": []},
                ],
            },
        ],
    }
    assert len(uploads.sent) == 2


def test_a_literal_directory_keeps_its_listing_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    literal = {"class": "Directory", "basename": "d", "listing": [{"class": "File", "path": "a.txt"}]}
    found, _ = convert(read(tmp_path, {"d": literal}))
    listing = [{"class": "File", "basename": "a.txt", "contents": "a"}]
    assert found["d"] == {"class": "Directory", "basename": "d", "listing": listing}


def test_a_directory_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    with pytest.raises(InputError, match="link to a directory that holds it"):
        convert(read(tmp_path, {"d": {"class": "Directory", "path": "d"}}))


def test_secondary_files_given_and_found_beside(tmp_path: Path) -> None:
    for name in ("r.bam", "r.bam.bai", "r.csi", "r.bam.md5"):
        binary(tmp_path / name)
    order = {"reads": {"class": "File", "path": "r.bam", "secondaryFiles": [{"class": "File", "path": "r.bam.md5"}]}}
    found, _ = convert(read(tmp_path, order), {"reads": [".bai", "^.csi", ".md5", ".none"]})
    assert [one["basename"] for one in found["reads"]["secondaryFiles"]] == ["r.bam.md5", "r.bam.bai", "r.csi"]
    found, _ = convert(read(tmp_path, {"reads": [{"class": "File", "path": "r.bam"}]}), {"reads": [".bai"]})
    assert [one["basename"] for one in found["reads"][0]["secondaryFiles"]] == ["r.bam.bai"]


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.bam", ".bai", "a.bam.bai"),
        ("a.bam", "^.bai", "a.bai"),
        ("a.tar.gz", "^^.idx", "a.idx"),
        ("noext", "^.idx", "noext.idx"),
        (".hidden", "^.idx", ".hidden.idx"),
    ],
)
def test_the_names_of_secondary_files(name: str, pattern: str, expected: str) -> None:
    assert secondary_name(name, pattern) == expected


def test_formats_are_expanded(tmp_path: Path) -> None:
    order = """
$namespaces: {iana: "https://iana.org/"}
a: {class: File, location: "https://x.org/a", format: "iana:tiff"}
b: {class: File, location: "https://x.org/b", format: "edam:1"}
c: {class: File, location: "https://x.org/c", format: "https://known/1"}
"""
    found, _ = convert(read(tmp_path, order), namespaces={"edam": "http://edam/"})
    assert [found[name]["format"] for name in "abc"] == ["https://iana.org/tiff", "http://edam/1", "https://known/1"]


def test_every_file_that_is_missing_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    binary(tmp_path / "there")
    order = {"x": {"class": "File", "path": "there"}, "y": [{"class": "File", "path": "gone"}],
             "z": {"class": "Directory", "path": "there"}}  # fmt: skip
    uploads = Uploads()
    with pytest.raises(InputError) as caught:
        Converter(read(tmp_path, order), uploads).inputs()
    assert [one.pointer for one in caught.value.problems] == ["/inputs/y/0", "/inputs/z"]
    assert uploads.sent == []


def test_an_execute_request_is_taken_as_it_is_but_its_local_links_are_sent(tmp_path: Path) -> None:
    binary(tmp_path / "a.tif")
    order = read(
        tmp_path,
        {
            "inputs": {
                "image": {"href": "a.tif", "type": "image/tiff"},
                "web": {"href": "https://x.org/a"},
                "many": [{"href": "./a.tif"}],
                "threshold": {"value": {"a": 1}},
            },
            "outputs": {"out": {"transmissionMode": "reference"}},
            "response": "document",
        },
    )
    found, uploads = convert(order)
    assert found == {
        "image": {"href": "https://b/uploads/a.tif", "type": "image/tiff"},
        "web": {"href": "https://x.org/a"},
        "many": [{"href": "https://b/uploads/a.tif"}],
        "threshold": {"value": {"a": 1}},
    }
    assert order.request == {"outputs": {"out": {"transmissionMode": "reference"}}, "response": "document"}
    assert len(uploads.sent) == 2


@pytest.mark.parametrize("href", ["scene/catalog.json", "scene/", "scene"])
def test_a_local_catalog_stands_for_its_directory(tmp_path: Path, href: str) -> None:
    binary(tmp_path / "scene" / "b4.tif")
    (tmp_path / "scene" / "catalog.json").write_text('{"stac_version": "1.0.0"}')
    found, uploads = convert(read(tmp_path, {"inputs": {"scene": {"href": href, "type": "application/json"}}}))
    assert found["scene"]["class"] == "Directory"
    assert [one["basename"] for one in found["scene"]["listing"]] == ["b4.tif", "catalog.json"]
    assert uploads.sent == [("b4.tif", "b4.tif")]


def test_a_package_may_have_an_input_that_is_called_inputs(tmp_path: Path) -> None:
    assert read(tmp_path, {"inputs": {"class": "File", "location": "https://x"}}).request is None
    assert read(tmp_path, {"inputs": {"a": 1}, "other": 2}).request is None


def test_settings_win_and_are_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    binary(tmp_path / "f")
    order = read(tmp_path, {"n": 1, "m": 2}, "n=0.5", "s=text", "l=[1, 2]", "t='0.5'", "e=", "f=@f", "d=@.", "q=a=b")
    plain = {name: value for name, value in order.inputs.items() if name not in "fd"}
    assert plain == {"n": 0.5, "m": 2, "s": "text", "l": [1, 2], "t": "0.5", "e": "", "q": "a=b"}
    assert order.inputs["f"] == {"class": "File", "path": str(tmp_path / "f")}
    assert order.inputs["d"]["class"] == "Directory"


def test_the_order_comes_from_standard_input_too() -> None:
    assert joborder.read("-", (), stdin=lambda: "a: 1").inputs == {"a": 1}


@pytest.mark.parametrize("text", ["- 1", "just text", "3"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="not a mapping"):
        read(tmp_path, text)


def test_yaml_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        read(tmp_path, "a: 1\nb: [")
    assert caught.value.line is not None


def test_requirements_of_the_order_are_kept_apart(tmp_path: Path) -> None:
    order = read(tmp_path, {"cwl:requirements": [{"class": "X"}], "cwl:tool": "t.cwl", "a": 1})
    assert order.requirements == [{"class": "X"}]
    assert order.inputs == {"a": 1}


def test_a_check_sends_no_bytes(tmp_path: Path) -> None:
    binary(tmp_path / "scene" / "b4.tif")
    order = read(tmp_path, {"d": {"class": "Directory", "path": "scene"}})
    found, uploads = convert(order, pretend=True)
    assert found["d"]["listing"] == [{"class": "File", "basename": "b4.tif", "contents": ""}]
    assert uploads.sent == []


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key not in ("class", "href", "value")), inner)
    ),
    max_leaves=10,
)


@given(plain_values)
def test_values_without_files_are_never_changed(value: Any) -> None:
    found = Converter(JobOrder({"x": value}, Path("/")), Uploads()).inputs()
    if isinstance(value, dict):
        assert found == {"x": {"value": value}}
    else:
        assert found == ({} if value is None else {"x": value})


def test_a_name_given_several_times_is_an_array_in_that_order(tmp_path: Path) -> None:
    order = read(tmp_path, {"tables": "other"}, "tables=@a.csv", "n=1", "tables=@b.csv", "tables=3")
    assert order.inputs["n"] == 1
    assert [one if one == 3 else Path(one["path"]).name for one in order.inputs["tables"]] == ["a.csv", "b.csv", 3]
