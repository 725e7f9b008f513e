"""Publishing to the repository: once and completely, whatever fails and wherever the publisher dies."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from broker.egress import Egress, EgressPolicy
from broker.errors import TargetRefused, TargetUnavailable
from broker.results.prr import Prr, _other
from broker.results.target import File, done
from tests.peers.prr import STAGING, PrrPeer, prr_peer
from tests.peers.web import WebPeer

DATA = {"a/ndwi.tif": b"raster" * 100, "job.log": b"went well\n", "z/.zattrs": b"{}", "z/0/0.0": b"\x01" * 5000}


class Held:
    """Files of a plan that are held in memory."""

    def __init__(self, data: dict[str, bytes] | None = None) -> None:
        self.data = dict(DATA if data is None else data)
        self.opened: list[str] = []

    def open(self, source: str) -> Iterator[bytes]:
        self.opened.append(source)
        data = self.data[source]
        return (data[at : at + 64] for at in range(0, len(data), 64))

    def progress(self, count: int) -> None:
        """Nobody watches."""


def file(path: str) -> File:
    return File(path, path, len(DATA[path]), hashlib.sha256(DATA[path]).hexdigest(), "application/octet-stream")


def planned(name: str = "water-1", *, remote: str | None = None) -> dict[str, Any]:
    members = tuple(file(path).at(path[2:]) for path in DATA if path.startswith("z/"))
    files = {
        "ndwi.tif": file("a/ndwi.tif"),
        "job.log": file("job.log"),
        "z.zip": File("z", "z", None, None, "application/zip", members),
    }
    roles = {"ndwi.tif": ["data"], "z.zip": ["data"], "job.log": ["documentation"]}
    assets: dict[str, Any] = {
        name.partition(".")[0]: {"href": name, "type": one.media_type, "roles": roles[name]}
        for name, one in files.items()
    }
    if remote:
        assets["elsewhere"] = {"href": remote, "type": "text/plain", "roles": ["data"], "file:size": 5}
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": name,
        "geometry": None,
        "properties": {"start_datetime": "2026-01-01T00:00:00Z", "end_datetime": "2026-01-02T00:00:00Z"},
        "links": [],
        "assets": assets,
    }
    return {"item": item, "files": {name: one.to_json() for name, one in files.items()}}


@pytest.fixture(scope="module")
def server() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        yield peer


@pytest.fixture
def prr(server: PrrPeer, request: pytest.FixtureRequest) -> PrrPeer:
    server.requests.clear()
    server.collection("lakes")
    server.lag = False
    server.empty()
    return server


def target(prr: PrrPeer, **more: Any) -> Prr:
    return Prr(Egress(EgressPolicy(read_timeout=10)), prr.place("lakes", **more))


def finished(one: Prr, plan: Any, receipt: Any = None, files: Any = None, most: int = 40) -> Any:
    """All steps; the receipt goes through JSON, as in a table."""
    files = files or Held()
    while not done(receipt):
        assert (most := most - 1) > 0, receipt
        receipt = json.loads(json.dumps(one.step(plan, receipt, files)))
    return receipt


def stopped(one: Prr, plan: Any, kind: type[Exception], files: Any = None, most: int = 40) -> tuple[Any, Exception]:
    """Steps until one fails in this way: the last receipt, and the failure."""
    receipt, files = None, files or Held()
    for _ in range(most):
        try:
            receipt = one.step(plan, receipt, files)
        except kind as error:
            return receipt, error
    raise AssertionError(f"nothing failed: {receipt}")


def assert_one_item(prr: PrrPeer) -> None:
    assert [key for key in prr.items] == [("lakes", "water-1")]
    item = prr.items["lakes", "water-1"]
    for key, asset in item["assets"].items():
        with prr.body(asset["href"])[1] as stream:
            data = stream.read()
        assert (len(data), "1220" + hashlib.sha256(data).hexdigest()) == (asset["file:size"], asset["file:checksum"]), (
            key
        )
    assert prr.staged() == []


def test_every_file_is_staged_the_item_registered_and_every_asset_read_back(prr: PrrPeer) -> None:
    one, files = target(prr), Held()
    plan = one.plan([planned()])
    receipt: Any = None
    effects, sent = [0], 0
    while not done(receipt):
        receipt = one.step(plan, receipt, files)
        sent = max(sent, len(prr.staged()))
        effects.append(sent + prr.posts() + sum(request.startswith("GET /d/") for request in prr.requests))
    assert_one_item(prr)
    assert prr.posts() == 1
    assert effects[-1] == 3 + 1 + 3
    assert max(later - before for before, later in pairwise(effects)) == 1  # one thing at a time
    own = receipt["items"]["water-1"]
    assert own["href"] == f"{prr.url}/stac/collections/lakes/items/water-1"
    assert own["assets"]["ndwi"]["href"].startswith(f"{prr.url}/d/lakes/2026/01/01/water-1/")
    assert sum(request.startswith("GET /d/") for request in prr.requests) == 3
    gets = prr.requests.index("GET /stac/collections/lakes/items/water-1")
    assert gets < prr.requests.index("POST /reg-api/collections/lakes/items")


def test_no_secret_is_in_plan_receipt_or_repr(prr: PrrPeer) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    told = json.dumps(plan) + json.dumps(finished(one, plan)) + repr(prr.place("lakes"))
    assert prr.place("lakes").password not in told


@pytest.mark.parametrize("death", ["received", "moved"])
def test_a_repository_that_dies_while_it_registers(prr: PrrPeer, death: str) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    prr.die(death)
    receipt, _ = stopped(one, plan, TargetUnavailable)
    finished(one, plan, receipt)
    assert_one_item(prr)
    assert prr.posts() == (2 if death == "received" else 1)


def test_an_item_that_is_registered_before_its_files_are_moved_is_not_verified(prr: PrrPeer) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    prr.lag = True
    receipt, told = stopped(one, plan, TargetUnavailable)
    assert re.search(r"is registered, but its file \w+ is not there", str(told))
    assert "earth-code@esa.int" in str(told)
    assert receipt["items"]["water-1"]["state"] == "registered"
    prr.move()
    finished(one, plan, receipt)
    assert_one_item(prr)


def test_a_repository_that_dies_between_the_item_and_its_files_never_counts_as_published(prr: PrrPeer) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    prr.die("registered")
    receipt, _ = stopped(one, plan, TargetUnavailable)
    for _ in range(3):
        with pytest.raises(TargetUnavailable, match="is registered, but its file"):
            for _ in range(5):
                receipt = one.step(plan, receipt, Held())
    assert receipt["items"]["water-1"]["state"] == "registered"
    assert prr.posts() == 1


def test_a_receipt_that_is_lost_after_any_step_gives_one_item(prr: PrrPeer) -> None:
    """The publisher dies after a step and before its receipt is kept, at every step in turn."""
    plan = target(prr).plan([planned()])
    kept: list[Any] = [None]
    while not done(kept[-1]):
        kept.append(target(prr).step(plan, kept[-1], Held()))
    for lost in range(len(kept) - 1):
        prr.empty()
        prr.requests.clear()
        receipt: Any = None
        for _ in range(lost):
            receipt = target(prr).step(plan, receipt, Held())
        target(prr).step(plan, receipt, Held())  # done, and forgotten
        finished(target(prr), plan, receipt)
        assert_one_item(prr)
        assert prr.posts() == 1, lost


def test_a_publication_from_the_start_again_finds_its_item_and_sends_nothing(prr: PrrPeer) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    finished(one, plan)
    posts = prr.posts()
    receipt = finished(one, plan)
    assert receipt["items"]["water-1"]["state"] == "verified"
    assert (prr.posts(), prr.staged()) == (posts, [])


def test_another_item_of_this_name_is_told_and_nothing_is_sent(prr: PrrPeer) -> None:
    one = target(prr)
    finished(one, one.plan([planned()]))
    other = planned()
    other["files"]["job.log"] |= {"sha256": hashlib.sha256(b"other").hexdigest(), "size": 5}
    with pytest.raises(TargetRefused, match="another item water-1 already: the checksum of job"):
        finished(one, one.plan([other]))
    assert prr.staged() == []


def test_files_that_vanish_from_the_staging_area_are_sent_again_but_not_for_ever(prr: PrrPeer) -> None:
    one, files = target(prr), Held()
    plan, receipt = one.plan([planned()]), None
    vanished = 0
    while not done(receipt):
        receipt = one.step(plan, receipt, files)
        if receipt["items"]["water-1"]["state"] == "staged" and vanished < 2:
            vanished += 1
            prr.client.delete_object(Bucket=STAGING, Key="lakes/water-1/job.log")
    assert_one_item(prr)
    prr.empty()
    receipt = None
    with pytest.raises(TargetRefused, match="not found in the staging area"):
        for _ in range(40):
            receipt = one.step(plan, receipt, files)
            prr.client.delete_object(Bucket=STAGING, Key="lakes/water-1/job.log")


def test_a_file_that_is_not_what_the_job_made_is_not_published(prr: PrrPeer) -> None:
    one = target(prr)
    with pytest.raises(TargetRefused, match=r"a/ndwi\.tif is not what the job made"):
        finished(one, one.plan([planned()]), files=Held(DATA | {"a/ndwi.tif": b"raster!" * 100}))
    assert "lakes/water-1/ndwi.tif" not in prr.staged()
    assert prr.posts() == 0


@pytest.mark.parametrize(("status", "kind"), [(503, TargetUnavailable), (429, TargetUnavailable), (403, TargetRefused)])
def test_what_may_pass_is_told_from_what_will_not(prr: PrrPeer, status: int, kind: type[Exception]) -> None:
    one = target(prr)
    plan = one.plan([planned()])
    prr.fail(status)
    receipt, _ = stopped(one, plan, kind)
    finished(one, plan, receipt)
    assert_one_item(prr)


def test_two_items_go_one_by_one_and_the_first_stays_when_the_second_is_refused(prr: PrrPeer) -> None:
    one = target(prr)
    bad = planned("water-2")
    del bad["item"]["properties"]["end_datetime"]
    receipt, told = stopped(one, one.plan([planned(), bad]), TargetRefused)
    assert "water-2: end_datetime is missing" in str(told)
    assert [own["state"] for own in receipt["items"].values()] == ["verified", "staged"]
    assert list(prr.items) == [("lakes", "water-1")]


def test_an_asset_elsewhere_stays_there_and_is_looked_at_with_the_rules_for_strangers(prr: PrrPeer) -> None:
    with WebPeer() as web:
        remote = web.serve("/far.txt", b"12345")
        one = target(prr)
        with pytest.raises(TargetRefused, match="elsewhere of the item water-1 cannot be looked at"):
            finished(one, one.plan([planned(remote=remote)]))
        assert web.requests == []
        open_policy = EgressPolicy(schemes=frozenset({"http"}), allow_hosts=("127.0.0.1",))
        receipt = finished(Prr(Egress(open_policy), prr.place("lakes")), one.plan([planned(remote=remote)]))
    assert receipt["items"]["water-1"]["assets"]["elsewhere"]["href"] == remote
    assert prr.items["lakes", "water-1"]["assets"]["elsewhere"]["href"] == remote


def test_the_check_says_what_is_missing_and_who_grants_it(prr: PrrPeer) -> None:
    assert target(prr).check() == []
    prr.collection("lakes", "somebody-else")
    [finding] = target(prr).check()
    assert (finding.field, finding.grants) == ("collection", "earth-code@esa.int")
    del prr.collections["lakes"]
    found = target(prr, password="wrong").check()
    assert [finding.field for finding in found] == ["collection", "bucket"]
    assert "with this credential" in found[1].message
    assert "settings" not in found[1].message, "those are the operator's, and are right"
    assert prr.items == {}


def test_the_archive_of_a_directory_is_always_the_same(prr: PrrPeer) -> None:
    import io
    import zipfile

    from broker.results.archive import packed

    members = tuple(file(path).at(path[2:]) for path in DATA if path.startswith("z/"))
    first = b"".join(packed(members, Held()))
    assert first == b"".join(packed(tuple(reversed(members)), Held()))
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            ".zattrs": DATA["z/.zattrs"],
            "0/0.0": DATA["z/0/0.0"],
        }
    assert copy.copy(members) == members


@pytest.mark.parametrize(
    "assets", [None, [], 5, {"data": None}, {"data": {"href": 5}}, {"data": {"href": "http://[x"}}]
)
def test_an_item_of_any_shape_is_not_ours(assets: Any) -> None:
    assert _other({"assets": {"data": {"href": "a.tif"}}}, {"assets": assets}) == "it has the assets none"
