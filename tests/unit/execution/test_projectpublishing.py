"""What a project publishes with: who sets it, and what cannot be set."""

from __future__ import annotations

from typing import Any

import pytest

from broker.access.principal import Part, Principal, Scope
from broker.errors import Forbidden, InputError, NoSuchProject
from broker.execution import projectpublishing as verbs
from broker.execution import projects as of_projects
from broker.store import audit, projects
from broker.store.database import Database

PEOPLE = frozenset({Scope.READ, Scope.RUN})
ALICE, BOB = (Principal(name, name, PEOPLE) for name in ("alice", "bob"))
OPERATOR = Principal("root", "root", frozenset(Scope))
GIVEN = {"project": "fairsendd", "licence": "MIT", "contacts": [{"name": "Ada", "orcid": "0000-0002-1825-0097"}]}


@pytest.fixture(autouse=True)
def water(database: Database) -> None:
    """A project of alice's, in which bob is a viewer."""
    of_projects.create(database, ALICE, "water", "Water quality")
    with database.write() as tx:
        projects.put(tx, "water", "bob", Part.VIEWER)


def test_maintainers_set_it_and_members_see_it(database: Database) -> None:
    assert verbs.change(database, ALICE, "water", GIVEN).request == GIVEN
    with database.read() as tx:
        assert verbs.shown(tx, BOB, "water").request == GIVEN
        with pytest.raises(NoSuchProject):
            verbs.shown(tx, Principal("carol", "carol", PEOPLE), "water")
        assert [row["action"] for row in audit.page(tx)][-1] == "set-publishing"
    with pytest.raises(Forbidden):
        verbs.change(database, BOB, "water", {})
    with pytest.raises(Forbidden, match="not change projects"):
        verbs.change(database, Principal("alice", "water", PEOPLE, delegate="portal"), "water", {})


def test_only_operators_name_officers_and_only_members(database: Database) -> None:
    with pytest.raises(Forbidden, match="Only operators"):
        verbs.change(database, ALICE, "water", {}, ("alice",))
    with pytest.raises(InputError, match="/officers: no members of the project: carol"):
        verbs.change(database, OPERATOR, "water", {}, ("bob", "carol"))
    assert verbs.change(database, OPERATOR, "water", {}, ("bob", "bob")).officers == ("bob",)
    assert verbs.change(database, ALICE, "water", GIVEN).officers == ("bob",)
    assert verbs.change(database, ALICE, "water", GIVEN, ("bob",)).officers == ("bob",)
    with pytest.raises(Forbidden):
        verbs.change(database, ALICE, "water", GIVEN, ())


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        ({"title": "of each publication"}, "/request/title"),
        ({"themes": "land"}, "/request/themes"),
        ({"contacts": [{"name": "Ada", "orcid": "0000-0002-1825-0098"}]}, "/request/contacts/0/orcid"),
        ({"contract_number": 4000}, "/request/contract_number"),
        ({"licence": ""}, "/request/licence"),
    ],
)
def test_what_cannot_be_set(database: Database, request_: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as refused:
        verbs.change(database, ALICE, "water", request_)
    assert [problem.pointer for problem in refused.value.problems] == [where]
