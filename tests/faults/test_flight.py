"""Many jobs on platforms elsewhere (`make bench` has a thousand): what changes there is known in time, no more is sent
than allowed, and the jobs of this machine do not wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.flight import LATE, Flight, bound
from tests.bench.sites import CrowdSite
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.crowd import CrowdPeer, crowd_peer

pytestmark = pytest.mark.xdist_group("delegation")
JOBS, RATE = 40, 100.0


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerPeer, CrowdPeer]]:
    folder: Path = tmp_path_factory.mktemp("flight")
    with crowd_peer() as crowd, broker_peer(folder, platforms=crowd.platforms(RATE)) as peer:
        yield peer, crowd


@pytest.mark.parametrize("adapter", ["openeo", "ogcapi"])
def test_many_jobs_in_flight_hold_up_nobody(crowded: tuple[BrokerPeer, CrowdPeer], adapter: str) -> None:
    peer, crowd = crowded
    flown = Flight(peer, CrowdSite(crowd, adapter), RATE).fly(JOBS, over=0.5)
    assert len(flown.began) == len(flown.ended) == JOBS  # each was seen to run, and to end
    assert max(flown.began) <= bound(JOBS, RATE), flown
    assert max(flown.ended) <= bound(JOBS, RATE), flown
    assert flown.during < flown.before + 2.0  # a slot that is held would be for longer
    busiest = max(crowd.requests().values())
    assert busiest <= RATE + LATE, busiest
