"""A real git server on loopback: `git http-backend` behind a small TLS server, with a repository to fill.

with GitPeer(tmp_path) as git:
    commit = git.commit({"app.cwl": "cwlVersion: v1.2 ..."})
    git.url                      # https://localhost:<port>/repo.git; its authority is in git.ca_file
"""

from __future__ import annotations

import contextlib
import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.peers.certificates import write_certificates

WHO = {
    "GIT_AUTHOR_NAME": "A. Author",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "C. Committer",
    "GIT_COMMITTER_EMAIL": "c@example.org",
    "GIT_COMMITTER_DATE": "2026-03-04T05:06:07Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class GitPeer:
    """The server; a context manager. `requests`: (method, path, Git-Protocol) of what arrived."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.requests: list[tuple[str, str, str]] = []
        self.git("init", "-q", "-b", "main")
        certificates = folder / "tls"
        certificates.mkdir()
        self.ca_file, chain, key = write_certificates(certificates, "localhost")
        self._server = _Server(("127.0.0.1", 0), self)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}/repo.git"
        self.moved: dict[str, str] = {}
        self.authorization: str | None = None  # the header that every request needs
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def git(self, *words: str) -> str:
        """Run git in the work tree; gives what it printed."""
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **WHO}
        done = subprocess.run(
            ["git", *words], cwd=self.work, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | bytes]) -> str:
        """Write files (relative paths) and commit all that is there; the commit's name."""
        for path, content in files.items():
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")

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

    def __init__(self, address: tuple[str, int], peer: GitPeer) -> None:
        self.peer = peer
        super().__init__(address, _Handler)

    def shutdown_request(self, request: Any) -> None:
        """Says farewell in TLS, as real servers do and GnuTLS wants."""
        with contextlib.suppress(OSError, ValueError):
            request.settimeout(0.05)  # the client's own is not waited for
            request.unwrap()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One CGI call of `git http-backend` for each request."""

    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        peer, parts = self.server.peer, urlsplit(self.path)
        peer.requests.append((self.command, self.path, self.headers.get("Git-Protocol", "")))
        if target := peer.moved.get(parts.path):
            self.send_response(301)
            self.send_header("Location", target + (f"?{parts.query}" if parts.query else ""))
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if peer.authorization not in (None, self.headers.get("Authorization")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(peer.work / ".git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path.removeprefix("/repo.git"),
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            **WHO,
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer
