"""Misuse of a whole broker: it refuses at once, its memory stays, and others hardly notice.

Short by default; `make abuse` (BROKER_TEST_ABUSE=full) sends it all: 100 MB to each route, 200 slow connections until
the broker closes them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from broker.api import connection
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.security.bombs import DOCUMENTS, REQUESTS
from tests.security.siege import Answered, Raw, Siege, announced, chunked, head, siege
from tests.security.test_matrix import routes

FULL = os.environ.get("BROKER_TEST_ABUSE") == "full"
MEGABYTES = 100 if FULL else 25
SLOW = 200 if FULL else 60
AT_ONCE = 1.0 if FULL else 3.0  # seconds; other tests run at the same time as the short ones
SAY = """cwlVersion: v1.2
class: CommandLineTool
id: say
baseCommand: [echo]
inputs: {text: string}
outputs: {said: stdout}
"""
TAKING = [one for one in routes() if not one.startswith(("GET", "HEAD"))]
UNREAD = {"POST /notices/{job_id}/{token}"}  # answers without looking at the body


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    """A broker in open mode: nothing stands before the bodies. Uploads may have 8 MB, so that they are misused too."""
    state = tmp_path_factory.mktemp("abuse") / "state"
    with broker_peer(state, UPLOADS__MAX_BYTES="8000000") as running:
        running.deploy(SAY)
        yield running


def enough(seen: Siege) -> None:
    """The other client has asked often enough to say something."""
    wait_for(lambda: len(seen.waits) >= 30, 30, lambda: "the other client gets no answers")


def path_of(route: str) -> str:
    """The path of a route; of the process that is there where nothing can happen to it."""
    method, _, path = route.partition(" ")
    if method == "POST":
        path = path.replace("{process_id}", "say")
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


@pytest.mark.parametrize("kind", ["announced", "chunked"])
def test_large_bodies(peer: BrokerPeer, kind: str) -> None:
    """To every route that may take a body: refused within a second, whatever of it has been sent."""
    size = MEGABYTES * 1_000_000
    how = f"Content-Length: {size}" if kind == "announced" else "Transfer-Encoding: chunked"
    chunks: Callable[[int], Iterator[bytes]] = announced if kind == "announced" else chunked
    wrong: list[tuple[str, Answered]] = []
    with siege(peer) as seen:
        for route in TAKING:
            for media_type in ("application/json", "application/cwl+yaml"):
                with Raw(peer.port) as raw:
                    method = route.partition(" ")[0]
                    raw.send(head(method, path_of(route), how, f"Content-Type: {media_type}", "Upload-Offset: 0"))
                    answered = raw.pour(chunks(size))
                unread = route in UNREAD and answered.status == 204
                if not ((unread or 300 <= answered.status < 500) and answered.seconds < AT_ONCE):
                    wrong.append((route, answered))
        enough(seen)
    seen.hold()
    assert not wrong


def test_a_client_that_sends_on_still_gets_its_answer(peer: BrokerPeer) -> None:
    """Closed at once, it would find its connection reset. The answer comes, then the rest of the body is dropped."""
    answer = requests.post(f"{peer.url}/processes", data=b"x" * 30_000_000, timeout=30)
    assert answer.status_code == 413


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_documents_that_are_bombs(peer: BrokerPeer, name: str) -> None:
    media_type, make = DOCUMENTS[name]
    body = make()
    with siege(peer) as seen:
        for path in ("/processes", "/check"):
            begun = time.monotonic()
            answer = peer.post(path, data=body, headers={"Content-Type": media_type})
            assert 400 <= answer.status_code < 500, answer.text[:300]
            assert time.monotonic() - begun < AT_ONCE, f"{time.monotonic() - begun:.2f} s"
            assert len(answer.content) < 50_000, "an answer is no amplifier"
        enough(seen)
    seen.hold()


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_execute_requests_that_are_bombs(peer: BrokerPeer, name: str) -> None:
    body = REQUESTS[name]()
    with siege(peer) as seen:
        for path in ("/processes/say/execution", "/processes/say/check"):
            begun = time.monotonic()
            answer = peer.post(path, data=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, answer.text[:300]
            assert time.monotonic() - begun < AT_ONCE, f"{time.monotonic() - begun:.2f} s"
            assert len(answer.content) < 50_000, "an answer is no amplifier"
        enough(seen)
    seen.hold()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_compressed_documents_are_not_unpacked(peer: BrokerPeer, coding: str) -> None:
    for path in ("/processes", "/processes/say/execution"):
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        assert peer.post(path, data=b"\x1f\x8b" + b"\0" * 1000, headers=headers).status_code == 415


HEADS = {
    "10,000 fields": [f"X-Field-{number}: x" for number in range(10_000)],
    "a field of 10 MB": ["X-Long: " + "x" * 10_000_000],
    "a name of 1 MB": ["X-" + "x" * 1_000_000 + ": x"],
    "70,000 bytes of cookies": ["Cookie: " + "a=b; " * 14_000],
    "two lengths": ["Content-Length: 1", "Content-Length: 2"],
    "a length and chunks": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "a negative length": ["Content-Length: -1"],
    "a length of 30 digits": ["Content-Length: " + "9" * 30],
    "a blank before the colon": ["Content-Length : 4"],
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_none(peer: BrokerPeer, name: str) -> None:
    with siege(peer) as seen:
        for method in ("GET", "POST"):
            with Raw(peer.port) as raw:
                answered = raw.pour([head(method, "/processes", *HEADS[name])])
            assert 400 <= answered.status < 500, answered
            assert answered.seconds < AT_ONCE
        enough(seen)
    seen.hold()


@pytest.mark.parametrize("length", [70_000, 1_000_000, 20_000_000])
@pytest.mark.parametrize("what", ["/jobs/", "/jobs?cursor=", "/jobs#"])
def test_urls_without_end(peer: BrokerPeer, what: str, length: int) -> None:
    with siege(peer) as seen:
        with Raw(peer.port) as raw:
            answered = raw.pour([head("GET", what + "x" * length)])
        assert answered.status in (414, 431), answered
        assert answered.seconds < AT_ONCE
        enough(seen)
    seen.hold()


def slow(peer: BrokerPeer, count: int, beginning: bytes, piece: bytes, seconds: float) -> tuple[Siege, list[Answered]]:
    """So many connections that send a byte now and then, until the broker has closed them all."""
    with siege(peer) as seen:
        raws = [Raw(peer.port) for _ in range(count)]
        for raw in raws:
            raw.send(beginning)
        left, ended = list(raws), []
        until = time.monotonic() + seconds
        while left and time.monotonic() < until:
            for raw in list(left):
                raw.send(piece)
                raw.socket.settimeout(0.0005)
                try:
                    data = raw.socket.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    data = b""
                ended.append(raw._ended(data))
                left.remove(raw)
        for raw in raws:
            raw.close()
        assert not left, f"{len(left)} of {count} slow connections are still open after {seconds} s"
    return seen, ended


def test_slow_heads(peer: BrokerPeer) -> None:
    """Slowloris: 200 heads, a byte at a time."""
    seen, ended = slow(peer, SLOW, b"GET /jobs HTTP/1.1\r\nX: ", b"x", connection.HEAD_SECONDS + 5)
    seen.hold()
    assert all(one.status in (408, 0) for one in ended), ended[:3]
    assert sum(one.status == 408 for one in ended) > SLOW / 2


def test_nothing_at_all(peer: BrokerPeer) -> None:
    """Connections on which nothing comes."""
    seen, ended = slow(peer, SLOW, b"", b"", connection.HEAD_SECONDS + 5)
    seen.hold()
    assert all(one.status == 0 for one in ended)


def test_idle_keep_alives(peer: BrokerPeer) -> None:
    """Answered once, then held open with blank lines, which are no request."""
    with siege(peer) as seen:
        raws = [Raw(peer.port) for _ in range(SLOW)]
        for raw in raws:
            raw.send(head("GET", "/conformance"))
        assert all(raw.answer().status == 200 for raw in raws)
        until = time.monotonic() + connection.HEAD_SECONDS + 8
        while raws and time.monotonic() < until:
            for raw in list(raws):
                raw.socket.settimeout(0.002)
                try:
                    if raw.send(b"\r\n") and raw.socket.recv(65536):
                        continue
                except TimeoutError:
                    continue
                except OSError:
                    pass
                raw.close()
                raws.remove(raw)
        assert not raws, f"{len(raws)} idle connections are still open"
    seen.hold()


if FULL:  # half a minute each

    @pytest.mark.parametrize("path", ["/processes", "/processes/say/execution", "/uploads", "/check"])
    def test_slow_bodies(peer: BrokerPeer, path: str) -> None:
        """200 bodies, a byte at a time: those of uploads hold nobody else's up, and all are closed."""
        fields = ["Content-Length: 100000", "Content-Type: application/json"]
        beginning = head("POST", path, *fields)
        seen, ended = slow(peer, SLOW, beginning, b" ", connection.BODY_SECONDS * 2 + 10)
        seen.hold()
        assert all(one.status in (408, 429, 0) for one in ended), ended[:3]


