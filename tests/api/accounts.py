"""People of the tests of several: tokens of the broker, and browsers that are logged in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests

from broker.access.configuration import Access, Issuer
from broker.access.tokens import digest, generate
from broker.api.browsers import Browsers, csrf_of
from broker.store import people, sessions, tokens
from broker.store.database import Database, new_id
from tests.api.server import Server

ALL = ("read", "run", "deploy")
ISSUER = "https://issuer.invalid"
ACCESS = Access(issuers={"lab": Issuer(url=ISSUER, audience=("broker",))})


@dataclass(frozen=True)
class Account:
    """Somebody, and what their requests carry."""

    server: Server
    id: str
    headers: dict[str, str]
    csrf: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """The answer to a request, redirects not followed."""
        url = path if path.startswith("http") else self.server.url + path
        self.session.trust_env = False
        sent = self.headers | (headers or {})
        return self.session.request(method, url, headers=sent, allow_redirects=False, timeout=30, **options)

    def form(self, path: str, **fields: str) -> Any:
        """Send a form as a browser does from a page of ours."""
        headers = {"Origin": self.server.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
        return self("POST", path, data={"csrf": self.csrf, **fields}, headers=headers)

    def page(self, path: str) -> str:
        """The text of a page."""
        answer = self("GET", path, headers={"Accept": "text/html"})
        assert answer.headers["content-type"].startswith("text/html"), answer.text
        return str(answer.text)


def account(server: Server, owner: str, *scopes: str) -> Account:
    """Somebody with a token of their own."""
    headers = {"Authorization": f"Bearer {_token(server.database, owner, scopes or ALL)}"}
    server.site.gate.forget()
    return Account(server, owner, headers)


def _token(database: Database, owner: str, scopes: tuple[str, ...]) -> str:
    secret, hashed = generate()
    with database.write() as tx:
        tokens.add(tx, new_id(), hashed, owner, owner, "test", scopes, None)
    return secret


def browser(server: Server, subject: str, name: str, *scopes: str) -> Account:
    """Somebody whose browser is logged in, as after the way to the issuer and back (settings: ACCESS)."""
    secret = f"session-of-{subject}"
    with server.database.write() as tx:
        person = people.meet(tx, ISSUER, subject, name=name).id
        sessions.add(tx, digest(secret), person, "lab", scopes or ALL, 3600)
    return Account(server, person, {"Cookie": f"{Browsers.COOKIE}={secret}"}, csrf_of(secret))
