"""One real back-end for all these tests, with a proxy in front of it that makes it fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.jobs.observation import State
from broker.platform import Attempt
from tests.faults.openeo.looking import NDVI, ended
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, openeo_peer, submitted


@pytest.fixture(scope="session")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenEoPeer]:
    with openeo_peer(tmp_path_factory.mktemp("openeo")) as peer:
        yield peer


@pytest.fixture
def faults(back_end: OpenEoPeer) -> Iterator[Faults]:
    with Faults(back_end.url) as proxy:
        yield proxy


@pytest.fixture
def platform(back_end: OpenEoPeer, faults: Faults) -> OpenEoPlatform:
    return back_end.platform(faults.url)


@pytest.fixture
def computed(back_end: OpenEoPeer, platform: OpenEoPlatform) -> Attempt:
    attempt = submitted(platform, back_end.spec(NDVI))
    assert ended(platform, attempt).state == State.SUCCEEDED
    return attempt


@pytest.fixture
def synchronous(back_end: OpenEoPeer, faults: Faults) -> OpenEoPlatform:
    return back_end.platform(faults.url, mode="sync", sync_seconds=5)
