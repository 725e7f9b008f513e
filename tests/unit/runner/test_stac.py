"""STAC inputs from a real server: what arrives is a catalog that pystac reads without any network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.egress import Egress, EgressPolicy
from broker.errors import StagingError
from broker.jobs.model import StageItem
from broker.runner.fetch import Rules
from broker.runner.stage import stage
from tests.peers.stac import asset_bytes, catalog, collection, item, read
from tests.peers.web import WebPeer

POLICY = EgressPolicy(schemes=frozenset({"http", "https"}), allow_networks=("127.0.0.0/8",))


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "inputs"


def run(root: Path, item: StageItem, rules: Rules | None = None) -> list[str]:
    lines: list[str] = []
    with Egress(POLICY) as egress:
        stage([item], root, egress, lines.append, rules or Rules(pause=0))
    return lines


def test_an_item_with_relative_and_absolute_assets(web: WebPeer, root: Path) -> None:
    web.serve("/data/red.tif", b"red")
    digest = "1220" + hashlib.sha256(b"green").hexdigest()
    assets = {
        "red": {"href": "./red.tif", "type": "image/tiff", "roles": ["data"], "raster:bands": [{"nodata": 0}]},
        "green": {"href": web.serve("/else/green.tif", b"green"), "file:checksum": digest},
        "other red": {"href": web.serve("/other/red.tif", b"second red") + "?token=secret"},
        "named": {"href": web.serve("/data/ü b#%.tif", b"named")},
    }
    links = [
        {"rel": "self", "href": "https://canonical.example.org/elsewhere.json"},
        {"rel": "license", "href": "../license.html", "title": "kept"},
        {"rel": "parent", "href": "../catalog.json"},
    ]
    url = web.serve(
        "/data/scene.json", item("S2A_1/x", assets, links, collection="S2"), media_type="application/geo+json"
    )
    lines = run(root, StageItem("scene", url, stac=True))
    found = read(root / "scene")["S2A_1/x"]
    assert {key: asset_bytes(found, key) for key in found.assets} == {
        "red": b"red",
        "green": b"green",
        "other red": b"second red",
        "named": b"named",
    }
    document = json.loads((root / "scene/S2A_1_x/S2A_1_x.json").read_text())
    assert document["assets"]["red"] == assets["red"]
    assert document["properties"]["eo:cloud_cover"] == 12.5
    assert document["collection"] == "S2"
    assert {link["rel"]: link["href"] for link in document["links"]} == {
        "root": "../catalog.json",
        "parent": "../catalog.json",
        "license": web.url("/license.html"),
    }
    assert "secret" not in "".join(lines)
    assert all(path.stat().st_mode & 0o222 == 0 for path in (root / "scene").rglob("*") if path.is_file())


def test_a_catalog_of_catalogs(web: WebPeer, root: Path) -> None:
    web.serve("/c/catalog.json", catalog("top", ("child", "a/catalog.json"), ("child", "./col/collection.json")))
    web.serve(
        "/c/a/catalog.json", catalog("a", ("item", "one.json"), ("parent", "../catalog.json"), ("item", "one.json"))
    )
    web.serve("/c/a/one.json", item("one", {"data": {"href": "one.tif"}}))
    web.serve("/c/a/one.tif", b"1")
    web.serve("/c/col/collection.json", collection("col", ("item", "two.json"), ("child", "../catalog.json")))
    web.serve(
        "/c/col/two.json",
        item("two", {"data": {"href": "two.tif"}}, [{"rel": "collection", "href": "x"}], collection="col"),
    )
    web.serve("/c/col/two.tif", b"2")
    run(root, StageItem("in", web.url("/c/catalog.json"), stac=True))
    items = read(root / "in")
    assert {key: asset_bytes(one, "data") for key, one in items.items()} == {"one": b"1", "two": b"2"}
    kept = items["two"].get_collection()
    assert kept is not None
    assert (kept.license, Path(kept.self_href).is_relative_to(root)) == ("CC-BY-4.0", True)
    assert len([request for request in web.requests if request.path == "/c/a/one.json"]) == 1


def test_a_search_result_in_pages(web: WebPeer, root: Path) -> None:
    """Features inside another document count their relative links from their own `self` link."""
    own = [{"rel": "self", "href": web.url("/items/one.json")}]
    web.serve("/items/one.tif", b"1")
    web.serve("/two.tif", b"2")
    first = {"type": "FeatureCollection", "features": [item("one", {"d": {"href": "one.tif"}}, own)]}
    first["links"] = [{"rel": "next", "href": "page2", "method": "GET"}]
    web.serve("/search", first)
    web.serve("/page2", {"type": "FeatureCollection", "features": [item("two", {"d": {"href": "two.tif"}})]})
    run(root, StageItem("in", web.url("/search"), stac=True))
    assert {key: asset_bytes(one, "d") for key, one in read(root / "in").items()} == {"one": b"1", "two": b"2"}


def test_a_collection_of_an_api(web: WebPeer, root: Path) -> None:
    web.serve("/collections/s2", collection("s2", ("items", "/collections/s2/items"), ("self", "/collections/s2")))
    web.serve("/collections/s2/items", {"type": "FeatureCollection", "features": [item("one", {}, collection="s2")]})
    run(root, StageItem("in", web.url("/collections/s2"), directory=True))
    assert list(read(root / "in")) == ["one"]


def test_the_same_id_twice(web: WebPeer, root: Path) -> None:
    features = [
        item(name, {"d": {"href": web.serve(f"/{n}/d.tif", str(n))}}) for n, name in enumerate(("a/b", "a b", "A_B"))
    ]
    web.serve("/s", {"type": "FeatureCollection", "features": features})
    run(root, StageItem("in", web.url("/s"), stac=True))
    assert sorted(asset_bytes(one, "d") for one in read(root / "in").values()) == [b"0", b"1", b"2"]


def test_what_is_no_file_stays_a_link(web: WebPeer, root: Path) -> None:
    data = web.serve("/d.tif", b"data")
    assets = {
        "data": {"href": data},
        "remote": {"href": "s3://requester-pays/x.jp2"},
        "both": {"href": "s3://requester-pays/y.jp2", "alternate": {"web": {"href": web.serve("/y.jp2", b"y")}}},
        "cube": {"href": web.url("/cube.zarr"), "type": "application/vnd+zarr"},
        "folder": {"href": "folder/"},
    }
    lines = run(root, StageItem("in", web.serve("/i.json", item("one", assets)), stac=True))
    document = json.loads((root / "in/one/one.json").read_text())
    assert {key: asset["href"] for key, asset in document["assets"].items()} == {
        "data": "./d.tif",
        "remote": "s3://requester-pays/x.jp2",
        "both": "./y.jp2",
        "cube": web.url("/cube.zarr"),
        "folder": web.url("/folder/"),
    }
    assert any("left as links: remote, cube, folder" in line for line in lines)


def test_an_item_that_is_only_in_unknown_object_storage(web: WebPeer, root: Path) -> None:
    url = web.serve("/i.json", item("one", {"a": {"href": "s3://other/x.tif"}}))
    with pytest.raises(StagingError, match="bucket other"):
        run(root, StageItem("in", url, stac=True))


def test_an_asset_that_is_missing(web: WebPeer, root: Path) -> None:
    with pytest.raises(StagingError, match="answered 404"):
        run(root, StageItem("in", web.serve("/i.json", item("one", {"a": {"href": "no.tif"}})), stac=True))


def test_a_wrong_checksum(web: WebPeer, root: Path) -> None:
    asset = {"href": web.serve("/a.tif", b"a"), "file:checksum": "1220" + "0" * 64}
    with pytest.raises(StagingError, match="sha256"):
        run(root, StageItem("in", web.serve("/i.json", item("one", {"a": asset})), stac=True))


def test_by_value(web: WebPeer, root: Path) -> None:
    web.serve("/data/a.tif", b"a")
    links = [{"rel": "self", "href": web.url("/data/i.json")}]
    run(root, StageItem("in", text=json.dumps(item("one", {"a": {"href": "a.tif"}}, links)), stac=True))
    assert asset_bytes(read(root / "in")["one"], "a") == b"a"
    with pytest.raises(StagingError, match="relative"):
        run(root, StageItem("in", text=json.dumps(item("one", {"a": {"href": "a.tif"}})), stac=True))
