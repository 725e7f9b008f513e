"""A repository's own package as a way to publish: a real broker runs it, and it speaks to a real repository."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.access.credential import Kind, Secret
from broker.access.principal import LOCAL
from broker.bootstrap import Broker, open_broker
from broker.errors import TargetRefused, TargetUnavailable
from broker.execution import credentials
from broker.execution.publishdesk import Reading
from broker.results.configuration import Publishing
from broker.results.target import File, Json, done
from broker.settings import EgressSettings, Settings
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY

PACKAGE = (Path(__file__).parent / "data" / "prr-package.cwl").read_text()
LAKES = b"lakes and rivers"


@pytest.fixture(scope="module")
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        peer.collection("lakes")
        yield peer


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, prr: PrrPeer) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path_factory.mktemp("broker") / "state") as running:
        text = PACKAGE.replace("{REG_API}", f"{prr.url}/reg-api").replace("{S3}", prr.s3.endpoint)
        running.deploy(text)
        yield running


@pytest.fixture(scope="module")
def broker(peer: BrokerPeer, prr: PrrPeer) -> Broker:
    target = {"kind": "prr-package", "process": "prr-package", "stac": f"{prr.url}/stac", "collection": "lakes"}
    ours = EgressSettings(allow_networks=("127.0.0.0/8",))
    targets = Publishing.model_validate({"targets": {"official": target}})
    made = open_broker(Settings(state=peer.state, egress=ours, publish=targets))
    made.storage.keep("local/lakes.txt", io.BytesIO(LAKES))
    return made


def keep(broker: Broker, prr: PrrPeer, password: str = SECRET_KEY, owner: str = "local") -> None:
    secret = Secret(Kind.PRR, prr.url, {"username": ACCESS_KEY, "password": password})
    credentials.keep(broker.database, broker.vault, replace(LOCAL, owner=owner, project=owner), "prr", secret)


def planned(name: str) -> Json:
    file = File("lakes.txt", "local/lakes.txt", len(LAKES), hashlib.sha256(LAKES).hexdigest(), "text/plain")
    asset = {"href": "lakes.txt", "type": "text/plain", "roles": ["data"], "file:size": file.size}
    moment = "2026-01-31T00:00:00Z"
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "id": name,
        "geometry": None,
        "properties": {"datetime": moment, "start_datetime": moment, "end_datetime": moment},
        "links": [],
        "assets": {"lakes": asset | {"file:checksum": file.checksum}},
    }
    return {"item": item, "files": {"lakes.txt": file.to_json()}}


def published(broker: Broker, name: str, receipt: Json | None = None) -> Json:
    """Steps until it is there; each finds again what the one before has done."""
    target = broker.publishers.repository("official", "local", "local", "lakes")
    plan, made = target.plan([planned(name)]), receipt

    def over() -> bool:
        nonlocal made
        try:
            made = target.step(plan, made, Reading(broker.storage))
        except TargetUnavailable:
            return False
        return done(made)

    wait_for(over, 60, lambda: str(made))
    assert made is not None
    return made


def test_the_package_registers_and_the_repository_is_looked_at(broker: Broker, peer: BrokerPeer, prr: PrrPeer) -> None:
    [lacking] = broker.publishers.prerequisites("official", "local", "local")
    assert lacking.field == "credential"
    keep(broker, prr)
    assert broker.publishers.prerequisites("official", "local", "local") == []
    keep(broker, prr, owner="bob")
    [unseen] = broker.publishers.prerequisites("official", "bob", "bob")  # whom nobody has shared the package with
    assert (unseen.field, unseen.message) == ("target", "There is no process 'prr-package'.")
    receipt = published(broker, "lakes-1")
    own = receipt["items"]["lakes-1"]
    assert own["href"] == f"{prr.url}/stac/collections/lakes/items/lakes-1"
    assert own["assets"]["lakes"]["size"] == len(LAKES)
    posts, job = prr.posts(), own["job"]
    assert published(broker, "lakes-1")["items"]["lakes-1"]["job"] == job  # the receipt was lost: the same job
    assert prr.posts() == posts
    told = json.dumps([peer.get(f"/jobs/{job}{part}").json() for part in ("", "/inputs", "/prov?f=record", "/logs")])
    assert SECRET_KEY not in told
    assert "credentials.json" in told
    with broker.database.read() as tx:
        rows = tx.exec_driver_sql("select job_order, stage, request from jobs").all()
    assert rows
    assert SECRET_KEY not in str(rows)


def test_a_package_that_fails_is_a_refusal_and_another_publication_another_job(broker: Broker, prr: PrrPeer) -> None:
    keep(broker, prr, "wrong")
    with pytest.raises(TargetRefused, match=r"has failed in the job [0-9a-f-]{36}"):
        published(broker, "lakes-2")
    keep(broker, prr)
    assert published(broker, "lakes-2")["state"] == "verified"


def test_other_inputs_and_directories_are_refused(broker: Broker, peer: BrokerPeer, prr: PrrPeer) -> None:
    keep(broker, prr)
    target: Any = broker.publishers.repository("official", "local", "local", "lakes")
    with pytest.raises(TargetRefused, match="is a directory"):
        target.plan([{"item": {"id": "x"}, "files": {"a.zip": {"path": "a", "members": [{}]}}}])
