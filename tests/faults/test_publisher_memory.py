"""A whole broker publishes a large output and stays small: 10 GB with BROKER_TEST_ABUSE=full, else less."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.faults.test_publisher import peer, prr, publications  # noqa: F401 - fixtures
from tests.faults.test_up import child
from tests.peers.broker import BrokerPeer, wait_for
from tests.peers.prr import HOLDING, PrrPeer
from tests.unit.results.samples import a_request

pytestmark = [pytest.mark.xdist_group("broker"), pytest.mark.timeout(2400)]
MOST_MB = 100
FULL = os.environ.get("BROKER_TEST_ABUSE") == "full"
SIZE = 10_000_000_000 if FULL else 200_000_000
SECONDS = 2000 if FULL else 120
LARGE = """cwlVersion: v1.2
class: CommandLineTool
id: large
baseCommand: [truncate, --size]
inputs:
  size: {type: long, inputBinding: {position: 1}}
arguments: [{valueFrom: large.bin, position: 2}]
outputs:
  large: {type: File, outputBinding: {glob: large.bin}}
"""


def megabytes(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(f"{what}:"))


def test_a_large_output_goes_through_a_publisher_that_stays_small(peer: BrokerPeer, prr: PrrPeer) -> None:  # noqa: F811
    peer.deploy(LARGE)
    job = peer.execute("large", {"size": SIZE})
    assert peer.ended(job, SECONDS)["status"] == "successful"
    publisher = child(peer, "reconciler")
    Path(f"/proc/{publisher}/clear_refs").write_text("5")  # the peak from here on
    before, began = megabytes(publisher, "VmRSS"), time.monotonic()
    request = a_request(collection=None, product=None, workflow={"id": "large"})
    asked = peer.post(f"/jobs/{job}/publications", json={"target": ["osc", "prr"], **request})
    assert asked.status_code == 201, asked.text

    def ends() -> bool:
        found = publications(peer, job)
        states = {name: one["state"] for name, one in found.items()}
        assert "failed" not in states.values(), found
        return states == {"prr": "published", "osc": "proposed"}

    wait_for(ends, SECONDS, lambda: f"{publications(peer, job)}\n{peer.log.read_text()[-3000:]}")
    took, grown = time.monotonic() - began, megabytes(publisher, "VmHWM") - before
    print(f"{SIZE / 1e9:.1f} GB published in {took:.0f} s; the publisher grew by {grown:.0f} MB from {before:.0f} MB")
    [key] = [one["Key"] for one in prr.client.list_objects_v2(Bucket=HOLDING)["Contents"] if one["Size"] >= SIZE]
    assert key.endswith("/large.bin")
    assert child(peer, "reconciler") == publisher
    assert grown < MOST_MB
