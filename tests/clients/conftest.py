"""One broker for clients that other people wrote, and their environment (`make .software/clients`)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.web import WebPeer

ROOT = Path(__file__).parent.parent.parent
SOFTWARE = ROOT / ".software" / "clients" / "bin"
OUTPUTS = ROOT / "tests" / "conformance" / "ogc" / "outputs.cwl"
Run = Callable[..., str]


@pytest.fixture(scope="session")
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, web: WebPeer) -> Iterator[BrokerPeer]:
    """A broker with the processes echo and outputs, as it is configured without any setting for clients."""
    local = {"local": {"adapter": "local", "engine": "none"}}
    state = tmp_path_factory.mktemp("clients")
    with broker_peer(state, platforms=local, EGRESS__ALLOW_HOSTS='["127.0.0.1"]') as peer:
        peer.deploy(OUTPUTS.read_text())
        yield peer


@pytest.fixture(scope="session")
def script(broker: BrokerPeer) -> Run:
    """Run a Python script with the clients' environment: what it prints. Its only argument is the broker's URL."""
    if not (SOFTWARE / "python").exists():
        pytest.skip("the clients are not installed: make .software/clients")

    def run(text: str) -> str:
        command = [str(SOFTWARE / "python"), "-c", text, broker.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
