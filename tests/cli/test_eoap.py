"""An EO application package from stage-in to stage-out: STAC by link goes in, a STAC catalog comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac
import pytest

from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.stac import catalog, collection, item
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("broker")

# Copies what was staged, and makes a catalog of its own around it: as applications do, with relative links.
PACKAGE = """cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:softwareVersion: 1.0.0
$graph:
  - class: Workflow
    id: copy-scenes
    label: Copy scenes
    doc: Copies scenes.
    requirements: {ScatterFeatureRequirement: {}}
    inputs:
      scene: {type: Directory, label: Scene, doc: A STAC catalog}
      others: {type: 'Directory[]', label: Others, doc: STAC catalogs, default: []}
    outputs:
      result: {type: Directory, label: Result, doc: A STAC catalog, outputSource: one/result}
      more: {type: 'Directory[]', label: More, doc: STAC catalogs, outputSource: each/result}
    steps:
      one: {label: One, doc: One, run: '#copy', in: {scene: scene}, out: [result]}
      each: {label: Each, doc: Each, run: '#copy', scatter: scene, in: {scene: others}, out: [result]}
  - class: CommandLineTool
    id: copy
    baseCommand: [sh, -c]
    arguments: ['test -f "$0/catalog.json" && mkdir result && cp -rL "$0/." result', $(inputs.scene.path)]
    requirements: {ResourceRequirement: {coresMin: 0.1, coresMax: 1, ramMin: 16, ramMax: 64}}
    inputs: {scene: {type: Directory, label: Scene, doc: A STAC catalog}}
    outputs: {result: {type: Directory, label: Result, doc: A STAC catalog, outputBinding: {glob: result}}}
"""
BANDS = {name: name.encode() * 1000 for name in ("red", "nir")}


@pytest.fixture(scope="module")
def web() -> Iterator[WebPeer]:
    with WebPeer() as running:
        for name in ("s1", "s2"):
            assets = {band: {"href": f"./{band}.tif", "type": "image/tiff"} for band in BANDS}
            for band, content in BANDS.items():
                running.serve(f"/{name}/{band}.tif", name.encode() + content)
            running.serve(f"/{name}/item.json", item(name, assets))
        features = [
            item(name, {band: {"href": running.url(f"/{name}/{band}.tif")} for band in BANDS}) for name in ("s1", "s2")
        ]
        running.serve("/found.json", {"type": "FeatureCollection", "features": features, "links": []})
        both = (("item", "./s1/item.json"), ("item", "./s2/item.json"))
        running.serve("/collection.json", collection("both", *both))
        running.serve("/catalog.json", catalog("both", *both))
        yield running


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    state = tmp_path_factory.mktemp("eoap") / "state"
    with broker_peer(state, EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]') as running:
        made = running.post("/processes", data=PACKAGE.encode(), headers={"Content-Type": "application/cwl"})
        assert made.status_code == 201, made.text
        assert "DOCKER" in str(made.json()["warnings"]), "the best practice wants an image"
        yield running


def read(peer: BrokerPeer, link: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Item -> asset -> bytes of a catalog that was staged out, followed link by link over HTTP."""
    assert link["href"].endswith("/catalog.json")
    found = pystac.Catalog.from_file(link["href"])
    return {
        one.id: {key: peer.session.get(str(asset.get_absolute_href())).content for key, asset in one.assets.items()}
        for one in found.get_items(recursive=True)
    }


def expected(*names: str) -> dict[str, dict[str, bytes]]:
    return {name: {band: name.encode() + content for band, content in BANDS.items()} for name in names}


@pytest.mark.parametrize(
    ("path", "media_type", "items"),
    [
        ("/s1/item.json", "application/geo+json", ("s1",)),
        ("/found.json", "application/geo+json", ("s1", "s2")),
        ("/collection.json", "application/json", ("s1", "s2")),
        ("/catalog.json", "application/json", ("s1", "s2")),
    ],
)
def test_in_and_out(peer: BrokerPeer, web: WebPeer, path: str, media_type: str, items: tuple[str, ...]) -> None:
    job = peer.execute("copy-scenes", {"scene": {"href": web.url(path), "type": media_type}}, response="document")
    assert peer.ended(job)["status"] == "successful", peer.status(job)
    results = peer.get(f"/jobs/{job}/results").json()
    assert read(peer, results["result"]) == expected(*items)
    assert results["more"] == []


def test_many_and_by_value(peer: BrokerPeer, web: WebPeer) -> None:
    by_value = item("s1", {band: {"href": web.url(f"/s1/{band}.tif")} for band in BANDS})
    others = [{"href": web.url("/s1/item.json")}, {"href": web.url("/s2/item.json")}]
    job = peer.execute("copy-scenes", {"scene": {"value": by_value}, "others": others}, response="document")
    assert peer.ended(job)["status"] == "successful", peer.status(job)
    results = peer.get(f"/jobs/{job}/results").json()
    assert read(peer, results["result"]) == expected("s1")
    assert [read(peer, one) for one in results["more"]] == [expected("s1"), expected("s2")]


def test_results_go_into_the_next_job(peer: BrokerPeer, web: WebPeer) -> None:
    first = peer.execute("copy-scenes", {"scene": {"href": web.url("/catalog.json")}}, response="document")
    assert peer.ended(first)["status"] == "successful"
    link = peer.get(f"/jobs/{first}/results").json()["result"]
    second = peer.execute("copy-scenes", {"scene": {"href": link["href"]}}, response="document")
    assert peer.ended(second)["status"] == "successful", peer.status(second)
    assert read(peer, peer.get(f"/jobs/{second}/results").json()["result"]) == expected("s1", "s2")


def test_the_scene_that_is_not_there_is_the_inputs_fault(peer: BrokerPeer, web: WebPeer, tmp_path: Path) -> None:
    gone = item("gone", {"red": {"href": web.url("/nowhere.tif")}})
    job = peer.execute("copy-scenes", {"scene": {"value": gone}})
    status = peer.ended(job)
    assert status["status"] == "failed"
    assert "nowhere.tif" in str(status)


def test_the_best_practice_at_deploy_and_check(peer: BrokerPeer, command: Broker, alone: Path) -> None:
    package = alone / "app.cwl"
    package.write_text(PACKAGE.replace("id: copy-scenes", "id: main").replace("label: Scene, ", ""))
    checked = command("check", package, "--server", peer.url)
    assert checked.code == 0, checked.err
    assert "Best practice for EO application packages (OGC 20-089r1)" in checked.err
    assert "app.cwl:11 scene among the inputs of main has no label. EOAP.REQ10.LABEL" in checked.err
    assert "SERVICE.PROCESS.ID" in checked.err
    deployed = command("deploy", package, "--server", peer.url, "--id", "worse")
    assert deployed.out.strip() == "worse"
    assert "(EOAP.REQ10.LABEL, line 11)" in deployed.err
