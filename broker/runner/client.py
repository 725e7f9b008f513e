"""Speaks to the zygote: check a package, start a job, hear which jobs ended."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from broker.errors import BrokerError, PackageError, PlatformUnavailable
from broker.packages.closure import MAX_REMOTE
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment, answered
from broker.packages.keys import is_url
from broker.packages.media import BUNDLE_TYPE
from broker.packages.repository import Place
from broker.runner import frames
from broker.runner.errorjson import from_json, to_json

TIMEOUT = 30.0
READ_SECONDS = 60.0  # for a package, with all that it links to
MAX_READS = MAX_REMOTE + 1  # the document itself, and its imports
MAX_ANSWER = 32 * 2**20
START = "Start it: broker up"


class Zygote:
    """The runner of this machine, at a unix socket. Every call makes a connection of its own."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout

    def ping(self) -> Mapping[str, Any]:
        """`{"pid": …, "jobs": …, "groups": version of control groups or None}`. Raises PlatformUnavailable."""
        return self._ask({"op": "ping"})

    def start(self, job: Path) -> bool:
        """Have the job of a directory run; True where it was started before. Raises PlatformUnavailable."""
        return bool(self._ask({"op": "start", "job": job.name})["adopted"])

    def check(self, bundle: Mapping[str, Any], timeout: float = READ_SECONDS) -> Inspection:
        """What the package of a bundle (`Bundle.to_json()`) is; as `read`."""
        return self.read(json.dumps(bundle).encode(), BUNDLE_TYPE, timeout=timeout)[1]

    def read(
        self,
        body: bytes,
        media_type: str,
        process: str | None = None,
        fetch: Callable[[str], bytes] | None = None,
        timeout: float = READ_SECONDS,
        *,
        clone: Callable[[str, str], bytes] | None = None,
        strangers: bool = False,
    ) -> tuple[Deployment, Inspection]:
        """Have a deploy request read in a child process with little rights: nothing of it is parsed here.

        `process`: its `?w=`; `fetch` gives the bytes of the https links that the package names, at most `MAX_READS`;
        `clone` gives a git server's answer with a commit (of a repository), once; `strangers`: read it only where the
        kernel lets the child be shut in.
        Raises what `appackage.deployment` and `loading.inspect` raise, and PlatformUnavailable.
        """
        asked = {"mediaType": media_type.split(";")[0].strip()[:200], "process": process, "strangers": strangers}
        until = time.monotonic() + timeout
        with self._connect(timeout) as connection, connection.makefile("rb") as stream:
            try:
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(b'{"op": "check"}\n')
                    frames.send(connection, asked, body)
                whole = _conversation(connection, stream, fetch, clone, until)
            except (OSError, frames.Garbled) as error:
                how = "did not answer in time" if isinstance(error, TimeoutError) else "ended without an answer"
                raise PackageError(f"Reading the package took too much time or memory; its check {how}.") from error
        try:
            value = json.loads(whole)
        except (ValueError, RecursionError) as error:
            raise PackageError("Reading the package gave an answer that makes no sense.") from error
        return answered(value, body)

    def look(self, kind: str, head: bytes) -> dict[str, Any]:
        """What the head of a file says, read in a child that can reach nothing; see `look`. A file that makes no sense
        is {"unreadable": why}. Raises PlatformUnavailable."""
        with self._connect(self.timeout) as connection, connection.makefile("rb") as stream:
            try:
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(b'{"op": "look"}\n')
                    frames.send(connection, {"kind": kind}, head)
                said, _ = frames.receive(stream, 0)
            except (OSError, frames.Garbled):
                return {"unreadable": "looking at it took too much time or memory"}
        return said

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

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._connect(self.timeout) as connection:
            try:
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(json.dumps(request).encode() + b"\n")
                line = connection.makefile("rb").readline()
            except TimeoutError as error:
                raise self._silent("did not answer in time") from error
            except OSError as error:
                raise self._silent(str(error.strerror)) from error
        if not line.endswith(b"\n"):
            raise self._silent("ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise from_json(answer["error"])
        return answer

    def _silent(self, how: str) -> BrokerError:
        return PlatformUnavailable(f"The runner at {self.path} {how}.", hint=START)


def _conversation(
    connection: socket.socket,
    stream: BufferedIOBase,
    fetch: Callable[[str], bytes] | None,
    clone: Callable[[str, str], bytes] | None,
    until: float,
) -> bytes:
    """Answer what the child asks for until it has answered; what it found, as JSON."""
    reads = 0
    while True:
        connection.settimeout(max(0.001, until - time.monotonic()))
        said, found = frames.receive(stream, MAX_ANSWER)
        if "error" in said:
            raise from_json(said["error"])
        if "read" not in said and "clone" not in said:
            return found
        reads += 1
        try:
            if "clone" in said:
                once, clone = clone, None
                data = _cloned(said, once)
            elif fetch is None or reads > MAX_READS or not is_url(str(said["read"])):
                raise PackageError("Packages by link are not read here.")
            else:
                data = fetch(str(said["read"]))
        except BrokerError as error:
            frames.send(connection, {"error": to_json(error)})
        else:
            frames.send(connection, {}, data)


def _cloned(said: Mapping[str, Any], clone: Callable[[str, str], bytes] | None) -> bytes:
    """A commit; checked again, for the child has a stranger's document in its memory."""
    place = Place.of({"repository": said["clone"], "commit": said.get("commit"), "path": "package"})
    if clone is None:
        raise PackageError("No more packages in git are read here.")
    return clone(place.repository, place.commit)


def _lines(connection: socket.socket, stream: BufferedIOBase) -> Iterator[str]:
    with connection, stream, contextlib.suppress(ConnectionError):
        for line in stream:
            yield line.decode().rstrip("\n")
