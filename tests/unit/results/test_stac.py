"""The items that are made of a job's outputs: complete, allowed, and nothing invented."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.egress import Egress
from broker.results.assets import safe_name
from broker.results.prr import Prr
from broker.results.stac import Made, Run, candidates, items
from broker.results.target import File
from tests.peers.prr import PrrPeer, prr_peer
from tests.unit.results.records import record
from tests.unit.results.test_prr import Held, finished

JOB = "01a204ae-db6f-7e5a-8c8d-b7b3b9d22a25"
RUN = Run("water-bodies", JOB, "2026-11-22T10:00:00Z", {"water-bodies": "1.0.0", "cwltool": "3.3"}, "local@here")
SCHEMAS = Path(__file__).parents[2] / "data" / "osc" / "stac"
INTERVAL = {"interval": ["2026-01-01T00:00:00Z", "2026-01-31T23:59:59Z"]}
ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
    "id": "patagonia-water",
    "geometry": {"type": "Polygon", "coordinates": [[[-67.6, -47.8], [-67.5, -47.8], [-67.5, -47.7], [-67.6, -47.8]]]},
    "properties": {
        "datetime": None,
        "start_datetime": "2015-06-23T02:00:00+02:00",
        "end_datetime": "2021-04-27T23:59:59Z",
        "proj:epsg": 32719,
    },
    "links": [{"rel": "root", "href": "../catalog.json"}],
    "assets": {
        "ndwi": {"href": "./ndwi.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized"},
        "quicklook": {"href": "./quicklook.png", "type": "image/png"},
    },
}
BYTES = {"catalog.json": b"{}", "w/ndwi.tif": b"raster", "w/quicklook.png": b"picture"}


def output(path: str, data: bytes) -> File:
    return File(path, path, len(data), hashlib.sha256(data).hexdigest())


def outputs(**more: bytes) -> list[File]:
    return [output(path, data) for path, data in (BYTES | more).items()]


def of_item(item: dict[str, Any], request: Any = None, files: list[File] | None = None, **kwargs: Any) -> Made:
    raw = json.dumps(item).encode()
    held = [*(outputs() if files is None else files), output("w/w.json", raw)]
    return items(RUN, held, {"w/w.json": raw, "catalog.json": b'{"type": "Catalog"}'}, request or {}, **kwargs)


def errors(made: Made) -> dict[str, str]:
    return {finding.field: finding.message for finding in made.findings if finding.level == "error"}


def checked(planned: Any) -> dict[str, Any]:
    """The item, held against pystac, the extensions' schemas and the profile of the repository."""
    item: dict[str, Any] = planned["item"]
    pystac.Item.from_dict({**item, "assets": dict(item["assets"])})
    for path in SCHEMAS.rglob("schema.json"):
        uri = json.loads(path.read_text())["$id"].rstrip("#")
        if uri in item["stac_extensions"]:
            schema = json.loads(path.read_text())
            for name in ("oneOf", "anyOf"):  # the parts for items, whose frame needs schemas that are not here
                schema.pop(name, None)
            jsonschema.Draft7Validator(
                schema["definitions"]["fields"] | {"definitions": schema["definitions"]}
            ).validate({k: v for k, v in item["properties"].items() if k.startswith("processing:")})
    assert re.fullmatch(r"[a-zA-Z0-9._-]{1,100}", item["id"])
    assert ("bbox" in item) == (item["geometry"] is not None)
    names = [asset["href"] for asset in item["assets"].values() if "://" not in asset["href"]]
    assert sorted(names) == sorted(planned["files"])
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]{1,100}", name) for name in names)
    return item


