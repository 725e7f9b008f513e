"""A whole broker publishes, and dies of it on the way: one item, one commit, and it goes on by itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_up import child
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.osc import bare, run
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY
from tests.unit.results.samples import a_request

pytestmark = pytest.mark.xdist_group("broker")
SAY = """cwlVersion: v1.2
class: CommandLineTool
id: say
baseCommand: [echo]
inputs:
  text: {type: string, inputBinding: {position: 1}}
outputs:
  said: {type: stdout}
stdout: said.txt
"""


@pytest.fixture
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        peer.collection("words")
        yield peer


@pytest.fixture
def peer(tmp_path: Path, prr: PrrPeer) -> Iterator[BrokerPeer]:
    rest = {"reg_api": f"{prr.url}/reg-api", "stac": f"{prr.url}/stac", "s3_endpoint": prr.s3.endpoint}
    catalog = {"kind": "git", "remote": bare(tmp_path / "osc.git")}
    targets = {"prr": {"kind": "prr", "collection": "words", **rest}, "osc": catalog}
    variables: dict[str, Any] = {"EGRESS__ALLOW_NETWORKS": '["127.0.0.0/8"]', "PUBLISH__TARGETS": json.dumps(targets)}
    with broker_peer(tmp_path / "state", **variables) as broker:
        account = {"kind": "prr", "origin": prr.url, "username": ACCESS_KEY, "password": SECRET_KEY}
        kept = broker.session.put(f"{broker.url}/credentials/prr?test=false", json=account, timeout=30)
        assert kept.status_code == 201, kept.text
        broker.deploy(SAY)
        yield broker


def publications(peer: BrokerPeer, job: str) -> dict[str, dict[str, Any]]:
    found = peer.get(f"/publications?job={job}").json()["publications"]
    return {one["target"]: one for one in found}


@pytest.mark.parametrize("victim", ["reconciler", "everything"])
def test_killed_while_it_publishes(peer: BrokerPeer, prr: PrrPeer, tmp_path: Path, victim: str) -> None:
    prr.lag = True  # the repository has the item, and not yet its files: the publisher is in the middle
    request = a_request(collection=None, product=None, workflow={"id": "say"})
    job = peer.execute("say", {"text": "hello"}, publish={"target": ["osc", "prr"], **request})
    assert peer.ended(job)["status"] == "successful"

    def reached(target: str, *states: str) -> None:
        wait_for(
            lambda: publications(peer, job).get(target, {}).get("state") in states,
            60,
            lambda: f"{publications(peer, job)}\n{peer.log.read_text()[-3000:]}",
        )

    wait_for(lambda: bool(prr.items), 30, lambda: f"{publications(peer, job)}\n{peer.log.read_text()[-3000:]}")
    assert publications(peer, job)["osc"]["state"] == "waiting"
    if victim == "everything":
        peer.kill()
        peer.start()
    else:
        os.kill(child(peer, victim), signal.SIGKILL)
    prr.lag = False
    prr.move()
    wait_for(peer._ready, 20, lambda: "the API did not come back")
    reached("prr", "published")
    reached("osc", "proposed")
    assert [name for _, name in prr.items] == [f"say-{job}"]
    assert prr.posts() == 1
    branch = publications(peer, job)["osc"]["receipt"]["branch"]
    assert run(tmp_path / "osc.git", "rev-list", "--count", f"main..{branch}").strip() == "1"
    assert (
        run(tmp_path / "osc.git", "show", f"{branch}:experiments/say-{job}/outputs.yaml").count("location: http") == 1
    )
