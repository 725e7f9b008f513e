"""A real STAC API with transactions: stac-fastapi on pgstac, with a PostgreSQL server of its own that has PostGIS.

    with stac_api_peer() as api:
        StacApi(egress, api.url, "lakes")

`make .software/stacapi` brings the API, the system's packages the server (`apt-get install postgresql-postgis`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests

from tests.peers.broker import wait_for
from tests.peers.ports import free_port

SOFTWARE = Path(__file__).parents[2] / ".software" / "stacapi"
_NEEDS = "needs PostgreSQL with PostGIS (apt-get install postgresql-postgis) and make .software/stacapi"


@dataclass(frozen=True)
class StacApiPeer:
    """A running API."""

    url: str


@contextmanager
def stac_api_peer() -> Iterator[StacApiPeer]:
    """An API without collections (takes about 10 s to start); skips where it is not installed."""
    programs = _programs()
    if programs is None or not (SOFTWARE / "bin" / "pypgstac").exists():
        pytest.skip(_NEEDS)
    with TemporaryDirectory(prefix="pg") as folder, _server(programs, Path(folder)) as environment:
        subprocess.run([SOFTWARE / "bin" / "pypgstac", "migrate"], env=environment, check=True, capture_output=True)
        with _api(environment, Path(folder) / "api.log") as url:
            yield StacApiPeer(url)


def _programs() -> Path | None:
    """Where the newest server's programs are, if it has PostGIS."""
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/postgis.control"), reverse=True):
        programs = Path("/usr/lib/postgresql") / control.parts[4] / "bin"
        if (programs / "initdb").exists():
            return programs
    return None


@contextmanager
def _server(programs: Path, folder: Path) -> Iterator[dict[str, str]]:
    """A server on a socket in `folder`; the environment of its clients."""
    data, user = folder / "data", None
    folder.chmod(0o755)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:  # which PostgreSQL does not run as
        user = "nobody"
        for path in (folder, data):
            shutil.chown(path, user)
    init = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(init, check=True, capture_output=True, user=user, cwd=folder)
    port = str(free_port())
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), "-p", port, *options],
            user=user,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            clients = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "postgres", "PGDATABASE": "postgres"}
            clients |= {"PGPASSWORD": "unused", "PATH": os.environ["PATH"], "HOME": str(folder)}
            ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port]
            wait_for(lambda: subprocess.run(ready).returncode == 0, 30, lambda: (folder / "server.log").read_text())
            yield clients
        finally:
            server.terminate()  # a smart shutdown would wait for clients; there are none any more
            server.wait(30)


@contextmanager
def _api(environment: dict[str, str], log: Path) -> Iterator[str]:
    port = free_port()
    command = [
        str(SOFTWARE / "bin" / "uvicorn"),
        "--factory",
        "stac_fastapi.pgstac.app:create_app",
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment | {"ENABLE_TRANSACTIONS_EXTENSIONS": "TRUE"},
            stdout=output,
            stderr=output,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(url, process), 60, lambda: log.read_text())
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError("the STAC API ended")
    try:
        return requests.get(f"{url}/_mgmt/ping", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