def test_the_item_that_a_package_wrote_is_published_with_what_the_repository_asks_for() -> None:
    made = of_item(ITEM, {"title": "Water", "licence": "CC-BY-4.0"})
    [planned] = made.items
    item = checked(planned)
    assert made.sendable
    assert item["id"] == f"water-bodies-{JOB}"
    assert item["properties"] == {
        "datetime": "2015-06-23T00:00:00Z",
        "start_datetime": "2015-06-23T00:00:00Z",
        "end_datetime": "2021-04-27T23:59:59Z",
        "proj:code": "EPSG:32719",
        "title": "Water",
        "license": "CC-BY-4.0",
        "processing:datetime": "2026-11-22T10:00:00Z",
        "processing:software": {"water-bodies": "1.0.0", "cwltool": "3.3"},
        "processing:facility": "local@here",
    }
    assert item["stac_extensions"] == [
        "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
        "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    ]
    assert item["bbox"] == [-67.6, -47.8, -67.5, -47.7]
    assert item["assets"]["ndwi"] == {
        "href": "ndwi.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "file:size": 6,
        "file:checksum": "1220" + hashlib.sha256(b"raster").hexdigest(),
    }
    assert item["assets"]["quicklook"]["roles"] == ["overview"]
    assert planned["files"]["ndwi.tif"]["source"] == "w/ndwi.tif"


def test_a_run_that_wrote_no_stac_is_one_item_with_the_dates_of_the_request() -> None:
    made = items(RUN, outputs(), {}, INTERVAL | {"bbox": [10, 45, 12, 47]})
    item = checked(made.items[0])
    assert made.sendable
    assert sorted(item["assets"]) == ["catalog", "ndwi", "quicklook"]
    assert item["properties"]["end_datetime"] == "2026-01-31T23:59:59Z"
    assert item["geometry"]["coordinates"][0][0] == [10, 45]


def test_dates_are_never_invented() -> None:
    made = items(RUN, outputs(), {}, {})
    assert not made.sendable
    assert "nobody says from when to when" in errors(made)["interval"]
    assert "start_datetime" not in made.items[0]["item"]["properties"]
    assert made.findings[1].allowed or made.findings[0].allowed


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        (["2026-01-01", "2026-01-02T00:00:00Z"], "RFC 3339"),
        (["2026-01-01T00:00:00", "2026-01-02T00:00:00Z"], "RFC 3339"),
        (["2026-02-30T00:00:00Z", "2026-03-02T00:00:00Z"], "RFC 3339"),
        (["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"], "before it starts"),
        (["2026-01-03T00:00:00Z"], "[start, end]"),
        (["2026-01-03T00:00:00Z", None], "or neither"),
        ("2026", "[start, end]"),
    ],
)
def test_dates_that_are_none(interval: Any, message: str) -> None:
    assert message in " ".join(errors(items(RUN, outputs(), {}, {"interval": interval})).values())


def test_an_items_single_moment_is_its_interval_and_the_requests_interval_fills_the_rest() -> None:
    moment = ITEM | {"properties": {"datetime": "2026-05-01T10:00:00Z"}}
    assert of_item(moment).items[0]["item"]["properties"]["end_datetime"] == "2026-05-01T10:00:00Z"
    without = ITEM | {"properties": {}}
    assert "interval" in errors(of_item(without))
    assert of_item(without, INTERVAL).items[0]["item"]["properties"]["start_datetime"] == "2026-01-01T00:00:00Z"


def test_several_items_keep_their_names_and_the_documentation_is_an_item_of_its_own() -> None:
    raw = {f"{name}/{name}.json": json.dumps(ITEM | {"id": name}).encode() for name in ("north", "south")}
    data = {f"{name}/{file}": file.encode() for name in ("north", "south") for file in ("ndwi.tif", "quicklook.png")}
    held = [output(path, one) for path, one in (raw | data).items()]
    log = output("job.log", b"log")
    made = items(RUN, held, raw, {}, {"logs": log, "crate": output("ro-crate-metadata.json", b"{}")})
    assert made.sendable
    named = {planned["item"]["id"]: checked(planned) for planned in made.items}
    assert list(named) == [f"north-{JOB}", f"south-{JOB}", f"water-bodies-documentation-{JOB}"]
    last = named[f"water-bodies-documentation-{JOB}"]
    roles = {key: asset["roles"] for key, asset in last["assets"].items()}
    assert roles == {
        "logs": ["documentation"], "crate": ["documentation"], "north": ["metadata"], "south": ["metadata"],
    }  # fmt: skip
    assert last["properties"]["end_datetime"] == "2021-04-27T23:59:59Z"


def test_a_zarr_store_is_one_archive_and_its_size_is_not_guessed() -> None:
    store = [output("cube.zarr/.zattrs", b"{}"), output("cube.zarr/b/0.0", b"12")]
    for made in (
        items(RUN, store, {}, INTERVAL),
        of_item(ITEM | {"assets": {"cube": {"href": "../cube.zarr/", "roles": ["data"]}}}, files=store),
    ):
        assets = made.items[0]["item"]["assets"].values()
        [asset] = [one for one in assets if one["roles"] != ["metadata"]]
        assert made.sendable
        assert (asset["href"], asset["type"], "file:size" in asset) == ("cube.zarr.zip", "application/zip", False)
        members = made.items[0]["files"]["cube.zarr.zip"]["members"]
        assert [member["path"] for member in members] == [".zattrs", "b/0.0"]


