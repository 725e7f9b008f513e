"""STAC inputs from a real server: what arrives is a catalog that pystac reads without any network."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac
import pytest

from broker.egress import Egress, EgressPolicy
from broker.errors import BrokerError, EgressRefused, StagingError
from broker.jobs.model import StageItem
from broker.runner.fetch import Rules
from broker.runner.stage import stage
from broker.storage.local import LocalStorage
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


def item(name: str, assets: Mapping[str, Any], links: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2026-01-01T00:00:00Z", "eo:cloud_cover": 12.5},
        "links": list(links),
        "assets": dict(assets),
        **more,
    }


def catalog(name: str, *links: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": name,
        "description": f"About {name}",
        "links": [{"rel": rel, "href": href} for rel, href in links],
        **more,
    }


def collection(name: str, *links: tuple[str, str]) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2026-01-01T00:00:00Z", None]]}}
    return catalog(name, *links) | {"type": "Collection", "license": "CC-BY-4.0", "extent": extent}


def read(folder: Path) -> dict[str, pystac.Item]:
    """The items of a staged catalog, as a package would read them; every asset must be a file beside its item."""
    found = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = {one.id: one for one in found.get_items(recursive=True)}
    for one in items.values():
        assert Path(one.self_href).is_relative_to(folder)
    return items


def asset_bytes(one: pystac.Item, key: str) -> bytes:
    return Path(str(one.assets[key].get_absolute_href())).read_bytes()


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


@pytest.mark.parametrize(
    "hostile", ["../../../../evil", "..", ".", "/etc/evil", "catalog.json", "a\0b", "\n", "x" * 5000, "ö"]
)
def test_names_of_items_and_assets_are_made_safe(web: WebPeer, root: Path, hostile: str) -> None:
    web.serve("/x/catalog.json", b"asset")
    assets = {hostile: {"href": "x/catalog.json"}}
    if hostile not in (".", ".."):  # which in a URL are directories
        name = hostile[-99:]
        web.serve(f"/y/{name}", b"2")
        assets["2"] = {"href": web.url("/y/") + quote(name, safe="")}
    url = web.serve("/i.json", item(hostile, assets))
    run(root, StageItem("in", url, stac=True))
    assert {path.parent.parent.name for path in root.rglob("*") if path.is_file()} <= {"in", "inputs"}
    assert asset_bytes(read(root / "in")[hostile], hostile) == b"asset"


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


def test_assets_cannot_reach_inside(web: WebPeer, root: Path) -> None:
    url = web.serve("/i.json", item("one", {"a": {"href": "http://169.254.169.254/latest/meta-data/"[:-1]}}))
    with pytest.raises(EgressRefused):
        run(root, StageItem("in", url, stac=True))


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


@pytest.mark.parametrize(
    "body",
    [
        "<html><a href='scene.tif'>",
        "{}",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        '{"type": "Feature"}',
        '{"type": "Topology"}',
    ],
)
def test_what_is_not_stac(web: WebPeer, root: Path, body: str) -> None:
    with pytest.raises(StagingError, match=r"not a STAC document.*STAC item, collection or catalog"):
        run(root, StageItem("in", web.serve("/listing/", body), stac=True))


@pytest.mark.parametrize(
    "broken",
    [
        item("", {}),
        {**item("x", {}), "id": 5},
        {**item("x", {}), "assets": []} | {"assets": [1]},
        item("x", {"a": 1}),
        item("x", {"a": {}}),
        item("x", {"a": {"href": 3}}),
        item("x", {"a": {"href": "file:///etc/passwd"}}),
        catalog("x", ("item", "file:///etc/passwd")),
        catalog("x", ("item", "ftp://example.org/")),
    ],
)
def test_broken_documents(web: WebPeer, root: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(BrokerError) as caught:
        run(root, StageItem("in", web.serve("/i.json", broken), stac=True))
    assert caught.value.fault == "staging"


@pytest.mark.parametrize(
    "odd",
    [{"links": None}, {"links": {}}, {"links": [1, None, {"rel": 5, "href": 7}]}, {"assets": None}, {"links": [{}]}],
)
def test_odd_documents(web: WebPeer, root: Path, odd: dict[str, Any]) -> None:
    run(root, StageItem("in", web.serve("/i.json", item("x", {}) | odd), stac=True))
    assert list(read(root / "in")) == ["x"]


def test_limits(web: WebPeer, root: Path) -> None:
    for depth in range(5):
        web.serve(f"/{depth}", catalog(str(depth), ("child", f"/{depth + 1}")))
    web.serve("/5", catalog("5", ("item", "/i")))
    web.serve("/i", item("i", {}))
    run(root, StageItem("in", web.url("/0"), stac=True), Rules(depth=6))
    with pytest.raises(StagingError, match="5 catalogs deep"):
        run(root, StageItem("in", web.url("/0"), stac=True), Rules(depth=5))
    web.serve("/s", {"type": "FeatureCollection", "features": [item(str(n), {}) for n in range(4)]})
    with pytest.raises(StagingError, match="more than 3 items"):
        run(root, StageItem("in", web.url("/s"), stac=True), Rules(items=3))
    with pytest.raises(StagingError, match="larger"):
        run(root, StageItem("in", web.url("/s"), stac=True), Rules(document_bytes=100))


class TestOwnStorage:
    """Results of one job as the input of another: the documents were written by a package, so are not trusted."""

    def keep(self, storage: LocalStorage, **files: bytes | dict[str, Any]) -> str:
        for name, body in files.items():
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            storage.keep(f"o/job/1/{name.replace('__', '/').replace('_', '.')}", io.BytesIO(raw))
        return storage.link("o/job/1/out/catalog.json", 60)

    def test_relative_links(self, tmp_path: Path, root: Path) -> None:
        storage = LocalStorage(tmp_path / "storage")
        url = self.keep(
            storage,
            out__catalog_json=catalog("result", ("item", "./one/one.json"), ("license", "file:///x")),
            out__one__one_json=item("one", {"d": {"href": "../d.tif"}}, [{"rel": "via", "href": "../v.html"}]),
            out__d_tif=b"result",
        )
        run(root, StageItem("in", url, stac=True, trusted=True))
        assert asset_bytes(read(root / "in")["one"], "d") == b"result"
        assert str(tmp_path / "storage") not in (root / "in/one/one.json").read_text()

    @pytest.mark.parametrize(
        "href",
        ["../secret", "../../../other/1/secret", "/etc/passwd", "file:///etc/passwd", "..%2fsecret", "//etc/passwd"],
    )
    def test_no_way_out(self, tmp_path: Path, root: Path, href: str) -> None:
        storage = LocalStorage(tmp_path / "storage")
        storage.keep("other/1/secret", io.BytesIO(b"secret"))
        url = self.keep(storage, out__catalog_json=item("one", {"d": {"href": href}}), secret=b"secret")
        with pytest.raises(StagingError):
            run(root, StageItem("in", url, stac=True, trusted=True))
        url = self.keep(storage, out__catalog_json=catalog("c", ("item", href)), secret=b"secret")
        with pytest.raises(StagingError):
            run(root, StageItem("in", url, stac=True, trusted=True))
