"""Projects, members and invitations: who may change what, and what never happens, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from broker.access.principal import Part, Principal, Reach, Scope
from broker.access.tokens import generate
from broker.errors import (
    BrokerError,
    Forbidden,
    InputError,
    NoSuchInvitation,
    NoSuchProject,
    ProjectConflict,
    QuotaExceeded,
)
from broker.execution import projects as verbs
from broker.execution import sharing
from broker.store import audit, invitations, people, projects, tokens
from broker.store.account_tables import invitations as table
from broker.store.database import Database, new_id
from broker.store.tables import now
from tests.unit.store.rows import job_row, process_row

PEOPLE = frozenset({Scope.READ, Scope.RUN, Scope.DEPLOY})


def person(name: str, **fields: Any) -> Principal:
    return Principal(name, fields.pop("project", name), fields.pop("scopes", PEOPLE), **fields)


ALICE, BOB, CAROL = person("alice"), person("bob"), person("carol")
OPERATOR = person("root", scopes=frozenset(Scope))


@pytest.fixture
def water(database: Database) -> str:
    """A project of alice's."""
    return verbs.create(database, ALICE, "water", "Water quality").id


def joined(database: Database, principal: Principal, part: Part, project: str = "water") -> None:
    _, code = verbs.invite(database, ALICE, project, part)
    verbs.accept(database, principal, code)


def parts(database: Database, project: str = "water") -> dict[str, str]:
    with database.read() as tx:
        return {one.person: one.part.value for one in projects.members_of(tx, project)}


