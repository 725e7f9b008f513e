"""titiler-openeo: a back-end of others, without jobs, which the platform uses by synchronous requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import rasterio
import requests
from rasterio.io import MemoryFile

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused
from broker.jobs.observation import State
from tests.faults.openeo.looking import look, read
from tests.peers.openeo.peer import SCENE, OpenEoPeer, submitted
from tests.peers.openeo.titiler import titiler_peer
from tests.peers.stacapi import stac_api_peer
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")
DAY = "2020-01-01T00:00:00Z"
YEARS = ["2019-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]  # null, which is any time, is refused there


@pytest.fixture(scope="module")
def titiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenEoPeer]:
    """A back-end whose one collection has one item: the scene of the demonstration."""
    with stac_api_peer() as api, WebPeer() as web, titiler_peer(tmp_path_factory.mktemp("titiler"), api.url) as peer:
        _publish(api.url, web)
        yield peer


def _publish(api: str, web: WebPeer) -> None:
    item = json.loads((SCENE / "patagonia-sentinel-2.json").read_text())
    item |= {"collection": "scene", "links": []}
    item["properties"]["datetime"] = DAY
    for asset in item["assets"].values():
        file = SCENE / asset["href"]
        asset["href"] = web.serve(f"/{file.name}", file.read_bytes(), media_type="image/tiff")
    extent = {"spatial": {"bbox": [item["bbox"]]}, "temporal": {"interval": [[DAY, DAY]]}}
    collection: dict[str, Any] = {
        "type": "Collection",
        "id": "scene",
        "stac_version": "1.0.0",
        "description": "One scene.",
    }
    collection |= {"license": "MIT", "links": [], "extent": extent}
    for path, body in (("/collections", collection), ("/collections/scene/items", item)):
        requests.post(api + path, json=body, timeout=30).raise_for_status()


@pytest.fixture
def there(titiler: OpenEoPeer) -> OpenEoPlatform:
    return titiler.platform()


def ndvi(extent: dict[str, Any]) -> dict[str, Any]:
    load = {"id": "scene", "bands": ["nir", "red"], "spatial_extent": extent, "temporal_extent": YEARS}
    bands = {"data": {"from_node": "load"}, "nir": "nir", "red": "red"}
    save = {"data": {"from_node": "ndvi"}, "format": "GTiff", "options": {"datatype": "float32"}}
    return {
        "id": "ndvi",
        "process_graph": {
            "load": {"process_id": "load_collection", "arguments": load},
            "ndvi": {"process_id": "ndvi", "arguments": bands},
            "save": {"process_id": "save_result", "arguments": save, "result": True},
        },
    }


def test_it_is_found_out_what_it_has(there: OpenEoPlatform) -> None:
    health = there.check()
    assert health.available, health.message
    assert {"GTiff", "PNG"} <= health.capabilities.data_types
    assert health.capabilities.kinds == {"openeo"}


def test_an_index_is_computed_when_it_is_read(titiler: OpenEoPeer, there: OpenEoPlatform) -> None:
    with rasterio.open(SCENE / "nir.tif") as near, rasterio.open(SCENE / "red.tif") as far:
        nir, red, box, crs = near.read(1).astype(float), far.read(1).astype(float), near.bounds, near.crs
    extent = {"west": box.left, "south": box.bottom, "east": box.right, "north": box.top, "crs": crs.to_epsg()}
    attempt = submitted(there, titiler.spec(ndvi(extent)))
    assert look(there, attempt).state is State.SUCCEEDED
    collected = there.collect(attempt)
    assert collected.facts["delegated"]["mode"] == "sync"
    [asset] = collected.outputs["assets"]
    with MemoryFile(read(there, attempt, asset["location"])) as memory, memory.open() as made:
        assert (made.crs, made.bounds) == (crs, box)
        values = made.read(1)
    # it makes more pixels of them, each as the nearest one is
    rows, columns = (
        (numpy.arange(many) + 0.5) * few // many for many, few in zip(values.shape, nir.shape, strict=True)
    )
    ours = ((nir - red) / (nir + red))[numpy.ix_(rows.astype(int), columns.astype(int))]
    same = numpy.isclose(values, ours, atol=1e-6)
    assert same.mean() > 0.99, f"{same.mean():.4f} of the pixels are the same"
    item = json.loads(read(there, attempt, "stac/result.json"))
    assert item["assets"]["result"]["href"] == "./result.tif"
    there.cancel(attempt)
    there.release(attempt)


def test_what_it_does_not_have_is_told_in_its_words(titiler: OpenEoPeer, there: OpenEoPlatform) -> None:
    process = {"id": "x", "process_graph": {"x": {"process_id": "no_such", "arguments": {}, "result": True}}}
    with pytest.raises(PlatformRefused, match="no_such") as told:
        submitted(there, titiler.spec(process))
    assert told.value.fault_of == "package"


def test_where_there_are_no_data_the_input_is_at_fault(titiler: OpenEoPeer, there: OpenEoPlatform) -> None:
    nowhere = {"west": 10.0, "south": 50.0, "east": 10.1, "north": 50.1}
    attempt = submitted(there, titiler.spec(ndvi(nowhere)))
    path = there.collect(attempt).outputs["assets"][0]["location"]
    with pytest.raises(PlatformRefused, match="NoDataAvailable") as told:
        read(there, attempt, path)
    assert told.value.fault_of == "input"


def test_another_password_is_told(titiler: OpenEoPeer) -> None:
    health = titiler.platform(password="wrong").check()
    assert not health.available
    assert "account" in health.message
