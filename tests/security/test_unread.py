"""Clients that ask and do not read: their connection is given up after a while, and that of slow readers is not."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from broker.api import connection
from broker.api.connection import Connection
from tests.api.conftest import MakeServer
from tests.peers.broker import wait_for

SIZE = 32 * 2**20
UNREAD = 0.5


def held() -> int:
    """Connections that servers of this process have."""
    return sum(one.open.total() for one in Connection.__subclasses__())


def asking(url: str, path: str) -> socket.socket:
    """A client with little room for what it does not read."""
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return client


@pytest.fixture
def place(with_settings: MakeServer, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The address of an API and the path of a large file there."""
    monkeypatch.setattr(connection, "UNREAD_SECONDS", UNREAD)
    server = with_settings()
    server.ready()
    job = server.execute()
    server.succeed(job, {"said": None}, {"large": b"x" * SIZE})
    server.session.close()
    wait_for(lambda: held() == 0, 10, lambda: f"{held()} connections")
    return server.url, f"/jobs/{job}/files/large"


def test_who_does_not_read_is_given_up(place: tuple[str, str]) -> None:
    """Seen red: without the timer in `pause_writing`."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(20):
            open_ones.enter_context(asking(*place))
        wait_for(lambda: held() == 20, 10, lambda: f"{held()} connections")
        wait_for(lambda: held() == 0, 10, lambda: f"{held()} connections are held for clients that do not read")


def test_who_reads_slowly_gets_it_all(place: tuple[str, str]) -> None:
    """Also what is in the kernel counts. Seen red: as found, with a timer alone; without the cancel in
    `resume_writing`."""
    with asking(*place) as client:
        client.settimeout(10)
        got, end = 0, time.monotonic() + 4 * UNREAD
        while time.monotonic() < end:
            got += len(client.recv(2**20))
            pause(UNREAD / 10)
        while chunk := client.recv(2**20):
            got += len(chunk)
        assert got > SIZE


def pause(seconds: float) -> None:
    """What a slow client does between two reads."""
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > seconds, seconds + 1, lambda: "no clock")
