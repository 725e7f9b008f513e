"""titiler-openeo as a second openEO back-end: one without jobs, which answers synchronous requests only.

A real server (`make .software/titiler`), not by openeo-driver. Its collections are those of a STAC API.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.peers.broker import wait_for
from tests.peers.openeo.peer import HERE, START_SECONDS, OpenEoPeer
from tests.peers.ports import free_port

SOFTWARE = HERE.parents[2] / ".software" / "titiler"


@contextmanager
def titiler_peer(directory: Path, stac_api: str) -> Iterator[OpenEoPeer]:
    """Start one on a STAC API (some 5 s); skips where it is not installed."""
    python = SOFTWARE / "bin" / "python"
    if not python.exists():
        pytest.skip("needs titiler-openeo: make .software/titiler")
    port = free_port()
    environment = {
        "TITILER_OPENEO_STAC_API_URL": stac_api,
        "TITILER_OPENEO_STORE_URL": str(directory / "store.json"),
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
    }
    log = directory / "titiler.log"
    command: list[str | Path] = [
        python,
        "-m",
        "uvicorn",
        "titiler.openeo.main:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the back-end ended: {log.read_text()[-3000:]}")
        try:
            return requests.get(f"{url}/.well-known/openeo", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, START_SECONDS, lambda: log.read_text()[-3000:])
        yield OpenEoPeer(url, {"username": "test", "password": "test"})
    finally:
        process.terminate()
        process.wait(30)
