"""One broker for all tests of the command line, and the command itself called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.cli.client import Client
from broker.cli.commands import app
from tests.peers.broker import BrokerPeer, broker_peer


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Broker = Callable[..., Said]


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path_factory.mktemp("broker") / "state") as running:
        yield running


@pytest.fixture
def client(peer: BrokerPeer) -> Iterator[Client]:
    with Client(peer.url) as client:
        yield client


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings, tokens or server of the person who runs the tests; the working directory is empty."""
    for name in ("SERVER", "TOKEN", "CONFIG", "STATE", "DATABASE_URL", "REDIS_URL", "API__PORT", "API__HOST"):
        monkeypatch.delenv(f"BROKER_{name}", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BROKER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def command(alone: Path) -> Broker:
    """`command("jobs", "--json")`: calls the command line without a server named."""

    def call(*words: object, input: str | None = None) -> Said:
        result = CliRunner().invoke(app, [str(word) for word in words], input=input, catch_exceptions=False)
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def broker(command: Broker, peer: BrokerPeer, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The same, with the broker of these tests as server."""
    monkeypatch.setenv("BROKER_SERVER", peer.url)
    return command
