#!/usr/bin/env python3
"""`broker-cwl`: what `cwltest --tool` calls; runs a CWL document through the broker's HTTP API.

    broker-cwl [--outdir DIR] [--quiet] DOCUMENT[#PROCESS] [JOB-ORDER]

Prints the CWL output object. Exit codes: 0, 33 (unsupported feature), 1. The server: $BROKER_SERVER.
It is called some hundred times, so it imports little. Unlike `broker run`, it reads files anywhere on this machine
(the tests refer to siblings of their directories), and trusts the document.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from broker.cli import joborder
from broker.cli.client import Client, bundle_unit
from broker.cli.downloads import Downloader
from broker.cli.package import LocalPackage, inputs_of, load
from broker.cli.problems import FAILED, OK, UNSUPPORTED, exit_code
from broker.cli.submit import converter
from broker.cli.uploads import Uploader
from broker.cli.watch import Watch
from broker.errors import BrokerError, DuplicatedProcess, PlatformRefused

PATIENCE = 60.0
# Failures of a job and of its placement that say: this feature is not here.
NOT_HERE = frozenset({"unsupported-requirement", "no-platform"})


def main(arguments: Sequence[str]) -> int:
    outdir, words = Path(tempfile.gettempdir()) / f"broker-cwl-{uuid.uuid4()}", []
    rest = iter(arguments)
    for word in rest:
        if word.startswith("--outdir"):
            outdir = Path(word.partition("=")[2] or next(rest))
        elif word == "--version":
            print("broker-cwl")
            return OK
        elif not word.startswith("--"):
            words.append(word)
    server = os.environ.get("BROKER_SERVER", "http://127.0.0.1:8080")
    try:
        with Client(server, os.environ.get("BROKER_TOKEN"), patience=PATIENCE) as client:
            return run(client, words[0], words[1] if len(words) > 1 else None, outdir)
    except BrokerError as error:
        print(f"broker-cwl: {error}", file=sys.stderr)
        refused = isinstance(error, PlatformRefused) and error.code in NOT_HERE
        return UNSUPPORTED if refused else exit_code(error)


def run(client: Client, document: str, order_file: str | None, outdir: Path) -> int:
    package = load(document, root=Path("/"))
    order = joborder.read(order_file, (), stdin=sys.stdin.read)
    if order.requirements is not None:
        package = package.with_requirements(order.requirements)
    process_id = deploy(client, package)
    # job orders of the suite serve several tests: cwltool passes over what a process does not have
    known = {name: value for name, value in order.inputs.items() if name in inputs_of(package.process)}
    inputs = converter(replace(order, inputs=known), Uploader(client), package).inputs()
    job = client.execute(process_id, {"inputs": inputs}, key=str(uuid.uuid4()))["jobID"]
    info = Watch(client, job).end()
    if info["status"] != "successful":
        return failed(info)
    downloader = Downloader(client, job, outdir.absolute())
    downloader.learn()
    print(json.dumps(exact(downloader.localize(client.output_object(job))), indent=1))
    return OK


def exact(value: Any) -> Any:
    """Whole numbers of more than 64 bits come as 1e+42; the suite compares with 10**42, to Python another number."""
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    return int(Decimal(repr(value))) if isinstance(value, float) and 2**63 <= abs(value) < math.inf else value


def deploy(client: Client, package: LocalPackage) -> str:
    """Under an id made of the digest, so that tests of one document share its process."""
    process_id = f"cwl-{package.bundle.digest[:24]}"
    with contextlib.suppress(DuplicatedProcess):  # another test has deployed the same package
        client.deploy(bundle_unit(package.bundle.to_json()), process_id)
    return process_id


def failed(info: dict[str, Any]) -> int:
    failure = info.get("failure") or {}
    print(f"broker-cwl: {info['status']}: {failure.get('message')}\n{failure.get('logTail', '')}", file=sys.stderr)
    return UNSUPPORTED if failure.get("reason") in NOT_HERE else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
