"""STAC documents from people who mean ill: names, links, shapes and sizes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.egress import Egress, EgressPolicy
from broker.errors import BrokerError, EgressRefused, StagingError
from broker.jobs.model import StageItem
from broker.runner.fetch import Fetcher, Rules
from broker.runner.stac import expand
from broker.runner.stage import stage
from broker.storage.local import LocalStorage
from tests.peers.stac import asset_bytes, catalog, item, read
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


@pytest.mark.parametrize(
    "hostile", ["../../../../evil", "..", ".", "/etc/evil", "catalog.json", "a\0b", "\n", "x" * 5000, "ö"]
)
def test_names_of_items_and_assets_are_made_safe(web: WebPeer, root: Path, hostile: str) -> None:
    web.serve("/x/catalog.json", b"asset")
    assets = {hostile: {"href": "x/catalog.json"}}
    if hostile not in (".", ".."):  # which no URL can name
        name = hostile[-99:]
        web.serve(f"/y/{name}", b"2")
        assets["2"] = {"href": web.url("/y/") + quote(name, safe="")}
    url = web.serve("/i.json", item(hostile, assets))
    run(root, StageItem("in", url, stac=True))
    assert {path.parent.parent.name for path in root.rglob("*") if path.is_file()} <= {"in", "inputs"}
    assert asset_bytes(read(root / "in")[hostile], hostile) == b"asset"


def test_assets_cannot_reach_inside(web: WebPeer, root: Path) -> None:
    url = web.serve("/i.json", item("one", {"a": {"href": "http://169.254.169.254/latest/meta-data/"[:-1]}}))
    with pytest.raises(EgressRefused):
        run(root, StageItem("in", url, stac=True))


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


ODD = st.sampled_from(
    [
        "",
        ".",
        "..",
        "a/../..",
        "x.tif",
        "http://[",
        "https://h/x?y",
        "s3://b/k",
        "s3://",
        "file:x",
        "//h/x",
        "\ud800",
        "ä:b",
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | ODD, lambda more: st.lists(more) | st.dictionaries(ODD, more)
)
LINK = st.fixed_dictionaries({}, optional={"rel": st.sampled_from(["self", "via", "next", 7]), "href": ODD | ANY})
FEATURE = st.fixed_dictionaries(
    {"type": st.just("Feature"), "stac_version": st.just("1.0.0"), "id": ODD | ANY},
    optional={"links": st.lists(LINK) | ANY, "assets": st.dictionaries(ODD, LINK | ANY) | ANY, "collection": ANY},
)


@given(document=FEATURE | st.fixed_dictionaries({"type": st.just("FeatureCollection"), "features": st.lists(FEATURE)}))
@settings(max_examples=100, deadline=None)
def test_any_document_gives_a_catalog_or_a_reason(document: dict[str, Any]) -> None:
    with TemporaryDirectory() as place, Egress(POLICY) as egress:
        folder = Path(place) / "in" / "put"
        with suppress(StagingError, EgressRefused):
            downloads = expand(document, None, folder, Fetcher(egress, Rules(), lambda line: None))
            json.loads((folder / "catalog.json").read_text())
            assert all(one.target.resolve().is_relative_to(folder) for one in downloads)
        assert {path.name for path in Path(place).iterdir()} <= {"in"}


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
