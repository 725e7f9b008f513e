"""Invitations: a secret code, kept as a hash, that makes whoever accepts it a member of a project, once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from broker.access.principal import Part
from broker.errors import NoSuchInvitation
from broker.store.account_tables import invitations
from broker.store.tables import now

i = invitations.c
FIELDS = (i.id, i.project, i.part, i.note, i.invited_by, i.created, i.expires)


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation, without its code; times epoch seconds."""

    id: str
    project: str
    part: Part
    note: str
    invited_by: str
    created: float
    expires: float


def new_code() -> str:
    """192 random bits: nothing to guess, so that a fast hash keeps it well. Hexadecimal: a code that began with a dash
    was an option to the command line."""
    return secrets.token_hex(24)


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def add(
    tx: Connection, invitation_id: str, code: str, project: str, part: Part, note: str, invited_by: str, ttl: float
) -> Invitation:
    """`ttl` in seconds."""
    row = {"id": invitation_id, "hash": _digest(code), "project": project, "part": part.value, "note": note}
    tx.execute(insert(invitations).values(**row, invited_by=invited_by, created=now(), expires=now() + ttl))
    return get(tx, code)


def get(tx: Connection, code: str) -> Invitation:
    """The open invitation of a code. Raises NoSuchInvitation, also for one that was used or has expired."""
    row = tx.execute(select(*FIELDS).where(i.hash == _digest(code), *_open())).first()
    if row is None:
        raise _none()
    return _invitation(*row)


def use(tx: Connection, code: str, person: str) -> Invitation:
    """Use up the invitation of a code. Raises NoSuchInvitation: of two who come at once, one is too late."""
    mine = update(invitations).where(i.hash == _digest(code), *_open()).values(used_by=person, used=now())
    row = tx.execute(mine.returning(*FIELDS)).first()
    if row is None:
        raise _none()
    return _invitation(*row)


def of_project(tx: Connection, project: str) -> list[Invitation]:
    """The open ones, oldest first."""
    query = select(*FIELDS).where(i.project == project, *_open()).order_by(i.id)
    return [_invitation(*row) for row in tx.execute(query)]


def count(tx: Connection, project: str) -> int:
    """How many are open."""
    return tx.execute(select(func.count()).where(i.project == project, *_open())).scalar_one()


def revoke(tx: Connection, project: str, invitation_id: str) -> None:
    """Raises NoSuchInvitation for one that is not open (any more)."""
    if not tx.execute(delete(invitations).where(i.project == project, i.id == invitation_id, *_open())).rowcount:
        raise _none()


def _open() -> tuple[ColumnElement[bool], ...]:
    return i.used.is_(None), i.expires > now()


def _none() -> NoSuchInvitation:
    return NoSuchInvitation(
        "There is no such invitation: it was used or revoked, it has expired, or its link is not whole.",
        hint="Ask who invited you for a new one.",
    )


def _invitation(
    id: str, project: str, part: str, note: str, invited_by: str, created: float, expires: float
) -> Invitation:
    return Invitation(id, project, Part(part), note, invited_by, created, expires)
