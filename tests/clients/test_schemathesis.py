"""schemathesis over the API definition: nothing undeclared comes out, nothing breaks what goes in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import ROOT, SOFTWARE
from tests.peers.broker import BrokerPeer

EXAMPLES = os.environ.get("BROKER_TEST_EXAMPLES", "3")  # for each operation
SEED = os.environ.get("BROKER_TEST_SEED", "7")
# What would change the broker under the other requests: taken out, and tested by hand elsewhere.
LEFT_OUT = ("undeploy", "resultsDelete", "logs", "jobCallbacksAgain", "makeToken", "changeCallbackSecret")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def strict(broker: BrokerPeer) -> dict[str, Any]:
    """The definition without `default` answers, so that every status has to be declared, and with ids that exist."""
    job = broker.execute("outputs", {"text": "hello"})
    broker.ended(job)
    known = {
        "process_id": ["echo", "outputs"],
        "job_id": [job],
        "output": ["said", "text"],
        "path": ["said.txt"],
        "name": ["local"],
    }
    document: dict[str, Any] = broker.get("/api").json()
    for operation in (one for path in document["paths"].values() for one in path.values()):
        del operation["responses"]["default"]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] in known:
                parameter["schema"]["enum"] = [*known[parameter["name"]], "none"]
    return document


@pytest.mark.timeout(900)
def test_the_definition_is_true(broker: BrokerPeer, tmp_path: Path) -> None:
    tool = SOFTWARE / "schemathesis"
    if not tool.exists():
        pytest.skip("schemathesis is not installed: make .software/clients")
    options = ["--checks", ",".join(CHECKS), "--max-examples", EXAMPLES, "--seed", SEED, "--workers", "1"]
    options += [word for name in LEFT_OUT for word in ("--exclude-operation-id", name)]
    options += ["--phases", "examples,coverage,fuzzing", "--mode", "all", "--request-timeout", "30", "--no-color"]
    definition = tmp_path / "api.json"
    definition.write_text(json.dumps(strict(broker)))
    command = [str(tool), "run", str(definition), "--url", broker.url, *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "schemathesis.txt").write_text(done.stdout + done.stderr)
    faults = [line for line in broker.log.read_text().splitlines() if "Error" in line or "File" in line]
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:] + "\n".join(faults[-40:])
