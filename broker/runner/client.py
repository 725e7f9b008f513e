"""Speaks to the zygote: check a package, start a job, hear which jobs ended."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from broker.errors import BrokerError, PackageError, PlatformUnavailable
from broker.packages.cwl import Inspection
from broker.runner.errorjson import from_json

TIMEOUT = 30.0
START = "Start it: broker up"


class Zygote:
    """The runner of this machine, at a unix socket. Every call makes a connection of its own."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout

    def ping(self) -> Mapping[str, Any]:
        """`{"pid": …, "jobs": …}`. Raises PlatformUnavailable."""
        return self._ask({"op": "ping"})

    def start(self, job: Path) -> bool:
        """Have the job of a directory run; True where it was started before. Raises PlatformUnavailable."""
        return bool(self._ask({"op": "start", "job": job.name})["adopted"])

    def check(self, bundle: Mapping[str, Any], timeout: float = 60.0) -> Inspection:
        """What the package of a bundle (`Bundle.to_json()`) is, found in a child process with little rights.

        Raises what `loading.inspect` raises, and PlatformUnavailable.
        """
        answer = self._ask({"op": "check"}, json.dumps(bundle).encode(), timeout=timeout)
        return Inspection.from_json(answer["ok"])

    def events(self) -> Iterator[str]:
        """Names of jobs as they end, from now on. Ends when the connection does; raises PlatformUnavailable."""
        connection = self._connect(self.timeout)
        try:
            connection.sendall(b'{"op": "events"}\n')
            stream = connection.makefile("rb")
            stream.readline()
            connection.settimeout(None)
        except OSError as error:
            connection.close()
            raise PlatformUnavailable(f"The runner at {self.path} is silent ({error}).", hint=START) from error
        return _lines(connection, stream)

    def _connect(self, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            raise PlatformUnavailable(f"No runner answers at {self.path} ({error.strerror}).", hint=START) from error
        return connection

    def _ask(self, request: Mapping[str, Any], body: bytes = b"", timeout: float | None = None) -> dict[str, Any]:
        with self._connect(timeout or self.timeout) as connection:
            try:
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(json.dumps(request).encode() + b"\n" + body)
                    connection.shutdown(socket.SHUT_WR)
                line = connection.makefile("rb").readline()
            except TimeoutError as error:
                raise self._silent(request, "did not answer in time") from error
            except OSError as error:
                raise self._silent(request, str(error.strerror)) from error
        if not line.endswith(b"\n"):
            raise self._silent(request, "ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise from_json(answer["error"])
        return answer

    def _silent(self, request: Mapping[str, Any], how: str) -> BrokerError:
        if request["op"] == "check":
            return PackageError(f"Reading the package took too much time or memory; its check {how}.")
        return PlatformUnavailable(f"The runner at {self.path} {how}.", hint=START)


def _lines(connection: socket.socket, stream: BufferedIOBase) -> Iterator[str]:
    with connection, stream, contextlib.suppress(ConnectionError):
        for line in stream:
            yield line.decode().rstrip("\n")
