"""Inspects a package in a child of the zygote that may use little and reach nothing."""

from __future__ import annotations

import json
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

from broker import errors
from broker.errors import BrokerError, PackageError
from broker.packages.bundle import Bundle
from broker.runner import kernel, loading
from broker.runner.errorjson import to_json

MEMORY = 1024 * 2**20
CPU = 20
SECONDS = 60
MAX_REQUEST = 32 * 2**20

_WARM = "cwlVersion: {0}\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: []\noutputs: []\n"


def serve(connection: socket.socket) -> int:
    """Read a bundle from the connection, answer with its inspection or with the error as JSON."""
    kernel.limit(memory=MEMORY, cpu=CPU)
    signal.alarm(SECONDS)
    kernel.leave_network()
    answer: dict[str, Any]
    try:
        answer = {"ok": loading.inspect(Bundle.from_json(_request(connection)), Path("/package")).to_json()}
    except BrokerError as error:
        answer = {"error": to_json(error)}
    except MemoryError:
        answer = {"error": to_json(PackageError(f"The package needs more than {MEMORY // 2**20} MiB to be read."))}
    connection.sendall(json.dumps(answer).encode() + b"\n")
    connection.close()
    return 0


def _request(connection: socket.socket) -> Any:
    parts, size = [], 0
    while part := connection.recv(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MAX_REQUEST:
            raise errors.LimitError(f"A package may have {MAX_REQUEST // 2**20} MiB.")
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise PackageError("The bundle is not JSON.") from error


def warm(*, newest: bool = False) -> None:
    """Load a trivial package of each version, so that whatever cwltool keeps is kept before the first fork."""
    for version in loading.VERSIONS[-1:] if newest else loading.VERSIONS:
        bundle = Bundle.make("package.cwl", {"package.cwl": _WARM.format(version)}, {})
        with tempfile.TemporaryDirectory() as directory:
            loading.inspect(bundle, Path(directory))
