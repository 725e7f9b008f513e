"""The recipes of EOEPCA's deployment guide (oapip-engine.md) with curl: deploy by link, run, watch, undeploy."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import orjson
import pytest

from tests.clients.conftest import OUTPUTS
from tests.peers.broker import BrokerPeer, wait_for
from tests.peers.web import WebPeer

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
JSON = ("-H", "Content-Type: application/json", "-H", "Accept: application/json")


def curl(*words: str) -> tuple[int, Any]:
    """Status and JSON body."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}", *words]
    body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), orjson.loads(body) if body.startswith(("{", "[")) else body


def test_the_guide_from_deploy_to_undeploy(broker: BrokerPeer, web: WebPeer) -> None:
    url = broker.url
    package = web.serve("/convert.cwl", OUTPUTS.read_bytes().replace(b"id: outputs", b"id: convert"))
    unit = {"executionUnit": {"href": package, "type": "application/cwl"}}
    status, shown = curl("-X", "POST", f"{url}/processes", *JSON, "-d", orjson.dumps(unit).decode())
    assert (status, shown["id"]) == (201, "convert")
    status, shown = curl(f"{url}/processes", "-H", "Accept: application/json")
    assert "convert" in [one["id"] for one in shown["processes"]]
    status, shown = curl(f"{url}/processes/convert", "-H", "Accept: application/json")
    assert set(shown["inputs"]) == {"text"}
    asynchronous = ("-H", "Prefer: respond-async;return=representation")
    body = '{"inputs": {"text": "hello"}}'
    status, shown = curl("-X", "POST", f"{url}/processes/convert/execution", *JSON, *asynchronous, "-d", body)
    assert status == 201
    job = shown["jobID"]
    wait_for(lambda: curl(f"{url}/jobs/{job}", *JSON)[1]["status"] == "successful", 60, lambda: "it does not end")
    status, results = curl(f"{url}/jobs/{job}/results", "-H", "Accept: application/json")
    assert status == 200
    assert results["text"] == "hello"
    assert curl(results["said"]["href"]) == (200, "hello\n")
    assert curl("-X", "DELETE", f"{url}/processes/convert")[0] == 204
    assert curl(f"{url}/processes/convert", *JSON)[0] == 404


def test_a_package_by_value_as_zoo_deploys_it(broker: BrokerPeer) -> None:
    given = ("-H", "Content-Type: application/cwl+yaml", "--data-binary", f"@{OUTPUTS}")
    assert curl("-X", "PUT", f"{broker.url}/processes/outputs", *given)[0] == 204
    assert curl("-X", "POST", f"{broker.url}/processes", *given)[0] == 409
