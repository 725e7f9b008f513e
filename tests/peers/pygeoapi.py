"""pygeoapi with its TinyDB manager and own processes (`remote/pygeoapi_processes.py`), from `.software/bench`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.peers.broker import wait_for
from tests.peers.ports import free_port

SOFTWARE = Path(__file__).parents[2] / ".software" / "bench"
CONFIG = """
server:
  bind: {{host: 127.0.0.1, port: {port}}}
  url: http://127.0.0.1:{port}
  mimetype: application/json; charset=UTF-8
  encoding: utf-8
  languages: [en-US]
  pretty_print: false
  limits: {{default_items: 20, max_items: 50}}
  map: {{url: 'http://127.0.0.1/tile.png', attribution: none}}
  manager: {{name: TinyDB, connection: {folder}/jobs.db, output_dir: {folder}}}
logging: {{level: ERROR}}
metadata:
  identification:
    title: peer
    description: peer
    keywords: [peer]
    keywords_type: theme
    terms_of_service: none
    url: http://127.0.0.1
  license: {{name: none, url: 'http://127.0.0.1'}}
  provider: {{name: none, url: 'http://127.0.0.1'}}
  contact: {{name: none, email: you@example.org}}
resources:
  hello-world: {{type: process, processor: {{name: HelloWorld}}}}
  several: {{type: process, processor: {{name: pygeoapi_processes.Several}}}}
  slow: {{type: process, processor: {{name: pygeoapi_processes.Slow}}}}
  gate: {{type: process, processor: {{name: pygeoapi_processes.Gate}}}}
  failing: {{type: process, processor: {{name: pygeoapi_processes.Failing}}}}
  picture: {{type: process, processor: {{name: pygeoapi_processes.Picture}}}}
"""


@dataclass(frozen=True)
class PygeoapiPeer:
    """A running server; `folder` holds what its processes write."""

    url: str
    folder: Path

    def runs(self, process: str) -> list[str]:
        """The jobs in which one of our processes really ran."""
        file = self.folder / "runs.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{process} ")]


@contextmanager
def pygeoapi_peer(folder: Path) -> Iterator[PygeoapiPeer]:
    """A server in one gunicorn process; skips where it is not installed."""
    programs = SOFTWARE / "bin"
    if not (programs / "pygeoapi").exists():
        pytest.skip("needs make .software/bench")
    port = free_port()
    config, openapi = folder / "pygeoapi.yml", folder / "openapi.yml"
    config.write_text(CONFIG.format(port=port, folder=folder))
    variables = os.environ | {
        "PYGEOAPI_CONFIG": str(config),
        "PYGEOAPI_OPENAPI": str(openapi),
        "PYTHONPATH": str(Path(__file__).parent / "remote"),
        "PEER_FOLDER": str(folder),
    }
    generate = [str(programs / "pygeoapi"), "openapi", "generate", str(config), "--output-file", str(openapi)]
    subprocess.run(generate, check=True, env=variables, capture_output=True)
    command = [str(programs / "gunicorn"), "-w", "1", "-k", "gthread", "--threads", "8", "-b", f"127.0.0.1:{port}"]
    command += ["--access-logfile", str(folder / "access.log"), "--access-logformat", "%(t)s"]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, "pygeoapi.flask_app:APP"], env=variables, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(port), 60, lambda: (folder / "server.log").read_text())
        yield PygeoapiPeer(f"http://127.0.0.1:{port}", folder)
    finally:
        server.kill()  # it would wait for its jobs
        server.wait(20)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/processes", timeout=5).status_code == 200
    except requests.RequestException:
        return False
