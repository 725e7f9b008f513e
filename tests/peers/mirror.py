"""A forward proxy on loopback that answers for hosts of the Internet from files, over http and https.

    with Mirror({"schemas.opengis.net": {"/a/b.yaml": Path("b.yaml")}}) as mirror:
        ...  # a client with the proxy `mirror.url` that trusts `mirror.ca_file`

Nothing is passed on: what is not in the table is 404, and `mirror.missed` tells what was asked for in vain.
"""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.peers.certificates import write_certificates

Hosts = Mapping[str, Mapping[str, Path]]


class Mirror:
    """The proxy; a context manager."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.missed: set[str] = set()
        self._folder = TemporaryDirectory(prefix="mirror")
        self.ca_file, chain, key = write_certificates(Path(self._folder.name), *hosts)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain, key)
        self._server = _Server(("127.0.0.1", 0), self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        self._folder.cleanup()

    def file(self, host: str, path: str) -> Path | None:
        found = self.hosts.get(host, {}).get(path)
        if found is None:
            self.missed.add(host + path)
        return found


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], mirror: Mirror) -> None:
        self.mirror = mirror
        super().__init__(address, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    tunnel: str | None = None  # the host that a CONNECT named

    def do_CONNECT(self) -> None:
        self.tunnel = self.path.rpartition(":")[0]
        if self.tunnel not in self.server.mirror.hosts:
            self.server.mirror.missed.add(self.path)
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.mirror.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        file = self.server.mirror.file(self.tunnel or parts.hostname or "", parts.path)
        content = b"" if file is None else file.read_bytes()
        self.send_response(404 if file is None else 200)
        self.send_header("Content-Type", "image/tiff" if parts.path.endswith(".tiff") else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
        self.wfile.flush()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
