"""Publishing what lies elsewhere to a real STAC API: one item, whatever is repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from broker.egress import Egress, EgressPolicy
from broker.errors import InputError, TargetRefused
from broker.jobs.publication import State
from broker.results.stacapi import StacApi, other
from broker.results.target import done
from broker.store.database import Database
from tests.peers.stac import collection
from tests.peers.stacapi import StacApiPeer, stac_api_peer
from tests.peers.web import WebPeer
from tests.unit.execution.press import Press

BYTES = b"a small cube"


class Nothing:
    """No file is read."""

    def open(self, source: str) -> Iterator[bytes]:
        raise AssertionError(source)

    def progress(self, count: int) -> None:
        raise AssertionError


@pytest.fixture(scope="module")
def api() -> Iterator[StacApiPeer]:
    with stac_api_peer() as peer:
        yield peer


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


def planned(web: WebPeer, name: str = "cube-1") -> dict[str, Any]:
    asset = {
        "href": web.serve("/cube.bin", BYTES),
        "type": "application/octet-stream",
        "roles": ["data"],
        "file:size": len(BYTES),
        "file:checksum": "1220" + hashlib.sha256(BYTES).hexdigest(),
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": name,
        "geometry": {"type": "Point", "coordinates": [11.5, 48.1]},
        "bbox": [11.5, 48.1, 11.5, 48.1],
        "properties": {
            "datetime": "2026-01-01T00:00:00Z",
            "start_datetime": "2026-01-01T00:00:00Z",
            "end_datetime": "2026-01-02T00:00:00Z",
        },
        "links": [],
        "assets": {"cube": asset},
    }
    return {"item": item, "files": {}}


def target(api: StacApiPeer, name: str, document: Any = None) -> StacApi:
    policy = EgressPolicy(schemes=frozenset({"http"}), allow_hosts=("127.0.0.1",))
    return StacApi(Egress(policy), api.url, name, document=document)


def finished(one: StacApi, plan: Any, receipt: Any = None) -> Any:
    for _ in range(20):
        receipt = json.loads(json.dumps(one.step(plan, receipt, Nothing())))
        if done(receipt):
            return receipt
    raise AssertionError(receipt)


def test_collection_item_and_files_are_there_at_the_end_also_when_every_step_is_made_twice(
    api: StacApiPeer, web: WebPeer
) -> None:
    one = target(api, "cubes", collection("cubes"))
    plan = one.plan([planned(web)])
    receipt: Any = None
    for _ in range(20):
        one.step(plan, receipt, Nothing())  # and its receipt is lost
        receipt = one.step(plan, receipt, Nothing())
        if done(receipt):
            break
    found = requests.get(f"{api.url}/collections/cubes/items", timeout=10).json()
    assert [item["id"] for item in found["features"]] == ["cube-1"]
    assert receipt["items"]["cube-1"]["href"] == f"{api.url}/collections/cubes/items/cube-1"
    assert finished(one, plan)["items"]["cube-1"]["state"] == "verified"


def test_another_item_of_this_name_is_refused(api: StacApiPeer, web: WebPeer) -> None:
    one = target(api, "others", collection("others"))
    finished(one, one.plan([planned(web)]))
    changed = planned(web)
    changed["item"]["properties"]["end_datetime"] = "2026-01-03T00:00:00Z"
    with pytest.raises(TargetRefused, match="/properties/end_datetime differs"):
        finished(one, one.plan([changed]))


def test_a_file_that_is_not_what_was_promised_is_told(api: StacApiPeer, web: WebPeer) -> None:
    one = target(api, "promises", collection("promises"))
    plan = one.plan([planned(web)])
    web.serve("/cube.bin", b"b small cube")
    with pytest.raises(TargetRefused, match="cube of the item cube-1 has another content"):
        finished(one, plan)


def test_a_collection_that_is_not_there_is_found_before(api: StacApiPeer, web: WebPeer) -> None:
    one = target(api, "nowhere")
    assert [finding.field for finding in one.check()] == ["collection"]
    with pytest.raises(TargetRefused, match="has no collection nowhere"):
        finished(one, one.plan([planned(web)]))


def test_files_are_not_sent(api: StacApiPeer, web: WebPeer) -> None:
    with pytest.raises(TargetRefused, match="does not keep"):
        target(api, "cubes").plan([planned(web) | {"files": {"a": {}}}])


@pytest.mark.parametrize(
    ("ours", "found", "where"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ({"a": None}, {}, None),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:00+00:00"}, None),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:01Z"}, "/at"),
        ({"links": [1]}, {"links": []}, None),
        ({"bbox": [0, 1]}, {"bbox": [0.0, 1.0]}, None),
        ({"bbox": [0, 1]}, {"bbox": [0]}, "/bbox"),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, "/a/b/1/c"),
        ({"a": 1}, [], ""),
    ],
)
def test_what_counts_as_the_same_document(ours: Any, found: Any, where: str | None) -> None:
    assert other(ours, found) == where


def test_a_publication_of_what_lies_elsewhere(
    api: StacApiPeer, web: WebPeer, sqlite_migrated: Path, tmp_path: Path
) -> None:
    """From the request to an item that is there once; and what it refuses before anything leaves."""
    document = collection("elsewhere")
    assert requests.post(f"{api.url}/collections", json=document, timeout=10).status_code in (200, 201)
    database = Database(f"sqlite:///{shutil.copyfile(sqlite_migrated, tmp_path / 'one.db')}")
    with Egress(EgressPolicy(schemes=frozenset({"http"}), allow_networks=("127.0.0.0/8",))) as egress:
        press = Press(database, tmp_path, egress, {"cubes": {"kind": "stac-api", "address": api.url}})
        with pytest.raises(InputError, match="A repository takes items"):
            press.ask(target="cubes", collection="elsewhere")
        with pytest.raises(InputError, match="has no collection lakes"):
            press.ask(target="cubes", collection="lakes", items=[planned(web)["item"]])
        with pytest.raises(InputError, match="has files to be sent"):
            press.ask(press.job(), target="cubes", collection="elsewhere")
        (made,) = press.ask(target="cubes", collection="elsewhere", items=[planned(web, "cube-7")["item"]])
        done = press.until(made, State.PUBLISHED)
    assert [item["id"] for item in items(api, "elsewhere")] == ["cube-7"]
    assert done.receipt is not None
    assert done.receipt["items"]["cube-7"]["href"].endswith("/collections/elsewhere/items/cube-7")
    database.close()


def items(api: StacApiPeer, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"{api.url}/collections/{name}/items", timeout=10).json()["features"]
    return found
