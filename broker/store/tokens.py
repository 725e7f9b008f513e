"""Bearer tokens: kept as a hash, scoped, revocable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from broker.store.tables import now, tokens

k = tokens.c
_ANY = select(k.id).where(k.revoked.is_(None)).limit(1)
FIELDS = [k.id, k.owner, k.project, k.name, k.scopes, k.created, k.expires, k.revoked, k.last_used, k.parent]


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; times epoch seconds. `parent`: the id of the token that made it."""

    id: str
    owner: str
    project: str
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    parent: str | None = None


def add(
    tx: Connection,
    token_id: str,
    digest: str,
    owner: str,
    project: str,
    name: str,
    scopes: Sequence[str],
    ttl: float | None,
    *,
    parent: str | None = None,
) -> Token:
    """`ttl` in seconds; None never expires."""
    row = {"id": token_id, "hash": digest, "owner": owner, "project": project, "name": name, "scopes": list(scopes)}
    tx.execute(insert(tokens).values(**row, parent=parent, created=now(), expires=None if ttl is None else now() + ttl))
    found = by_hash(tx, digest)
    assert found is not None  # noqa: S101 - inserted in this transaction
    return found


def by_hash(tx: Connection, digest: str) -> Token | None:
    """The token if it is valid now."""
    valid = (k.revoked.is_(None), or_(k.expires.is_(None), k.expires > now()))
    row = tx.execute(select(*FIELDS).where(k.hash == digest, *valid)).first()
    return None if row is None else _token(row)


def used(tx: Connection, token_id: str) -> None:
    tx.execute(update(tokens).where(k.id == token_id).values(last_used=now()))


def revoke(tx: Connection, token_id: str) -> bool:
    """True if there was such a token, not yet revoked. The tokens that it made are revoked with it."""
    gone = tx.execute(update(tokens).where(k.id == token_id, k.revoked.is_(None)).values(revoked=now())).rowcount
    for child in tx.execute(select(k.id).where(k.parent == token_id, k.revoked.is_(None))).scalars().all():
        revoke(tx, child)
    return bool(gone)


def get(tx: Connection, token_id: str) -> Token | None:
    row = tx.execute(select(*FIELDS).where(k.id == token_id)).first()
    return None if row is None else _token(row)


def left(tx: Connection, token: Token) -> float:
    """Seconds that a token with an end has left, by the database's clock."""
    return float(tx.execute(select(k.expires - now()).where(k.id == token.id)).scalar_one())


def every(tx: Connection, owner: str | None = None) -> list[Token]:
    """All tokens, or those of one owner, oldest first; revoked ones are among them."""
    chosen = select(*FIELDS).order_by(k.id)
    return [_token(row) for row in tx.execute(chosen if owner is None else chosen.where(k.owner == owner))]


def _token(row: Row[Any]) -> Token:
    return Token(**{**row._mapping, "scopes": tuple(row.scopes)})


def any_valid(tx: Connection) -> bool:
    """Whether authentication is on: it is as soon as one token exists that is not revoked."""
    return tx.execute(_ANY).first() is not None
