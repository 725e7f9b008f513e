"""A running API for tests: a real server on a loopback port, on SQLite and on PostgreSQL, with a real zygote."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.cli import queue_server
from broker.errors import PlatformUnavailable
from broker.runner.client import Zygote
from broker.settings import Api, Settings
from tests.api.server import Server, serve
from tests.peers.broker import wait_for
from tests.peers.ports import free_port

MakeServer = Callable[..., Server]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Path]:
    """The socket of a running zygote; it checks the packages that tests deploy."""
    with tempfile.TemporaryDirectory(prefix="zy") as root:
        socket = Path(root) / "zygote.sock"
        command = [sys.executable, "-I", "-m", "broker.runner.zygote", "--root", root, "--socket", str(socket)]
        process = subprocess.Popen(command)
        try:
            wait_for(lambda: _answers(socket), 30, lambda: "the zygote does not start")
            yield socket
        finally:
            process.terminate()
            process.wait(10)


def _answers(socket: Path) -> bool:
    try:
        Zygote(socket).ping()
    except PlatformUnavailable:
        return False
    return True


@pytest.fixture(scope="session")
def queue_url() -> Iterator[str]:
    """A queue server of its own for the session; nobody consumes what is put there."""
    with tempfile.TemporaryDirectory(prefix="qu") as root:
        process = subprocess.Popen(queue_server.command(queue_server.find(), Path(root)))
        socket = Path(root) / "valkey.sock"
        try:
            wait_for(socket.exists, 10, lambda: "the queue server does not start")
            yield f"redis+socket://{socket}"
        finally:
            process.terminate()
            process.wait(10)


@dataclass(frozen=True)
class Around:
    """What servers of this session share."""

    zygote: Path
    queue_url: str

    @contextmanager
    def server(self, database_url: str, state: Path, **more: Any) -> Iterator[Server]:
        api = {"port": free_port()} | {name: more.pop(name) for name in list(more) if name in Api.model_fields}
        settings = Settings(state=state, database_url=database_url, redis_url=self.queue_url, api=Api(**api), **more)
        settings.run.mkdir(parents=True, exist_ok=True)
        if not settings.zygote_socket.exists():
            settings.zygote_socket.symlink_to(self.zygote)
        with serve(settings) as server:
            yield server


@pytest.fixture(scope="session")
def around(zygote: Path, queue_url: str) -> Around:
    return Around(zygote, queue_url)


@pytest.fixture
def api(database_url: str, tmp_path: Path, around: Around) -> Iterator[Server]:
    """The API in open mode."""
    with around.server(database_url, tmp_path) as server:
        yield server


@pytest.fixture
def sqlite_url(sqlite_migrated: Path, tmp_path: Path) -> str:
    file = tmp_path / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture
def lone(sqlite_url: str, tmp_path: Path, around: Around) -> Iterator[Server]:
    """The API on SQLite only, for what does not depend on the database."""
    with around.server(sqlite_url, tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def still(sqlite_migrated: Path, tmp_path_factory: pytest.TempPathFactory, around: Around) -> Iterator[Server]:
    """An API with a platform and the process `say`, in which no test makes or changes anything."""
    state = tmp_path_factory.mktemp("still")
    file = state / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    with around.server(f"sqlite:///{file}", state) as server:
        server.ready()
        yield server


@pytest.fixture
def with_settings(sqlite_url: str, tmp_path: Path, around: Around) -> Iterator[MakeServer]:
    """Start an API on SQLite with settings of its own; stopped at the end of the test."""
    with ExitStack() as running:
        yield lambda **more: running.enter_context(around.server(sqlite_url, tmp_path, **more))
