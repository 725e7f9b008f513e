"""Browsers that are logged in, and those on their way to their issuer: both known by the hash of a secret only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from broker.store.account_tables import logins, people, sessions
from broker.store.tables import now

LOGIN_SECONDS = 600.0
s = sessions.c
_VALID = (s.expires > now(), s.seen > now() - bindparam("idle"))
_BY_HASH = (
    select(s.person, s.issuer, s.scopes, s.expires, people.c.name)
    .join(people, people.c.id == s.person)
    .where(s.hash == bindparam("digest"), *_VALID)
)
_SEEN = update(sessions).where(s.hash == bindparam("digest")).values(seen=now())


@dataclass(frozen=True, slots=True)
class Session:
    """`issuer`: its name in the settings; `name`: of the person."""

    person: str
    issuer: str
    scopes: tuple[str, ...]
    expires: float
    name: str


@dataclass(frozen=True, slots=True)
class Login:
    """A browser that was sent to its issuer. `target`: the local path to go on to."""

    issuer: str
    verifier: str
    nonce: str
    target: str


def begin_login(tx: Connection, digest: str, login: Login) -> None:
    """`digest`: SHA-256 of the state. Logins that never came back are dropped on the way."""
    tx.execute(delete(logins).where(logins.c.expires < now()))
    row = {"state": digest, "issuer": login.issuer, "verifier": login.verifier, "nonce": login.nonce}
    tx.execute(insert(logins).values(**row, target=login.target, expires=now() + LOGIN_SECONDS))


def end_login(tx: Connection, digest: str) -> Login | None:
    """The login of a state, once: a second use finds nothing."""
    gone = delete(logins).where(logins.c.state == digest, logins.c.expires > now())
    row = tx.execute(gone.returning(logins.c.issuer, logins.c.verifier, logins.c.nonce, logins.c.target)).first()
    return None if row is None else Login(*row)


def add(tx: Connection, digest: str, person: str, issuer: str, scopes: Collection[str], seconds: float) -> None:
    """Begin a session of so many seconds; those that have ended are dropped on the way."""
    tx.execute(delete(sessions).where(s.expires < now()))
    row: dict[str, Any] = {"hash": digest, "person": person, "issuer": issuer, "scopes": sorted(scopes)}
    tx.execute(insert(sessions).values(**row, created=now(), seen=now(), expires=now() + seconds))


def by_hash(tx: Connection, digest: str, idle: float) -> Session | None:
    """The session if it has not ended, and was used within `idle` seconds."""
    row = tx.execute(_BY_HASH, {"digest": digest, "idle": idle}).first()
    return None if row is None else Session(row.person, row.issuer, tuple(row.scopes), row.expires, row.name)


def used(tx: Connection, digest: str) -> None:
    tx.execute(_SEEN, {"digest": digest})


def end(tx: Connection, digest: str) -> str | None:
    """The person whose session has been ended, None where there was none."""
    found = tx.execute(delete(sessions).where(s.hash == digest).returning(s.person)).scalar()
    return None if found is None else str(found)
