"""What the callbacks of each person are signed with: sealed (`broker.access.vault`), with the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.tables import callback_secrets, now

OVERLAP_SECONDS = 24 * 3600.0  # for which the secret before the newest signs as well
c = callback_secrets.c
_BEFORE = case((c.changed > now() - OVERLAP_SECONDS, c.before), else_=null()).label("before")


@dataclass(frozen=True, slots=True)
class Sealed:
    """`before`: None once it signs no more. `changed`: epoch seconds."""

    owner: str
    sealed: bytes
    before: bytes | None
    changed: float

    @property
    def bond(self) -> tuple[str, str]:
        return bond(self.owner)


def bond(owner: str) -> tuple[str, str]:
    """What binds a sealed secret to its row."""
    return "callback", owner


def get(tx: Connection, owner: str) -> Sealed | None:
    row = tx.execute(select(c.owner, c.sealed, _BEFORE, c.changed).where(c.owner == owner)).first()
    return None if row is None else Sealed(*row)


def make(tx: Connection, owner: str, sealed: bytes) -> None:
    """The first one; where there is one by now, that one stays."""
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    first = insert(callback_secrets).values(owner=owner, sealed=sealed, changed=now())
    tx.execute(first.on_conflict_do_nothing())


def replace(tx: Connection, owner: str, sealed: bytes) -> None:
    """A new one; the one so far signs along for a while."""
    tx.execute(update(callback_secrets).where(c.owner == owner).values(before=c.sealed, sealed=sealed, changed=now()))


def every(tx: Connection) -> Sequence[Sealed]:
    """All rows, for a change of the vault's key."""
    return [Sealed(*row) for row in tx.execute(select(c.owner, c.sealed, c.before, c.changed).order_by(c.owner))]


def reseal(tx: Connection, old: Sealed, sealed: bytes, before: bytes | None) -> bool:
    """The same secrets under another key of the vault, unless they were replaced meanwhile."""
    mine = and_(c.owner == old.owner, c.sealed == old.sealed)
    return tx.execute(update(callback_secrets).where(mine).values(sealed=sealed, before=before)).rowcount == 1
