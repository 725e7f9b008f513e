"""The repository of the tests does what reg-api's own description and examples say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.peers.prr import STAGING, PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY

DATA = Path(__file__).parents[2] / "data" / "osc" / "prr"
FILE = "GeogToWGS84GeoKey5.tif"


@pytest.fixture(scope="module")
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        yield peer


def post(prr: PrrPeer, collection: str, item: Any, user: str = ACCESS_KEY) -> requests.Response:
    url = f"{prr.url}/reg-api/collections/{collection}/items"
    return requests.post(url, json=item, auth=(user, SECRET_KEY), timeout=10)


def sample() -> Any:
    return json.loads((DATA / "StacItemTest.valid.json").read_text())


def put(prr: PrrPeer, size: int = 4058) -> None:
    prr.client.put_object(Bucket=STAGING, Key=FILE, Body=b"x" * size)


def test_the_valid_item_of_its_tests_is_registered_as_its_tests_expect(prr: PrrPeer) -> None:
    prr.collection("PRR_TEST")
    put(prr)
    expected = json.loads((DATA / "StacItemTest.valid_expected.json").read_text())

    answer = post(prr, "PRR_TEST", sample())

    assert answer.status_code == 201
    assert answer.json() | {"links": expected["links"]} == expected
    assert requests.get(prr.url + expected["assets"]["PRODUCT"]["href"], timeout=10).content == b"x" * 4058
    assert (again := post(prr, "PRR_TEST", sample())).status_code == 422
    assert "not found in the staging area" in again.json()["failure_reason"]
    put(prr)
    assert post(prr, "PRR_TEST", sample()).status_code == 409


def test_a_wrong_size_a_stranger_and_another_collection_are_refused(prr: PrrPeer) -> None:
    prr.collection("sizes")
    prr.collection("theirs", "somebody-else")
    put(prr, 4057)
    assert "size" in post(prr, "sizes", sample()).json()["failure_reason"]
    assert post(prr, "sizes", sample(), user="eve").status_code == 401
    assert post(prr, "theirs", sample()).status_code == 403
    assert not [key for key in prr.items if key[0] in ("sizes", "theirs")]


def test_a_batch_is_an_error_although_some_of_it_was_taken(prr: PrrPeer) -> None:
    prr.collection("batches")
    put(prr)
    bad = sample() | {"id": "not there"}
    answer = post(prr, "batches", {"type": "FeatureCollection", "features": [sample(), bad]})
    assert answer.status_code == 422
    assert [feature["id"] for feature in answer.json()["features"]] == ["not there"]
    assert ("batches", sample()["id"]) in prr.items