def test_assets_that_cannot_be_published_are_named() -> None:
    assets = {
        "gone": {"href": "./gone.tif"},
        "out": {"href": "../../../etc/passwd"},
        "local": {"href": "file:///etc/passwd"},
        "none": {},
        "far": {"href": "https://data.example/a.tif", "type": "image/tiff"},
    }
    made = of_item(ITEM | {"assets": assets})
    messages = " ".join(finding.message for finding in made.findings if finding.level == "error")
    for said in ("gone is not among", "out is not among", "local is a file of the machine", "none has no href", "size"):
        assert said in messages
    assert not made.items[0]["files"]


@pytest.mark.parametrize(
    "item",
    [
        {"assets": [1], "properties": 3, "geometry": "x", "bbox": "y", "links": {}},
        {"assets": {"a": 1, "b": {"href": 5}}, "geometry": {"type": "Point", "coordinates": [["a"], 1]}},
        {"stac_extensions": [{"a": 1}], "bbox": [1, 2, float("inf"), 4]},
        {"properties": {"datetime": {"a": 1}}, "id": ["x"]},
        {"bbox": [0, 50, 1, 40]},
        {"geometry": json.loads("[" * 500 + "]" * 500)},
    ],
)
def test_items_that_make_no_sense_are_findings(item: Any) -> None:
    made = of_item({"type": "Feature", "stac_version": "1.0.0", **item})
    assert not made.sendable


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":NaN}', b"\xff", b"", b"3", b'{"type": "Feature"}'])
def test_documents_that_are_no_stac_items_are_files_like_others(raw: bytes) -> None:
    made = items(RUN, [output("a.json", raw)], {"a.json": raw}, INTERVAL)
    assert made.sendable
    assert [planned["item"]["id"] for planned in made.items] == [f"water-bodies-{JOB}"]


def test_file_names_are_allowed_and_unique_in_their_item() -> None:
    held = [output(path, path.encode()) for path in ("a/x.tif", "b/x.tif", "c/ä ö.tif", "d/" + "n" * 200 + ".tif")]
    item = checked(items(RUN, held, {}, INTERVAL).items[0])
    assert len(item["assets"]) == len({asset["href"] for asset in item["assets"].values()}) == 4
    assert all(asset["href"].endswith(".tif") for asset in item["assets"].values()) or "b-x" in str(item)


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_are_of_the_allowed_kind_and_different_for_different_texts(one: str, two: str) -> None:
    for text in (one, two, one * 60):
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", safe_name(text))
    assert (safe_name(one) == safe_name(two)) == (one == two)


def test_a_run_is_read_from_the_record_of_provenance() -> None:
    run = Run.of(record(), "https://broker.example/jobs/1")
    assert (run.process, run.job, run.facility) == ("Counts", JOB, "local@here")
    assert run.software == {"Counts": "1.2.0", "earthcode-broker": "9.9", "cwltool": "3.3"}
    assert run.finished.endswith("Z")


def test_only_small_json_is_read() -> None:
    big = File("big.json", "big.json", 9 * 2**20, "0" * 64)
    assert [file.path for file in candidates([*outputs(), big])] == ["catalog.json"]


@pytest.fixture(scope="module")
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        peer.collection("lakes")
        yield peer


def test_what_is_made_is_what_the_repository_takes(prr: PrrPeer) -> None:
    store = {"cube.zarr/.zattrs": b"{}", "cube.zarr/b/0.0": b"12"}
    assets = {**ITEM["assets"], "cube": {"href": "../cube.zarr"}}  # type: ignore[dict-item]
    raw = json.dumps(ITEM | {"assets": assets}).encode()
    data = BYTES | store | {"w/w.json": raw, "job.log": b"log"}
    made = items(
        RUN,
        [output(path, one) for path, one in data.items() if path != "job.log"],
        {"w/w.json": raw},
        {},
        {"logs": output("job.log", b"log")},
    )
    one = Prr(Egress(), prr.place("lakes"))
    finished(one, one.plan(made.items), files=Held(data))
    kept = prr.items["lakes", f"water-bodies-{JOB}"]
    assert sorted(kept["assets"]) == ["cube", "logs", "ndwi", "quicklook", "w"]
    assert kept["assets"]["logs"]["href"].endswith(f"/2015/06/23/water-bodies-{JOB}/job.log")
