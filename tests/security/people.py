"""An issuer whose keys are ours, and everybody who may call: people of it, tokens of the broker, and impostors."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import update

from broker.access import tokens as secrets_of
from broker.access.configuration import Access, Issuer
from broker.access.principal import Role, Scope
from broker.store import people, sessions, tokens
from broker.store.database import Database, new_id
from broker.store.tables import tokens as token_table
from tests.peers.web import WebPeer

AUDIENCE = "urn:broker-of-the-tests"
NAME = "tests"


@dataclass
class TestIssuer:
    """Signs what a real issuer would not: every wrong token. Its documents are served by a real web server."""

    url: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"}))
    stranger: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256"}))

    __test__ = False

    def token(self, subject: str, *, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """An access token; `claims` replace what is right, None takes away."""
        full = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 600, "name": subject}
        full |= {"jti": f"jti-{subject}", **claims}
        head = {"alg": "RS256", "kid": "one", "typ": "at+jwt"} | (header or {})
        told = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(head, told, key or self.key, algorithms=[head["alg"]])

    def unsigned(self, subject: str) -> str:
        """`alg: none`, which no library writes any more."""
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": subject, "exp": int(time.time()) + 600, "roles": ["op"]}
        parts = ({"alg": "none", "typ": "at+jwt", "kid": "one"}, claims)
        return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + "."

    def access(self, **more: Any) -> Access:
        """The settings of a broker that believes it."""
        roles = {"op": Role.OPERATOR, "sci": Role.SCIENTIST, "pub": Role.PUBLISHER}
        issuer = Issuer(url=self.url, audience=(AUDIENCE,), roles=roles, client_id="browser")
        return Access(issuers={NAME: issuer}, **more)


@contextmanager
def issuer_peer() -> Iterator[TestIssuer]:
    with WebPeer() as web:
        url = web.url("").rstrip("/")
        issuer = TestIssuer(url)
        web.serve("/jwks", {"keys": [issuer.key.as_dict(private=False)]})
        endpoints = {f"{name}_endpoint": f"{url}/{name}" for name in ("authorization", "token")}
        web.serve("/.well-known/openid-configuration", {"issuer": url, "jwks_uri": f"{url}/jwks", **endpoints})
        yield issuer


def person(database: Database, issuer: TestIssuer, name: str) -> str:
    """The id of a person, with a row as after a first login."""
    with database.write() as tx:
        return people.meet(tx, issuer.url, name, name=name).id


def own_token(database: Database, owner: str, *scopes: Scope, ttl: float | None = None) -> tuple[dict[str, str], str]:
    """(header, id) of a token of the broker."""
    secret, digest = secrets_of.generate()
    token_id = new_id()
    with database.write() as tx:
        tokens.add(tx, token_id, digest, owner, owner, "matrix", [one.value for one in scopes], ttl)
    return {"Authorization": f"Bearer {secret}"}, token_id


def impostors(database: Database, issuer: TestIssuer, owner: str, subject: str) -> dict[str, dict[str, str]]:
    """Headers that must open nothing, by what is wrong with them; all speak of the owner, or of an operator."""
    every = tuple(Scope)
    valid, _ = own_token(database, owner, *every)
    expired, expired_id = own_token(database, owner, *every)
    revoked, revoked_id = own_token(database, owner, *every)
    with database.write() as tx:
        tx.execute(update(token_table).where(token_table.c.id == expired_id).values(expires=1.0))
        tokens.revoke(tx, revoked_id)
        sessions.add(tx, secrets_of.digest("old-session"), owner, NAME, [one.value for one in every], -1.0)
    operator: dict[str, Any] = {"roles": ["op"]}
    jwts = {
        "wrong audience": issuer.token(subject, aud="urn:somebody-else", **operator),
        "no audience": issuer.token(subject, aud=None, **operator),
        "expired jwt": issuer.token(subject, exp=int(time.time()) - 3600, **operator),
        "jwt without end": issuer.token(subject, exp=None, **operator),
        "not yet valid": issuer.token(subject, nbf=int(time.time()) + 3600, **operator),
        "another issuer": issuer.token(subject, iss="https://issuer.example", **operator),
        "another key": issuer.token(subject, key=issuer.stranger, **operator),
        "unknown key": issuer.token(subject, header={"kid": "two"}, **operator),
        "id token": issuer.token(subject, header={"typ": "JWT"}, **operator),
        "unsigned": issuer.unsigned(subject),
        "tampered": _tampered(issuer.token(subject, roles=["sci"])),
    }
    secret = valid["Authorization"].removeprefix("Bearer ")
    return {
        "none": {},
        "Bearer nothing": {"Authorization": "Bearer nothing"},  # Argo CVE-2026-28229
        "garbage": {"Authorization": "Bearer eb_" + "x" * 43},
        "no scheme": {"Authorization": secret},
        "basic": {"Authorization": "Basic " + base64.b64encode(f"{owner}:{secret}".encode()).decode()},
        "empty": {"Authorization": "Bearer "},
        "another header": {"X-Auth-Token": secret, "X-Forwarded-User": owner, "Remote-User": owner},
        "token in a cookie": {
            "Cookie": f"Authorization=Bearer {secret}; broker-session={secret}; access_token={secret}"
        },
        "ended session": {"Cookie": "broker-session=old-session"},
        "expired": expired,
        "revoked": revoked,
        **{name: {"Authorization": f"Bearer {one}"} for name, one in jwts.items()},
    }


def _tampered(token: str) -> str:
    """The same signature under other claims."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) | {"roles": ["op"]}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"
