"""Sharing: who shares what with whom, and what the others may do then, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from broker.access.principal import Part, Principal, Scope
from broker.errors import BrokerError, Forbidden, ImmutableProcess, InputError, Missing, NoSuchProject
from broker.execution import projects as verbs
from broker.execution.sharing import share
from broker.store import audit, jobs, processes, projects, sharing, uploads
from broker.store.database import Database, new_id
from broker.store.sharing import Kind
from tests.unit.execution.test_projects import ALICE, BOB, CAROL, OPERATOR, joined, person
from tests.unit.store.rows import job_row, process_row

KINDS: list[Kind] = ["process", "job", "upload"]


@pytest.fixture
def water(database: Database) -> str:
    """A project of alice's: bob is a member, carol a viewer."""
    verbs.create(database, ALICE, "water", "")
    joined(database, BOB, Part.MEMBER)
    joined(database, CAROL, Part.VIEWER)
    return "water"


def row(database: Database, kind: Kind, owner: str = "alice") -> str:
    """The id of a new row of somebody's."""
    if kind == "job":
        return job_row(database, owner).id
    if kind == "process":
        return process_row(database, f"by-{owner}", owner=owner).id
    with database.write() as tx:
        made = uploads.open_upload(tx, new_id(), owner, owner, "x.tif", "image/tiff", 1, 60.0, 10)
        return made.id


def sees(database: Database, who: Principal, kind: Kind, row_id: str) -> str:
    """nothing | sees | changes."""
    with database.read() as tx:
        try:
            sharing.get(tx, kind, row_id, who.reach)
        except Missing:
            return "nothing"
        try:
            sharing.get_to_change(tx, kind, row_id, who.reach)
        except Forbidden:
            return "sees"
        return "changes"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shared_with_a_project_is_its_members_until_it_is_taken_back(
    database: Database, water: str, kind: Kind
) -> None:
    mine = row(database, kind, "bob")
    people = [ALICE, BOB, CAROL, person("mallory"), OPERATOR]

    def view() -> list[str]:
        return [sees(database, who, kind, mine) for who in people]

    assert view() == ["nothing", "changes", "nothing", "nothing", "changes"]
    assert share(database, BOB, kind, mine, "project", water) == sharing.Sharing("bob", "project", water)
    assert view() == ["changes", "changes", "sees", "nothing", "changes"]
    with pytest.raises(Forbidden):
        share(database, CAROL, kind, mine, "public")
    share(database, ALICE, kind, mine, "private")  # its maintainer takes it out
    assert view() == ["nothing", "changes", "nothing", "nothing", "changes"]
    share(database, BOB, kind, mine, "public")
    assert view() == ["sees", "changes", "sees", "sees", "changes"]
    with database.read() as tx:
        done = [
            (one["actor"], one["subject"], one["data"]) for one in audit.page(tx, limit=100) if one["action"] == "share"
        ]
    assert done == [
        ("bob", f"{kind}/{mine}", {"shared": "project", "with": "water"}),
        ("alice", f"{kind}/{mine}", {"shared": "private"}),
        ("bob", f"{kind}/{mine}", {"shared": "public"}),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_may_share(database: Database, water: str, kind: Kind) -> None:
    verbs.create(database, person("mallory"), "lair", "")
    mine, carols = row(database, kind, "alice"), row(database, kind, "carol")
    attempts: list[tuple[Principal, str, str, str | None, type[BrokerError]]] = [
        (person("mallory"), mine, "project", "lair", Missing),  # what one does not see
        (person("mallory"), mine, "public", None, Missing),
        (ALICE, mine, "project", "lair", NoSuchProject),  # with other people's projects
        (ALICE, mine, "project", "nowhere", NoSuchProject),
        (OPERATOR, mine, "project", "nowhere", NoSuchProject),
        (CAROL, carols, "project", water, Forbidden),  # as a viewer
        (ALICE, mine, "project", None, InputError),
        (ALICE, mine, "public", water, InputError),
        (ALICE, mine, "private", water, InputError),
        (ALICE, mine, "everybody", None, InputError),
        (person("alice", scopes=frozenset({Scope.READ})), mine, "public", None, Forbidden),
        (person("alice", delegate="portal"), mine, "public", None, Forbidden),
        (person("alice", delegate="portal"), mine, "project", water, Forbidden),
        (person("alice", project="fire"), mine, "project", water, Forbidden),  # a token that is for another project
    ]
    for who, what, shared, project, error in attempts:
        with pytest.raises(error):
            share(database, who, kind, what, shared, project)
    for what in (mine, carols):
        assert sees(database, BOB, kind, what) == "nothing"
    through = person("alice", delegate="portal", project=water)
    assert share(database, through, kind, mine, "project", water).project == water


def test_sharing_does_not_change_at_whose_expense_a_job_ran(database: Database, water: str) -> None:
    job = row(database, "job")
    share(database, ALICE, "job", job, "project", water)
    with database.read() as tx:
        assert jobs.get(tx, job).project == "alice"


def test_all_revisions_of_a_process_and_only_ones_own(database: Database, water: str) -> None:
    """The id may have been somebody else's before: their revisions are not the next owner's to share."""
    process_row(database, "p", owner="mallory", body=b"theirs")
    with database.write() as tx:
        processes.remove(tx, "p", person("mallory").reach)
    first = process_row(database, "p", owner="alice", version="1")
    with database.write() as tx:
        processes.replace(tx, _again(first), ALICE.reach)
    share(database, ALICE, "process", "p", "project", water)
    seen = []
    for revision in (1, 2, 3):
        with database.read() as tx:
            try:
                seen.append(processes.get(tx, "p", revision, reach=BOB.reach).revision)
            except Missing:
                continue
    assert seen == [2, 3]
    with database.write() as tx:
        assert processes.replace(tx, _again(first), ALICE.reach).shared_with == water


def _again(process: processes.Process) -> processes.NewProcess:
    known: dict[str, Any] = {
        name: getattr(process, name) for name in processes.NewProcess.__dataclass_fields__ if hasattr(process, name)
    }
    return processes.NewProcess(**known, body=b"again")


def test_a_built_in_process_is_everybodys_and_stays_so(database: Database) -> None:
    process_row(database, "echo", owner="system", mutable=False, shared="public")
    with pytest.raises(ImmutableProcess):
        share(database, OPERATOR, "process", "echo", "private")


def test_a_new_project_of_an_old_ones_name_comes_by_nothing(database: Database, water: str) -> None:
    old = process_row(database, "old", owner="alice")
    share(database, ALICE, "process", "old", "project", water)
    with database.write() as tx:
        processes.remove(tx, old.id, ALICE.reach)
    verbs.remove(database, ALICE, water)
    with database.write() as tx:
        projects.put(tx, water, "mallory", Part.MAINTAINER)  # as if the name had been given again
    with database.read() as tx, pytest.raises(Missing):
        processes.get(tx, "old", 1, reach=person("mallory").reach)


def test_membership_ends_what_one_sees_at_once(database: Database, water: str) -> None:
    job = row(database, "job")
    share(database, ALICE, "job", job, "project", water)
    assert sees(database, BOB, "job", job) == "sees"
    verbs.take_out(database, ALICE, water, "bob")
    assert sees(database, BOB, "job", job) == "nothing"
