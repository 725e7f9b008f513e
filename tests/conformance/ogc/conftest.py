"""One broker for the tests of requirements, with a process of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.ogc.iut import Iut
from tests.peers.broker import broker_peer
from tests.peers.web import WebPeer

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def web() -> Iterator[WebPeer]:
    """Where inputs by reference are, and where callbacks go."""
    with WebPeer() as peer:
        yield peer


@pytest.fixture(scope="session")
def iut(tmp_path_factory: pytest.TempPathFactory, web: WebPeer) -> Iterator[Iut]:
    """The implementation under test."""
    state = tmp_path_factory.mktemp("ogc")
    local = {"local": {"adapter": "local", "engine": "none"}}
    with broker_peer(state, platforms=local, EGRESS__ALLOW_HOSTS='["127.0.0.1"]') as broker:
        for name in ("outputs", "failing"):
            broker.deploy((HERE / f"{name}.cwl").read_text())
        yield Iut(broker, web)
