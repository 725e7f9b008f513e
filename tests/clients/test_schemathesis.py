"""schemathesis over the API definition: nothing undeclared comes out, nothing breaks what goes in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import ROOT, SOFTWARE
from tests.peers.broker import BrokerPeer

EXAMPLES = os.environ.get("BROKER_TEST_EXAMPLES", "3")  # for each operation
# What would change the broker under the other requests: taken out, and tested by hand elsewhere.
LEFT_OUT = ("undeploy", "logs", "jobCallbacksAgain", "makeToken", "changeCallbackSecret")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.timeout(900)
def test_the_definition_is_true(broker: BrokerPeer, tmp_path: Path) -> None:
    tool = SOFTWARE / "schemathesis"
    if not tool.exists():
        pytest.skip("schemathesis is not installed: make .software/clients")
    options = ["--checks", ",".join(CHECKS), "--max-examples", EXAMPLES, "--seed", "7", "--workers", "1"]
    options += [word for name in LEFT_OUT for word in ("--exclude-operation-id", name)]
    options += ["--phases", "examples,coverage,fuzzing", "--mode", "all", "--request-timeout", "30", "--no-color"]
    command = [str(tool), "run", f"{broker.url}/api", *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "schemathesis.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
