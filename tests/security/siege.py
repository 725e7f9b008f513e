"""What a broker does while somebody misuses it: memory, how long others wait, and attackers on plain sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.peers.broker import BrokerPeer

EVERY = 0.01  # seconds between the requests of a client that does nothing wrong


@dataclass
class Siege:
    """`waits`: seconds that each request of another client took; `growth`: bytes of memory, all processes together."""

    waits: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    before: int = 0
    most: int = 0

    @property
    def growth(self) -> int:
        return self.most - self.before

    @property
    def p99(self) -> float:
        ordered = sorted(self.waits)
        return ordered[int(len(ordered) * 0.99)]

    def __str__(self) -> str:
        return (
            f"others waited {self.p99 * 1000:.0f} ms (p99 of {len(self.waits)}), at most "
            f"{max(self.waits) * 1000:.0f} ms; memory grew by {self.growth / 1e6:.0f} MB"
        )

    def hold(self, *, p99: float = 0.5, growth: int = 100_000_000) -> None:
        """Assert the bounds of issue 3."""
        print(self)
        assert not self.problems, self.problems[:3]
        assert len(self.waits) >= 20, "too few requests of the other client to say anything"
        assert self.growth < growth, str(self)
        assert self.p99 < p99, str(self)


@contextmanager
def siege(peer: BrokerPeer, path: str = "/processes/say") -> Iterator[Siege]:
    """Watch the memory, and be another client, while the block misuses the broker."""
    pids = list(peer.pids())
    seen = Siege(before=memory(pids))
    over = threading.Event()

    def other() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not over.wait(EVERY):
                begun = time.monotonic()
                try:
                    status = session.get(peer.url + path, timeout=20).status_code
                except requests.RequestException as error:
                    seen.problems.append(repr(error))
                    continue
                seen.waits.append(time.monotonic() - begun)
                if status != 200:
                    seen.problems.append(f"status {status}")

    def watch() -> None:
        while not over.wait(0.05):
            seen.most = max(seen.most, memory(pids))

    threads = [threading.Thread(target=other), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        seen.most = max(seen.most, memory(pids))
        over.set()
        for thread in threads:
            thread.join()


def memory(pids: Iterable[int]) -> int:
    """Bytes in memory of processes, what they share counted once for each."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return total


@dataclass
class Answered:
    """How a raw request ended. `status` 0: closed without an answer; `seconds` from its first byte."""

    status: int
    seconds: float
    head: str = ""


class Raw:
    """A client that may send whatever it likes."""

    def __init__(self, port: int) -> None:
        self.begun = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def send(self, data: bytes) -> bool:
        """False once the broker has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def pour(self, chunks: Iterable[bytes]) -> Answered:
        """Send until there is an answer, as clients of large bodies do."""
        self.socket.setblocking(False)
        waiting = b""
        source = iter(chunks)
        while True:
            try:
                if head := self.socket.recv(65536):
                    return self._ended(head)
                return Answered(0, time.monotonic() - self.begun)
            except BlockingIOError:
                pass
            except OSError:
                return Answered(0, time.monotonic() - self.begun)
            if not waiting and (waiting := next(source, b"")) == b"":
                self.socket.settimeout(30)
                return self.answer()
            try:
                waiting = waiting[self.socket.send(waiting) :]
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                self.socket.settimeout(5)
                return self.answer()

    def answer(self) -> Answered:
        try:
            return self._ended(self.socket.recv(65536))
        except OSError:
            return Answered(0, time.monotonic() - self.begun)

    def _ended(self, head: bytes) -> Answered:
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return Answered(status, time.monotonic() - self.begun, head.decode("latin1"))

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def head(method: str, path: str, *fields: str) -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]).encode()


def announced(size: int, piece: bytes = b"x" * 65536) -> Iterator[bytes]:
    """A body of so many bytes."""
    for _ in range(size // len(piece)):
        yield piece


def chunked(size: int, piece: bytes = b"x" * 65536) -> Iterator[bytes]:
    """The same in chunks, with an end."""
    for _ in range(size // len(piece)):
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
