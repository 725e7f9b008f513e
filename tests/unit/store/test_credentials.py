"""Credential rows: who sees them, who may use them, who may change them."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert

from broker.access.principal import Reach
from broker.errors import Forbidden, NoSuchCredential
from broker.store import credentials
from broker.store.account_tables import members
from broker.store.credentials import Credential
from broker.store.database import Database, new_id

PEOPLE = {"owner": "member", "mate": "member", "boss": "maintainer", "guest": "viewer"}


def row(database: Database, owner: str = "owner", shared: str = "private", **fields: str) -> Credential:
    values = {"name": "data", "kind": "http", "target": "https://data.example", "project": "lab"} | fields
    made = Credential(
        id=new_id(), owner=owner, shared=shared, tested=False, created=0.0, changed=0.0, used=None, **values
    )
    with database.write() as tx:
        credentials.put(tx, made, f"sealed {made.name}".encode())
        return credentials.get(tx, made.id, Reach(owner))


@pytest.fixture
def lab(database: Database) -> Database:
    with database.write() as tx:
        for person, part in PEOPLE.items():
            tx.execute(insert(members).values(project="lab", person=person, part=part, since=0.0))
    return database


def usable(database: Database, person: str, project: str = "lab") -> list[str]:
    with database.read() as tx:
        return [one.row.name for one in credentials.usable(tx, person, project, ["http", "s3"])]


def test_private_ones_are_the_owners_alone(lab: Database) -> None:
    made = row(lab)
    assert usable(lab, "owner") == usable(lab, "owner", "elsewhere") == ["data"]
    for person in ("mate", "boss", "guest", "stranger"):
        assert usable(lab, person) == []
        with lab.read() as tx, pytest.raises(NoSuchCredential):
            credentials.get(tx, made.id, Reach(person))


def test_those_of_a_project_are_used_by_its_members_in_it(lab: Database) -> None:
    made = row(lab, shared="project")
    assert usable(lab, "mate") == usable(lab, "boss") == ["data"]
    assert usable(lab, "guest") == usable(lab, "stranger") == []
    assert usable(lab, "mate", "mate") == usable(lab, "mate", "elsewhere") == []
    with lab.read() as tx:
        assert credentials.get(tx, made.id, Reach("guest")).name == "data"
        with pytest.raises(NoSuchCredential):
            credentials.get(tx, made.id, Reach("stranger"))
        for person in ("mate", "guest"):
            with pytest.raises(Forbidden):
                credentials.get_to_change(tx, made.id, Reach(person))
        assert credentials.get_to_change(tx, made.id, Reach("boss")) == made


@pytest.mark.parametrize("who", ["owner", "mate"])
def test_who_has_left_neither_gives_nor_gets(lab: Database, who: str) -> None:
    row(lab, shared="project")
    with lab.write() as tx:
        tx.execute(delete(members).where(members.c.person == who))
    assert usable(lab, "mate") == []


def test_ones_own_come_first_then_the_newest(lab: Database) -> None:
    row(lab, "boss", "project", name="theirs")
    row(lab, "owner", "project", name="newer")
    row(lab, "mate", name="mine")
    assert usable(lab, "mate") == ["mine", "newer", "theirs"]


def test_names_are_ones_own(lab: Database) -> None:
    theirs = row(lab, "owner", "project")
    mine = row(lab, "mate", "project")
    with lab.read() as tx:
        assert credentials.get(tx, "data", Reach("mate")).id == mine.id
        assert credentials.get(tx, theirs.id, Reach("mate")).id == theirs.id
        with pytest.raises(NoSuchCredential):
            credentials.get(tx, "data", Reach("boss"))


def test_replaced_used_and_removed(lab: Database) -> None:
    made = row(lab)
    with lab.write() as tx:
        credentials.used(tx, [made.id])
        assert credentials.get(tx, "data", Reach("owner")).used is not None
        credentials.put(tx, made, b"again")
        again = credentials.get(tx, "data", Reach("owner"))
        assert (again.created, again.used) == (made.created, None)
        assert credentials.sealed(tx, made) == b"again"
        assert not credentials.reseal(tx, made, b"an older one", b"new")
        assert credentials.reseal(tx, made, b"again", b"new")
        credentials.remove(tx, made)
        assert credentials.every(tx) == []