def actions(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as tx:
        assert audit.verify(tx) is None
        return [(row["actor"], row["action"], row["subject"]) for row in audit.page(tx)]


def test_a_project_from_its_making_to_its_end(database: Database, water: str) -> None:
    assert parts(database) == {"alice": "maintainer"}
    joined(database, BOB, Part.MEMBER)
    verbs.change_part(database, ALICE, water, "bob", Part.MAINTAINER)
    assert verbs.rename(database, BOB, water, " Clear water ").title == "Clear water"
    verbs.take_out(database, ALICE, water, "alice")
    assert parts(database) == {"bob": "maintainer"}
    verbs.remove(database, BOB, water)
    with database.read() as tx, pytest.raises(NoSuchProject):
        projects.get(tx, water, Reach("bob", everything=True))
    assert actions(database) == [
        (who, what, "project/water")
        for who, what in [
            ("alice", "create-project"),
            ("alice", "invite"),
            ("bob", "accept-invitation"),
            ("alice", "change-part"),
            ("bob", "rename-project"),
            ("alice", "leave-project"),
            ("bob", "delete-project"),
        ]
    ]


def test_other_peoples_projects_do_not_exist(database: Database, water: str) -> None:
    for attempt in (
        lambda: verbs.rename(database, BOB, water, "Mine"),
        lambda: verbs.remove(database, BOB, water),
        lambda: verbs.change_part(database, BOB, water, "bob", Part.MAINTAINER),
        lambda: verbs.take_out(database, BOB, water, "alice"),
        lambda: verbs.take_out(database, BOB, water, "bob"),
        lambda: verbs.invite(database, BOB, water, Part.MEMBER),
        lambda: verbs.revoke(database, BOB, water, "x"),
    ):
        with pytest.raises(NoSuchProject, match="'water'"):
            attempt()
    with database.read() as tx:
        assert projects.page(tx, "bob", "bob", limit=9) == []
        assert [one.part for one in projects.page(tx, None, "bob", limit=9)] == [None]
    assert len(actions(database)) == 1


@pytest.mark.parametrize("part", [Part.VIEWER, Part.MEMBER])
def test_only_maintainers_change_a_project(database: Database, water: str, part: Part) -> None:
    joined(database, BOB, part)
    joined(database, CAROL, Part.VIEWER)
    for attempt in (
        lambda: verbs.rename(database, BOB, water, "Mine"),
        lambda: verbs.remove(database, BOB, water),
        lambda: verbs.change_part(database, BOB, water, "bob", Part.MAINTAINER),
        lambda: verbs.take_out(database, BOB, water, "carol"),
        lambda: verbs.invite(database, BOB, water, Part.MEMBER),
    ):
        with pytest.raises(Forbidden):
            attempt()
    verbs.take_out(database, BOB, water, "bob")
    assert parts(database) == {"alice": "maintainer", "carol": "viewer"}


def test_an_operator_may_do_all(database: Database, water: str) -> None:
    _, digest = generate()
    with database.write() as tx:
        tokens.add(tx, new_id(), digest, "bob", "bob", "t", ["read"], None)
    verbs.change_part(database, OPERATOR, water, "bob", Part.MAINTAINER)
    verbs.take_out(database, OPERATOR, water, "alice")
    assert parts(database) == {"bob": "maintainer"}
    with pytest.raises(NoSuchProject):
        verbs.change_part(database, OPERATOR, water, "nobody-ever-seen", Part.MEMBER)
    with pytest.raises(NoSuchProject):
        verbs.change_part(database, BOB, water, "alice", Part.MEMBER)
    verbs.remove(database, OPERATOR, water)


def test_a_project_keeps_a_maintainer(database: Database, water: str) -> None:
    joined(database, BOB, Part.MEMBER)
    attempts: list[Callable[[], None]] = [
        lambda: verbs.take_out(database, ALICE, water, "alice"),
        lambda: verbs.change_part(database, ALICE, water, "alice", Part.VIEWER),
        lambda: verbs.take_out(database, OPERATOR, water, "alice"),
    ]
    for attempt in attempts:
        with pytest.raises(ProjectConflict, match="without a maintainer"):
            attempt()
    assert parts(database)["alice"] == "maintainer"


def test_two_maintainers_who_leave_at_once(database: Database, water: str) -> None:
    """The second one counts after the first has gone: they take turns."""
    joined(database, BOB, Part.MAINTAINER)
    said: list[BrokerError] = []

    def leave() -> None:
        try:
            verbs.take_out(database, BOB, water, "bob")
        except BrokerError as error:
            said.append(error)

    second = threading.Thread(target=leave)
    with database.write() as tx:
        projects.lock(tx, water)
        projects.take_out(tx, water, "alice")
        second.start()
        second.join(0.5)
        assert second.is_alive(), "it did not wait"
    second.join(20)
    assert [type(error) for error in said] == [ProjectConflict]
    assert parts(database) == {"bob": "maintainer"}


@pytest.mark.parametrize(
    "wrong", ["", "ab", "Water", "1water", "-water", "water-", "wa--ter", "wa_ter", "wa/ter", "é" * 5, "w" * 41, "a\nb"]
)
def test_ids_are_slugs(database: Database, wrong: str) -> None:
    with pytest.raises(InputError):
        verbs.create(database, ALICE, wrong, "")


def test_an_id_that_means_something_is_taken(database: Database, water: str) -> None:
    """A project of that name would come by what belongs to somebody else."""
    job_row(database, "mallory-victim", project="old-project")
    process_row(database)  # of `local`
    with pytest.raises(InputError):  # also of somebody who has not been here yet
        verbs.create(database, BOB, people.id_of("https://issuer.example", "somebody"), "")
    for taken in (water, "mallory-victim", "old-project", "local"):
        with pytest.raises(ProjectConflict, match="is taken"):
            verbs.create(database, BOB, taken, "")
    assert verbs.create(database, BOB, "free", "").title == "free"


def test_nobody_makes_projects_without_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "MOST_PROJECTS", 1)
    monkeypatch.setattr(verbs, "MOST_INVITATIONS", 1)
    verbs.create(database, ALICE, "one", "")
    with pytest.raises(QuotaExceeded):
        verbs.create(database, ALICE, "two", "")
    verbs.invite(database, ALICE, "one", Part.VIEWER)
    with pytest.raises(QuotaExceeded):
        verbs.invite(database, ALICE, "one", Part.VIEWER)


def test_a_project_goes_when_nothing_lives_in_it(database: Database, water: str) -> None:
    job = job_row(database, "alice", shared="project", shared_with=water)
    running = job_row(database, "alice", project=water)
    with pytest.raises(ProjectConflict, match="1 unfinished jobs, 1 shared jobs"):
        verbs.remove(database, ALICE, water)
    sharing.share(database, ALICE, "job", job.id, "private")
    with pytest.raises(ProjectConflict, match="1 unfinished jobs"):
        verbs.remove(database, ALICE, water)
    assert running.project == water


# ---- invitations


def test_an_invitation_works_once(database: Database, water: str) -> None:
    made, code = verbs.invite(database, ALICE, water, Part.VIEWER, "for the review")
    with database.read() as tx:
        assert code not in str(tx.execute(table.select()).all()), "only its hash is kept"
        assert [one.id for one in invitations.of_project(tx, water)] == [made.id]
    assert verbs.accept(database, BOB, code).part is Part.VIEWER
    with pytest.raises(NoSuchInvitation):
        verbs.accept(database, CAROL, code)
    with database.read() as tx:
        assert invitations.of_project(tx, water) == []


