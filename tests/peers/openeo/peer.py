"""A real openEO back-end as a test peer (`backend.py`), in the environment that `make .software/openeo` brings.

with openeo_peer(directory) as back_end:
    platform = back_end.platform()
    list(platform.submit(back_end.spec(say("hello"))))
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from adapters.openeo.platform import OpenEoPlatform
from adapters.openeo.settings import OpenEoSettings
from broker.jobs.model import JobSpec, Needs, remote_name
from broker.packages.bundle import build
from broker.platform import Attempt
from tests.peers.broker import wait_for
from tests.peers.ports import free_port

HERE = Path(__file__).parent
SOFTWARE = HERE.parents[2] / ".software" / "openeo"
SCENE = HERE.parents[2] / "workflows" / "water-bodies" / "data" / "patagonia-sentinel-2"
GRANTS = ["urn:ietf:params:oauth:grant-type:device_code+pkce", "refresh_token"]
START_SECONDS = 60.0


def one(process: str, value: Any) -> dict[str, Any]:
    """A package of a single process of the peer's own: say, wait, fail, chat."""
    return {
        "id": process,
        "process_graph": {process: {"process_id": process, "arguments": {"value": value}, "result": True}},
    }


@dataclass
class OpenEoPeer:
    """A back-end that runs at `url`. `account`: settings of the account for the platform."""

    url: str
    account: Mapping[str, Any] = field(default_factory=lambda: {"username": "john", "password": "john123"})
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def settings(self, url: str | None = None, **more: Any) -> dict[str, Any]:
        """Settings of a platform on it, at the address of a proxy where one is given."""
        loopback = {"egress": {"schemes": ["http"], "allowHosts": ["127.0.0.1"]}}
        return {"url": url or self.url, **self.account, **loopback, **more}

    def platform(self, url: str | None = None, **more: Any) -> OpenEoPlatform:
        return OpenEoPlatform("openeo", OpenEoSettings(**self.settings(url, **more)))

    def spec(self, process: Mapping[str, Any], order: Mapping[str, Any] | None = None, **more: Any) -> JobSpec:
        """A job of its own for a process; `more`: fields of JobSpec."""
        bundle = build(json.dumps(process), name="process.json").to_json()
        job_id = f"j{os.getpid()}x{next(self._numbers)}"
        name = remote_name(job_id, 1)
        spec = JobSpec(
            job_id, 1, name, "me", "mine", "process", bundle, dict(order or {}), needs=Needs("openeo", 0.0, 0)
        )
        return replace(spec, **more)

    def ids(self, spec: JobSpec) -> list[str]:
        """The jobs of a spec's name that are there."""
        return [str(job["id"]) for job in self.platform().api.jobs() if str(job["title"]).split(" ")[0] == spec.name]

    def starts(self, job_id: str) -> int:
        """How often a job was really started."""
        return int(requests.get(f"{self.url}/starts/{job_id}", timeout=10).json()["starts"])


def submitted(platform: OpenEoPlatform, spec: JobSpec) -> Attempt:
    return Attempt(spec.job_id, spec.attempt, spec.name, list(platform.submit(spec))[-1])


@contextmanager
def openeo_peer(
    directory: Path, *, expiration: int = 600, issuer: str | None = None, client: str | None = None, workers: int = 4
) -> Iterator[OpenEoPeer]:
    """Start a back-end (some 5 s); skips where it is not installed. `expiration`: seconds of its signed links;
    `client`: of the issuer, for people's logins by device code; `workers`: jobs that run at a time."""
    python = SOFTWARE / "bin" / "python"
    if not python.exists():
        pytest.skip("needs the openEO back-end: make .software/openeo")
    port = free_port()
    settings = {
        "port": port,
        "scene": str(SCENE),
        "work": str(directory),
        "secret": "signs links",
        "expiration": expiration,
        "issuer": issuer,
        "workers": workers,
        "clients": [{"id": client, "grant_types": GRANTS, "redirect_urls": []}] if client else None,
        "cwltool": [sys.executable, "-m", "cwltool"],
    }
    environment = {"PEER": json.dumps(settings), "OPENEO_BACKEND_CONFIG": str(HERE / "configuration.py")}
    environment |= {"PATH": os.environ["PATH"], "HOME": str(directory)}
    log = directory / "openeo.log"
    with log.open("wb") as output:
        process = subprocess.Popen([python, HERE / "backend.py"], env=environment, stdout=output, stderr=output)
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
        yield OpenEoPeer(url)
    finally:
        process.terminate()
        process.wait(30)
