"""Real S3 servers on loopback: moto (semantics of AWS, takes any key) and nanio (checks every signature).

    with nanio_peer() as s3:
        S3Storage(s3.account, s3.bucket)

Each starts as its own process with an empty bucket and ends with the context.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.storage.signing import S3Account

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key-of-some-length"


@dataclass(frozen=True)
class S3Peer:
    """A running server; `checks_signatures` says whether a wrong key is refused."""

    account: S3Account
    bucket: str
    checks_signatures: bool

    @property
    def endpoint(self) -> str:
        assert self.account.endpoint is not None
        return self.account.endpoint


@contextmanager
def moto_peer(bucket: str = "results") -> Iterator[S3Peer]:
    """moto's server (about 2 s to start)."""

    def command(port: int) -> list[str]:
        return [_script("moto_server"), "-H", "127.0.0.1", "-p", str(port)]

    with _server(command, "Running on http://") as endpoint:
        yield _prepared(endpoint, bucket, checks_signatures=False)


@contextmanager
def nanio_peer(bucket: str = "results") -> Iterator[S3Peer]:
    """nanio (about 1 s to start); it does not honour `If-None-Match`."""
    with TemporaryDirectory() as folder:
        options = Path(folder) / "options.toml"
        options.write_text(f'[[users]]\naccess_key = "{ACCESS_KEY}"\nsecret_key = "{SECRET_KEY}"\n')

        def command(port: int) -> list[str]:
            place = ["--data-dir", str(Path(folder) / "data"), "--host", "127.0.0.1", "--port", str(port)]
            return [_script("nanio"), "serve", "--options", str(options), *place]

        with _server(command, "running on http://") as endpoint:
            yield _prepared(endpoint, bucket, checks_signatures=True)


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _prepared(endpoint: str, bucket: str, *, checks_signatures: bool) -> S3Peer:
    account = S3Account(endpoint, "us-east-1", ACCESS_KEY, SECRET_KEY)
    url = account.signed(bucket, "", 60, method="PUT")
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10) as answer:
        assert answer.status == 200
    return S3Peer(account, bucket, checks_signatures)


@contextmanager
def _server(command: Callable[[int], Sequence[str]], ready: str) -> Iterator[str]:
    """Start the command with a free port, wait for the line that says it listens; gives the endpoint."""
    for _ in range(5):
        port = _free_port()
        process = subprocess.Popen(command(port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_pass_lines, args=(process, lines), daemon=True)
        reader.start()
        try:
            said = []
            while (line := lines.get(timeout=60)) is not None and ready not in line:
                said.append(line)
            if line is not None:
                yield f"http://127.0.0.1:{port}"
                return
            assert "in use" in "".join(said), f"the server did not start: {''.join(said)}"
        finally:
            process.terminate()
            process.wait(10)
            reader.join(10)
    raise AssertionError("no free port was found")


def _pass_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