def test_of_two_who_accept_at_once_one_is_too_late(database: Database, water: str) -> None:
    _, code = verbs.invite(database, ALICE, water, Part.MEMBER)
    ready = threading.Barrier(4)
    found: list[str] = []

    def accept(name: str) -> None:
        ready.wait()
        try:
            verbs.accept(database, person(name), code)
        except NoSuchInvitation:
            return
        found.append(name)

    racing = [threading.Thread(target=accept, args=(f"racer{i}",)) for i in range(4)]
    for one in racing:
        one.start()
    for one in racing:
        one.join(20)
    assert len(found) == 1
    assert parts(database) == {"alice": "maintainer", found[0]: "member"}


def _expire(database: Database, code: str, made: invitations.Invitation) -> None:
    with database.write() as tx:
        tx.execute(update(table).where(table.c.id == made.id).values(expires=now() - 1))


def _revoke(database: Database, code: str, made: invitations.Invitation) -> None:
    verbs.revoke(database, ALICE, made.project, made.id)


@pytest.mark.parametrize("end", [_expire, _revoke])
def test_an_invitation_that_is_over(
    database: Database, water: str, end: Callable[[Database, str, invitations.Invitation], None]
) -> None:
    made, code = verbs.invite(database, ALICE, water, Part.MEMBER)
    end(database, code, made)
    for wrong in (code, code + "x", made.id, ""):
        with pytest.raises(NoSuchInvitation):
            verbs.accept(database, BOB, wrong)
    with pytest.raises(NoSuchInvitation):
        verbs.revoke(database, ALICE, water, made.id)


def test_members_only_rise_by_an_invitation(database: Database, water: str) -> None:
    joined(database, BOB, Part.MEMBER)
    _, lower = verbs.invite(database, ALICE, water, Part.VIEWER)
    with pytest.raises(ProjectConflict):
        verbs.accept(database, BOB, lower)
    assert verbs.accept(database, CAROL, lower).part is Part.VIEWER, "it was not used up"
    joined(database, BOB, Part.MAINTAINER)
    assert parts(database)["bob"] == "maintainer"


@pytest.mark.parametrize("removed", [True, False])
def test_who_maintains_no_more_has_left_no_way_back(database: Database, water: str, removed: bool) -> None:
    joined(database, BOB, Part.MAINTAINER)
    _, code = verbs.invite(database, BOB, water, Part.MAINTAINER)
    if removed:
        verbs.take_out(database, ALICE, water, "bob")
    else:
        verbs.change_part(database, ALICE, water, "bob", Part.VIEWER)
    with pytest.raises(NoSuchInvitation):
        verbs.accept(database, BOB, code)


@pytest.mark.parametrize("days", [0, -1, 91, 1e9, float("nan"), float("inf")])
def test_an_invitation_has_an_end(database: Database, water: str, days: float) -> None:
    with pytest.raises(InputError):
        verbs.invite(database, ALICE, water, Part.MEMBER, days=days)


def test_a_platform_that_acts_for_somebody_does_not_change_projects(database: Database, water: str) -> None:
    through = person("alice", delegate="portal")
    made, code = verbs.invite(database, ALICE, water, Part.MEMBER)
    for attempt in (
        lambda: verbs.create(database, through, "another", ""),
        lambda: verbs.invite(database, through, water, Part.MAINTAINER),
        lambda: verbs.change_part(database, through, water, "bob", Part.MEMBER),
        lambda: verbs.take_out(database, through, water, "bob"),
        lambda: verbs.rename(database, through, water, "x"),
        lambda: verbs.revoke(database, through, water, made.id),
        lambda: verbs.accept(database, person("bob", delegate="portal"), code),
        lambda: verbs.remove(database, through, water),
    ):
        with pytest.raises(Forbidden, match="portal"):
            attempt()
    bound = person("alice", project="fire")  # a token that is for another project
    for attempt in (
        lambda: verbs.create(database, bound, "another", ""),
        lambda: verbs.invite(database, bound, water, Part.MAINTAINER),
        lambda: verbs.accept(database, person("bob", project="fire"), code),
    ):
        with pytest.raises(Forbidden, match="fire only"):
            attempt()
    assert verbs.rename(database, person("alice", project=water), water, "x").title == "x"
    reader = person("alice", scopes=frozenset({Scope.READ}))
    with pytest.raises(Forbidden, match="scope"):
        verbs.rename(database, reader, water, "x")
