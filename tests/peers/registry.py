"""A real registry of container images on loopback: docker-registry (Debian's package), with accounts or tokens.

    with registry_peer(directory) as registry:
        registry.push("localhost/mine:1", "tools/mine:v1")
        registry.name("tools/mine:v1")          # 127.0.0.1:PORT/tools/mine:v1

`token=True`: the registry sends those who log in to a realm (as Docker Hub and GitHub do), which `TokenPeer` is.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import RSAKey

from broker.runner.isolation import Isolation
from tests.peers.broker import wait_for
from tests.peers.ports import free_port

USER = "puller"
PASSWORD = "a-Password+for/the=registry"
# bcrypt of PASSWORD (cost 5): the only kind of hash that the registry takes
HTPASSWD = f"{USER}:$2b$05$CCCCCCCCCCCCCCCCCCCCC.JYlfa1iKw/Prq6t64nQijX7o51MBNUG\n"
INSTALL = "no docker-registry: apt-get install docker-registry"


@dataclass
class RegistryPeer:
    """A running registry at `host`, which asks for USER and PASSWORD."""

    host: str
    engine: Isolation
    directory: Path
    realms: list[dict[str, Any]] = field(default_factory=list)

    def name(self, path: str) -> str:
        return f"{self.host}/{path}"

    def push(self, local: str, path: str) -> str:
        """Push an image of the container engine; the digest that the registry has for it."""
        argv = [*self.engine.engine_argv]
        target = f"docker://{self.host}/{path}"
        login = ["--tls-verify=false", f"--creds={USER}:{PASSWORD}", "--quiet"]
        file = self.directory / f"digest-{uuid.uuid4().hex}"
        subprocess.run([*argv, "push", *login, f"--digestfile={file}", local, target], check=True, capture_output=True)
        return file.read_text().strip()

    def forget(self, path: str) -> None:
        """Remove what the container engine has of a repository here, by every name."""
        listed = subprocess.check_output(
            [*self.engine.engine_argv, "images", "--quiet", "--no-trunc", "--filter", f"reference={self.host}/{path}"],
            text=True,
        ).split()
        for one in set(listed):
            subprocess.run([*self.engine.engine_argv, "rmi", "--force", one], check=False, capture_output=True)


@contextmanager
def registry_peer(directory: Path, engine: Isolation, *, token: bool = False) -> Iterator[RegistryPeer]:
    """Start it (about 0.2 s); skips the test where the program is not installed."""
    program = shutil.which("docker-registry", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if program is None:
        pytest.skip(INSTALL)
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    peer = RegistryPeer(f"127.0.0.1:{port}", engine, directory)
    issuer = TokenPeer(directory, peer.realms) if token else None
    (directory / "htpasswd").write_text(HTPASSWD)
    auth = issuer.settings() if issuer else {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "not-secret"},
        "auth": auth,
    }
    file = directory / "registry.json"  # which is YAML
    file.write_text(json.dumps(settings))
    with (directory / "registry.log").open("ab") as log:
        process = subprocess.Popen([program, "serve", str(file)], stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(port), 20, lambda: (directory / "registry.log").read_text()[-3000:])
        yield peer
    finally:
        process.terminate()
        process.wait(10)
        if issuer:
            issuer.close()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


class TokenPeer:
    """The realm: gives a signed token for the scope to whoever has the password. `seen`: what it was asked."""

    def __init__(self, directory: Path, seen: list[dict[str, Any]]) -> None:
        self.seen = seen
        self.key, self.certificate = _certificate()
        self.bundle = directory / "realm.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def settings(self) -> dict[str, Any]:
        return {
            "token": {
                "realm": self.url,
                "service": "tests",
                "issuer": "tests",
                "rootcertbundle": str(self.bundle),
            }
        }

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = parse_qs(urlsplit(handler.path).query)
        given = handler.headers.get("Authorization", "")
        self.seen.append({"query": asked, "authorization": given})
        if given != f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}":
            handler.send_response(401)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for scope in asked.get("scope", [])
            for kind, name, actions in [scope.split(":", 2)]
        ]
        body = json.dumps({"token": self._token(asked["service"][0], access)}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _token(self, service: str, access: list[dict[str, Any]]) -> str:
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        now = int(time.time())
        claims = {"iss": "tests", "sub": USER, "aud": service, "nbf": now - 60, "iat": now, "exp": now + 300}
        header = {"alg": "RS256", "typ": "JWT", "x5c": [base64.b64encode(der).decode()]}
        return jwt.encode(header, claims | {"jti": uuid.uuid4().hex, "access": access}, self.key)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def _certificate() -> tuple[RSAKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    made = made.not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return RSAKey.import_key(key), made.sign(key, hashes.SHA256())
