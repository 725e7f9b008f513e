"""Credential rows: what they are for is in the clear, what is secret is sealed (`broker.access.vault`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Text, and_, bindparam, case, delete, insert, or_, select, update

from broker.access.principal import Part, Reach
from broker.errors import Forbidden, NoSuchCredential
from broker.store.account_tables import credentials, members
from broker.store.tables import now
from broker.store.visible import PROJECT, by, changeable, visible

c = credentials.c


@dataclass(frozen=True, slots=True)
class Credential:
    """A row without what is sealed. `bond` names it for the vault: what is sealed opens for this row only."""

    id: str
    owner: str
    project: str
    shared: str
    name: str
    kind: str
    target: str
    tested: bool
    created: float
    changed: float
    used: float | None

    @property
    def bond(self) -> tuple[str, ...]:
        return self.id, self.owner, self.kind, self.target


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row with what is sealed."""

    row: Credential
    sealed: bytes


_FIELDS = [c[field.name] for field in fields(Credential)]
_SHOWN = select(*_FIELDS).where(visible(credentials))
# one's own by its name, else any by its id
_NAMED = _SHOWN.where(or_(and_(c.name == bindparam("wanted"), c.owner == bindparam("me")), c.id == bindparam("wanted")))
_ONE = _NAMED.order_by(
    case((c.owner == bindparam("me"), 0), else_=1), case((c.name == bindparam("wanted"), 0), else_=1)
)
_CHANGEABLE = select(c.id).where(c.id == bindparam("wanted"), changeable(credentials))
_WORKING = (Part.MEMBER.value, Part.MAINTAINER.value)


def _works_in(project: Any, person: Any) -> Any:
    """Whether a person may work in the name of a project; viewers may not, and who has left may not either."""
    there = select(members.c.person).where(
        members.c.project == project, members.c.person == person, members.c.part.in_(_WORKING)
    )
    return there.exists()


_OWNER = bindparam("of_owner", type_=Text)
_PROJECT = bindparam("of_project", type_=Text)
_OURS = and_(
    c.shared == PROJECT, c.project == _PROJECT, _works_in(_PROJECT, _OWNER), _works_in(_PROJECT, credentials.c.owner)
)
# one's own before the project's, the newest before the others
_USABLE = (
    select(*_FIELDS, c.sealed)
    .where(or_(c.owner == _OWNER, _OURS), c.kind.in_(bindparam("kinds", expanding=True)))
    .order_by(case((c.owner == _OWNER, 0), else_=1), c.changed.desc(), c.id)
)


def put(tx: Connection, row: Credential, sealed: bytes) -> None:
    """Insert or replace the row of this id."""
    values = {field.name: getattr(row, field.name) for field in fields(Credential)} | {"sealed": sealed}
    values |= {"changed": now(), "used": None}
    created = values.pop("created")
    if tx.execute(update(credentials).where(c.id == row.id).values(**values)).rowcount == 0:
        tx.execute(insert(credentials).values(**values, created=created or now()))


def may_share(tx: Connection, person: str, project: str) -> bool:
    """Whether a person may share something of theirs with a project: its members and maintainers."""
    return bool(tx.execute(select(_works_in(project, person))).scalar())


def page(tx: Connection, reach: Reach) -> Sequence[Credential]:
    """What a reach sees, by name."""
    return [Credential(**row) for row in tx.execute(_SHOWN.order_by(c.name, c.id), by(reach)).mappings()]


def get(tx: Connection, name: str, reach: Reach) -> Credential:
    """One's own by name, or what one sees by id. Raises NoSuchCredential."""
    row = tx.execute(_ONE, {"wanted": name, "me": reach.owner, **by(reach)}).mappings().first()
    if row is None:
        raise NoSuchCredential(f"There is no credential {name!r}.", hint="List yours with: broker credential list")
    return Credential(**row)


def beside(tx: Connection, row: Credential) -> list[str]:
    """The names of its owner's other credentials for the same: the newest of them is used."""
    same = (c.owner == row.owner, c.kind == row.kind, c.target == row.target, c.id != row.id)
    return list(tx.execute(select(c.name).where(*same).order_by(c.name)).scalars())


def get_to_change(tx: Connection, name: str, reach: Reach) -> Credential:
    """Raises NoSuchCredential, and Forbidden for what one only sees."""
    row = get(tx, name, reach)
    if tx.execute(_CHANGEABLE, {"wanted": row.id, **by(reach)}).first() is None:
        raise Forbidden(
            f"The credential {name!r} is shared with your project; its owner and the maintainers may change it."
        )
    return row


def remove(tx: Connection, row: Credential) -> None:
    tx.execute(delete(credentials).where(c.id == row.id))


def sealed(tx: Connection, row: Credential) -> bytes:
    found: bytes = tx.execute(select(c.sealed).where(c.id == row.id)).scalar_one()
    return found


def tested(tx: Connection, row: Credential, sealed: bytes, outcome: bool) -> None:
    """What came of a trial of what was sealed; nothing where that has been replaced meanwhile."""
    tx.execute(update(credentials).where(c.id == row.id, c.sealed == sealed).values(tested=outcome))


def used(tx: Connection, ids: Sequence[str]) -> None:
    tx.execute(update(credentials).where(c.id.in_(ids)).values(used=now()))


def usable(tx: Connection, owner: str, project: str, kinds: Sequence[str]) -> list[Sealed]:
    """Credentials that work done by `owner` in `project` may use: the owner's, and those that people of the project
    share with it. One's own come first, then the newest."""
    given = {"of_owner": owner, "of_project": project, "kinds": list(kinds)}
    return [_sealed(row) for row in tx.execute(_USABLE, given).mappings()]


def targets(tx: Connection, owner: str, kind: str) -> frozenset[str]:
    """What a person's own credentials of a kind are for."""
    return frozenset(tx.execute(select(c.target).where(c.owner == owner, c.kind == kind)).scalars())


def account(tx: Connection, credential: str) -> Sealed | None:
    """By its id; None where it is gone."""
    row = tx.execute(select(*_FIELDS, c.sealed).where(c.id == credential)).mappings().first()
    return None if row is None else _sealed(row)


def every(tx: Connection) -> list[Sealed]:
    """All rows, for a change of the key."""
    return [_sealed(row) for row in tx.execute(select(*_FIELDS, c.sealed).order_by(c.id)).mappings()]


def reseal(tx: Connection, row: Credential, old: bytes, new: bytes) -> bool:
    """Replace what is sealed, unless it has been replaced meanwhile."""
    done = tx.execute(update(credentials).where(c.id == row.id, c.sealed == old).values(sealed=new))
    return done.rowcount == 1


def _sealed(row: Mapping[Any, Any]) -> Sealed:
    values = dict(row)
    return Sealed(sealed=values.pop("sealed"), row=Credential(**values))
