"""A proxy in front of a server that makes it fail in ways that no server shows on demand.

    with Faults(url) as faults:
        faults.answer("POST", r"/jobs$", 502)                  # the next one is answered so, and does not get through
        faults.lose("POST", r"/jobs$")                         # the next one gets through, its answer is lost
        faults.change("GET", r"/jobs/[^/]+$", lambda job: {**job, "status": "created"}, times=2)
        faults.cut("GET", "/assets/", after=1000)              # the next body breaks off
        assert faults.count("POST", "/jobs$") == 2

A path is matched without its query. Links in answers lead through the proxy, since the server sees its name.
"""

from __future__ import annotations

import http.client
import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_OF_A_CONNECTION = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    times: int
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lose: bool = False
    last: bool = False
    change: Callable[[Any], Any] | None = None
    after: int | None = None


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Faults:
    """The proxy; a context manager. What is scripted is used up, in the order of its scripting."""

    def __init__(self, target: str) -> None:
        self.requests: list[Seen] = []
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self, urlsplit(target).netloc)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        code: str = "",
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """The next requests do not get through, and are answered like this: with an error of openEO, or a body."""
        body = body if body is not None else {"id": "x", "code": code, "message": f"scripted {status}", "links": []}
        self._add(_Rule(method, re.compile(path), times, status, body, headers or {}))

    def lose(self, method: str, path: str, *, times: int = 1) -> None:
        self._add(_Rule(method, re.compile(path), times, lose=True))

    def vanish(self, method: str, path: str) -> None:
        """After the next one there is nobody any more: no connection is taken."""
        self._add(_Rule(method, re.compile(path), 1, last=True))

    def shut(self) -> None:
        """From now on there is nobody."""
        self._server.socket.shutdown(socket.SHUT_RDWR)

    def change(self, method: str, path: str, change: Callable[[Any], Any], *, times: int = 1) -> None:
        """The JSON in the next answers is another."""
        self._add(_Rule(method, re.compile(path), times, change=change))

    def cut(self, method: str, path: str, *, after: int, times: int = 1) -> None:
        self._add(_Rule(method, re.compile(path), times, after=after))

    def clear(self) -> None:
        """Forget what was scripted, and what arrived."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def count(self, method: str, path: str) -> int:
        """How many requests arrived."""
        return len([one for one in self.requests if one.method == method and re.search(path, one.path)])

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _take(self, seen: Seen) -> _Rule | None:
        with self._lock:
            self.requests.append(seen)
            for rule in self._rules:
                if rule.times > 0 and rule.method in (seen.method, "*") and rule.path.search(seen.path):
                    rule.times -= 1
                    return rule
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], faults: Faults, target: str) -> None:
        self.faults, self.target = faults, target
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to confirm its head
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _pass(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        rule = self.server.faults._take(Seen(self.command, parts.path, parts.query, headers, body))
        if rule is not None and rule.status is not None:
            self._send(
                rule.status, {"Content-Type": "application/json", **rule.headers}, json.dumps(rule.body).encode()
            )
            return
        status, fields, answer = self._forwarded(body)
        if rule is not None and rule.lose:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if rule is not None and rule.change is not None:
            answer = json.dumps(rule.change(json.loads(answer))).encode()
        if rule is not None and rule.last:
            self.server.faults.shut()
            fields["Connection"] = "close"
            self.close_connection = True
        self._send(status, fields, answer, rule.after if rule is not None else None)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _pass

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            with connection.getresponse() as found:
                kept = {name: value for name, value in found.getheaders() if name.lower() not in _OF_A_CONNECTION}
                return found.status, kept, found.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, after: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:after])
        if after is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
