"""A real web server on loopback that tests can make fail: redirects, errors, broken and slow connections.

    with WebPeer() as web:
        url = web.serve("/scene.tif", b"...", media_type="image/tiff")
        web.fail("/scene.tif", times=2)            # the next two requests get a 503
        web.cut("/scene.tif", after=1000)          # the next body breaks off after 1000 bytes
        ...
        assert [r.path for r in web.requests] == ["/scene.tif"] * 4

`web.guard = "Bearer ..."` makes every page a private one: without this Authorization there is a 401.

Every failure is scripted per path and used up, so that nothing depends on time. `WebPeer(tls=True)` speaks
https with a certificate for `localhost` signed by the authority in `web.ca_file`; with `certificates` and `port` it is
one that was down and comes back.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import mimetypes
import re
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from tests.peers.certificates import write_certificates


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Page:
    body: bytes
    media_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ranges: bool = True

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


@dataclass(frozen=True)
class _Trouble:
    """What happens to one request: an error status, or a body that after `after` bytes breaks off, or waits."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    gate: threading.Event | None = None


class WebPeer:
    """The server; a context manager. `url(path)` gives addresses, `requests` what arrived so far."""

    def __init__(
        self,
        *,
        tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        certificates: tuple[str, str, str] | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.guard: str | None = None
        self._pages: dict[str, _Page] = {}
        self._trees: dict[str, Path] = {}
        self._troubles: defaultdict[str, deque[_Trouble]] = defaultdict(deque)
        self._gates: dict[str, threading.Event] = {}
        self._stalls: list[threading.Event] = []
        self._arrived = threading.Condition()
        self._server = _Server((host, port), self)
        self.port: int = self._server.server_address[1]
        self._folder = TemporaryDirectory() if tls else None
        self.ca_file: str | None = None
        self._name = "localhost" if tls else host
        if self._folder is not None:
            self.ca_file, chain, key = certificates or write_certificates(Path(self._folder.name), "localhost")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def url(self, path: str, host: str | None = None) -> str:
        scheme = "https" if self.ca_file else "http"
        return f"{scheme}://{host or self._name}:{self.port}{quote(path)}"

    def serve(
        self,
        path: str,
        body: bytes | str | Mapping[str, Any],
        *,
        media_type: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        ranges: bool = True,
    ) -> str:
        """Answer `path` with this body (a mapping becomes JSON); gives its URL. `ranges=False` ignores Range."""
        if isinstance(body, Mapping):
            body, media_type = json.dumps(body), media_type or "application/json"
        raw = body.encode() if isinstance(body, str) else body
        kind = media_type or mimetypes.guess_type(path)[0] or "application/octet-stream"
        self._pages[path] = _Page(raw, kind, status, dict(headers or {}), ranges)
        return self.url(path)

    def tree(self, directory: Path, prefix: str = "/") -> str:
        """Serve the files below a directory; gives the URL of the prefix (which itself is no page)."""
        self._trees[prefix.rstrip("/") + "/"] = directory
        return self.url(prefix.rstrip("/") + "/")

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        return self.serve(path, b"", status=status, headers={"Location": target})

    def fail(self, path: str, *, times: int = 1, status: int = 503, headers: Mapping[str, str] | None = None) -> None:
        """The next `times` requests of `path` get this status."""
        self._troubles[path].extend([_Trouble(status=status, headers=dict(headers or {}))] * times)

    def cut(self, path: str, *, after: int, times: int = 1) -> None:
        """The next `times` bodies of `path` are reset after `after` bytes (counted from the range's start)."""
        self._troubles[path].extend([_Trouble(after=after)] * times)

    def stall(self, path: str, *, after: int) -> threading.Event:
        """The next body of `path` stops after `after` bytes until this event is set, then goes on to its end."""
        gate = threading.Event()
        self._stalls.append(gate)
        self._troubles[path].append(_Trouble(after=after, gate=gate))
        return gate

    def hold(self, path: str) -> threading.Event:
        """Requests of `path` wait for this event before they are answered (the end of the peer sets it)."""
        return self._gates.setdefault(path, threading.Event())

    def wait_for(self, path: str, count: int = 1, seconds: float = 10) -> list[Request]:
        """Wait until `count` requests of `path` arrived; gives them."""

        def matching() -> list[Request]:
            return [request for request in self.requests if request.path == path]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(matching()) >= count, seconds), f"no request of {path}"
            return matching()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in (*self._gates.values(), *self._stalls):
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._folder is not None:
            self._folder.cleanup()

    def _note(self, request: Request) -> None:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def _page(self, path: str) -> _Page | None:
        if path in self._pages:
            return self._pages[path]
        for prefix, directory in self._trees.items():
            file = directory / path.removeprefix(prefix)
            if path.startswith(prefix) and ".." not in file.parts and file.is_file():
                return _Page(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")
        return None

    def _trouble(self, path: str) -> _Trouble | None:
        waiting = self._troubles[path]
        return waiting.popleft() if waiting else None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], peer: WebPeer) -> None:
        self.peer = peer
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or refuses the certificate, is part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to confirm its head
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        peer, parts = self.server.peer, urlsplit(self.path)
        path = unquote(parts.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        peer._note(Request(self.command, path, parts.query, {k.lower(): v for k, v in self.headers.items()}, body))
        if (gate := peer._gates.get(path)) is not None:
            gate.wait(60)
        trouble, page = peer._trouble(path), peer._page(path)
        if trouble is not None and trouble.status is not None:
            page = _Page(b"in trouble", "text/plain", trouble.status, trouble.headers)
        page = page or _Page(b"nothing here", "text/plain", 404)
        if peer.guard is not None and self.headers.get("Authorization") != peer.guard:
            page = _Page(b"who are you?", "text/plain", 401)
        self._send(page, trouble or _Trouble())

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def _send(self, page: _Page, trouble: _Trouble) -> None:
        status, start, end = page.status, 0, len(page.body)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and page.ranges and status == 200 and self.headers.get("If-Range", page.etag) == page.etag:
            status, start = (206, int(match[1])) if int(match[1]) < end else (416, end)
            end = min(end, int(match[2]) + 1) if match[2] and status == 206 else end
        self.send_response(status)
        fields = {"Content-Type": page.media_type, "ETag": page.etag, "Content-Length": str(end - start)}
        if status == 206:
            fields["Content-Range"] = f"bytes {start}-{end - 1}/{len(page.body)}"
        for name, value in (fields | dict(page.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = page.body[start:end]
        self.wfile.write(body[: trouble.after])
        if trouble.gate is not None:
            trouble.gate.wait(60)
            self.wfile.write(body[trouble.after :])
        elif trouble.after is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