def test_uploads_that_do_not_move_hold_up_nobody(peer: BrokerPeer) -> None:
    """More uploads than there are threads, none of which sends: others deploy, check and upload meanwhile."""
    raws = [Raw(peer.port) for _ in range(SLOW)]
    with siege(peer) as seen:
        for raw in raws:
            raw.send(head("POST", "/uploads", "Content-Length: 1000", "Content-Type: text/plain") + b"x")
        begun = time.monotonic()
        answer = peer.post("/check", data=SAY.encode(), headers={"Content-Type": "application/cwl"})
        assert answer.status_code == 200
        assert time.monotonic() - begun < 3 * AT_ONCE
        enough(seen)
    refused = 0
    for raw in raws:
        raw.socket.settimeout(0.01)
        refused += raw.answer().status == 429
        raw.close()
    seen.hold()
    assert refused > SLOW / 2, "one owner's uploads are bounded"


def test_an_honest_slow_upload_is_taken(peer: BrokerPeer) -> None:
    """Slower than most lines, and longer than the time for a document, but it gets on."""
    seconds = 70 if FULL else 3
    piece = b"x" * 500
    size = len(piece) * seconds * 4
    with Raw(peer.port) as raw:
        raw.send(head("POST", "/uploads", f"Content-Length: {size}", "Content-Type: text/plain"))
        for _ in range(seconds * 4):
            assert raw.send(piece)
            time.sleep(0.25)
        assert raw.answer().status == 201


def test_connections_of_one_address_are_bounded(tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("few") / "state"
    with broker_peer(state, API__CONNECTIONS_EACH="20") as few:
        few.session.close()
        raws = [Raw(few.port) for _ in range(30)]
        refused = 0
        for raw in raws:
            raw.socket.settimeout(0.2)
            refused += raw.answer().status == 503
            raw.close()
        assert 10 <= refused <= 12, "some were open before"
        wait_for(lambda: few.get("/health/live").status_code == 200, 5, lambda: "closed connections count on")
