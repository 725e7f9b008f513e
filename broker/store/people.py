"""People: a row for everybody who was ever seen, under an id that owns rows and begins keys of storage."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.account_tables import people
from broker.store.tables import now

p = people.c
_BY_ID = select(*p).where(p.id == bindparam("wanted"))
_RECENT = select(*p).where(p.id == bindparam("wanted"), p.seen > now() - 3600.0)


@dataclass(frozen=True, slots=True)
class Person:
    """`issuer`: its URL; `subject`: who it is there; times epoch seconds."""

    id: str
    issuer: str
    subject: str
    name: str
    email: str | None
    orcid: str | None
    created: float
    seen: float


def id_of(issuer: str, subject: str) -> str:
    """The id of a person: `p` and 19 characters of base32 (95 bits), the same whenever and wherever it is made."""
    raw = hashlib.sha256(f"{issuer}\0{subject}".encode()).digest()
    return "p" + base64.b32encode(raw).decode().lower()[:19]


def meet(
    tx: Connection,
    issuer: str,
    subject: str,
    *,
    name: str | None = None,
    email: str | None = None,
    orcid: str | None = None,
) -> Person:
    """The person's row, made at first sight; what is said of the person now takes the place of what was known."""
    person = id_of(issuer, subject)
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    new = make(people).values(
        id=person, issuer=issuer, subject=subject, name=name or subject, created=now(), seen=now()
    )
    # Two unique indexes: who names one of them may still meet another insertion on the other.
    tx.execute(new.on_conflict_do_nothing())
    said = {"name": func.coalesce(name, p.name), "email": func.coalesce(email, p.email)}
    tx.execute(update(people).where(p.id == person).values(**said, orcid=func.coalesce(orcid, p.orcid), seen=now()))
    found = get(tx, person)
    assert found is not None  # noqa: S101 - made in this transaction
    return found


def recent(
    tx: Connection,
    issuer: str,
    subject: str,
    *,
    name: str | None = None,
    email: str | None = None,
    orcid: str | None = None,
) -> Person | None:
    """The person, if seen within the hour and known as is said now: then nothing is to be written."""
    row = tx.execute(_RECENT, {"wanted": id_of(issuer, subject)}).first()
    said = ((name, "name"), (email, "email"), (orcid, "orcid"))
    if row is None or any(value not in (None, getattr(row, column)) for value, column in said):
        return None
    return _person(row)


def get(tx: Connection, person: str) -> Person | None:
    row = tx.execute(_BY_ID, {"wanted": person}).first()
    return None if row is None else _person(row)


def names(tx: Connection, ids: Collection[str]) -> dict[str, str]:
    """id -> name, of those that are known."""
    rows = tx.execute(select(p.id, p.name).where(p.id.in_(list(ids))))
    return {str(row.id): str(row.name) for row in rows}


def _person(row: Row[Any]) -> Person:
    return Person(**row._mapping)
