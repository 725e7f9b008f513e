"""For whom a request is: platforms that act for people within what the operator allowed, and people in projects."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, update

from broker.access.configuration import Access
from broker.access.tokens import generate
from broker.store import audit, people, tokens
from broker.store.account_tables import members
from broker.store.database import new_id
from broker.store.tables import now, processes
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.peers.oidc import CLI, OTHER, PORTAL
from tests.security.identity import Known

pytestmark = pytest.mark.xdist_group("identity-delegation")  # one API for all of them


def join(known: Known, person: str, project: str, part: str = "member") -> None:
    with known.server.database.write() as tx:
        tx.execute(insert(members).values(project=project, person=person, part=part, since=now()))
    known.server.site.gate.forget()


def own_token(known: Known, owner: str, *scopes: str, project: str | None = None) -> str:
    secret, digest = generate()
    with known.server.database.write() as tx:
        tokens.add(tx, new_id(), digest, owner, project or owner, "test", scopes, None)
    return secret


def me(known: Known, token: str, **headers: str) -> dict[str, Any]:
    answer = known.get("/me", token, **headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(known: Known, token: str, said: str, **headers: str) -> None:
    answer = known.get("/me", token, **headers)
    valid_problem(answer, 403)
    assert said in answer.json()["detail"], answer.text
    known.server.site.gate.forget()


FOR = {"Acting-For": "test:ada"}


def test_a_platform_acts_for_a_person_by_client_credentials(known: Known) -> None:
    ada = people.id_of(known.idp.url, "ada")
    found = me(known, known.idp.machine(), **FOR)
    assert (found["id"], found["project"], found["delegate"]) == (ada, ada, "portal")
    assert found["scopes"] == ["read", "run"], "what the operator gave, not what the person has"
    assert me(known, known.idp.machine(), **{"Acting-For": ada})["id"] == ada


def test_what_it_makes_is_the_persons_and_the_audit_names_both(known: Known) -> None:
    known.server.platform()
    operator = known.idp.token("olga")
    body = "cwlVersion: v1.2\nclass: CommandLineTool\nid: mine\nbaseCommand: [echo]\ninputs: {}\noutputs: {}\n"
    headers = {"Content-Type": "application/cwl+yaml"}
    made = known.request("POST", "/processes", operator, data=body, headers=headers)
    assert made.status_code == 201, made.text
    with known.server.database.write() as tx:
        tx.execute(update(processes).values(shared="public"))
    asked = {"Prefer": "respond-async", **FOR}
    job = known.request("POST", "/processes/mine/execution", known.idp.machine(), json={"inputs": {}}, headers=asked)
    assert job.status_code == 201, job.text
    path = f"/jobs/{job.json()['jobID']}"
    assert known.get(path, known.idp.token("ada")).status_code == 200, "it is hers"
    assert known.get(path, known.idp.token("bob")).status_code == 404
    assert known.get(path, known.idp.machine()).status_code == 403, "the platform alone has no role"
    assert known.get(path, known.idp.machine(), **FOR).status_code == 200
    row = known.server.job_row(job.json()["jobID"])
    ada = people.id_of(known.idp.url, "ada")
    assert (row.owner, row.delegate) == (ada, "portal")
    [entry] = [one for one in known.audited("execute") if one["subject"].endswith(job.json()["jobID"])]
    assert (entry["actor"], entry["delegate"]) == (ada, "portal")


def test_people_whom_the_operator_did_not_name(known: Known) -> None:
    token = known.idp.machine()
    bob = known.id_of("bob")
    for person in ("test:bob", bob, "test:Ada", "other:ada", f"p{'a' * 19}", "ada", "test:", ":ada", "*", "test:*b"):
        refused(known, token, "", **{"Acting-For": person})
    said = {known.get("/me", token, **{"Acting-For": one}).json()["detail"] for one in (bob, f"p{'a' * 19}")}
    assert len(said) == 1, "ids of people cannot be tried out"
    entries = [one for one in known.audited("act") if one["subject"] == "person/test:bob"]
    assert entries[0]["outcome"] == "refused"
    assert "may not act" in entries[0]["data"]["why"]


def test_everybody_else_is_refused(known: Known) -> None:
    for token in (known.idp.token("ada"), known.idp.token("olga"), known.idp.machine(OTHER)):
        refused(known, token, "Only platforms", **FOR)
    refused(known, own_token(known, "somebody", "read", "admin"), "Only platforms", **FOR)


def test_a_user_of_the_platform_is_not_the_platform(known: Known) -> None:
    """A token that the platform's client got for one of its users names that client too."""
    refused(known, known.idp.token("eve", client_id=PORTAL), "Only platforms", **FOR)
    refused(known, known.idp.token("eve", client_id=None, azp=PORTAL), "Only platforms", **FOR)
    refused(known, known.idp.token(PORTAL, client_id=CLI), "Only platforms", **FOR)
    assert me(known, known.idp.token(PORTAL, client_id=PORTAL), **FOR)["delegate"] == "portal"


def test_a_platform_known_by_its_token_has_no_more_than_both_allow(known: Known) -> None:
    assert me(known, own_token(known, "machine", "read", "run"), **FOR)["scopes"] == ["read"]
    valid_problem(known.get("/me", own_token(known, "machine", "run"), **FOR), 403)


def test_projects_need_the_operator_and_the_persons_part(known: Known) -> None:
    ada = known.id_of("ada")
    token = known.idp.machine()
    both = {**FOR, "Acting-Project": "flood-2026"}
    refused(known, token, "in which", **both)
    join(known, ada, "flood-2026", "viewer")
    refused(known, token, "in which", **both)
    join(known, ada, "flood-2027")
    assert me(known, token, **{**FOR, "Acting-Project": "flood-2027"})["project"] == "flood-2027"
    join(known, ada, "fire-2026")
    refused(known, token, "may not act in the project", **{**FOR, "Acting-Project": "fire-2026"})
    assert me(known, token, **{**FOR, "Acting-Project": ada})["project"] == ada


def test_a_person_acts_in_projects_where_they_work(known: Known) -> None:
    zoe = known.idp.token("zoe", roles=["eo-scientist"])
    person = me(known, zoe)["id"]
    for project, part in (("p-member", "member"), ("p-maintainer", "maintainer"), ("p-viewer", "viewer")):
        join(known, person, project, part)
    for project in ("p-member", "p-maintainer", person):
        assert me(known, zoe, **{"Acting-Project": project})["project"] == project
    for project in ("p-viewer", "nowhere", "", "x" * 400):
        answer = known.get("/me", zoe, **{"Acting-Project": project})
        valid_problem(answer, 403)
    answer = known.get("/me", known.idp.token("eve"), **{"Acting-Project": "p-member"})
    valid_problem(answer, 403)


def test_a_token_of_one_project_is_for_no_other(known: Known) -> None:
    person = known.id_of("ada")
    for project in ("one", "two"):
        join(known, person, project)
    token = own_token(known, person, "read", project="one")
    assert me(known, token)["project"] == "one"
    refused(known, token, "only", **{"Acting-Project": "two"})
    refused(known, token, "only", **{"Acting-Project": person})
    with known.server.database.write() as tx:
        tx.execute(members.delete().where(members.c.project == "one"))
    known.server.site.gate.forget()
    answer = known.get("/me", token)
    valid_problem(answer, 403)
    assert "no longer works" in answer.json()["detail"]


def test_a_platform_makes_no_tokens_of_people(known: Known) -> None:
    token = known.idp.machine()
    answer = known.request("POST", "/tokens", token, json={"name": "x", "scopes": ["read"]}, headers=FOR)
    valid_problem(answer, 403)
    assert known.request("DELETE", "/tokens/x", token, headers=FOR).status_code == 403
    assert known.get("/tokens", token, **FOR).status_code == 403


def test_in_open_mode_nobody_acts_for_anybody(with_settings: MakeServer) -> None:
    server = with_settings()
    valid_problem(server.get("/jobs", headers=FOR), 403)
    valid_problem(server.get("/jobs", headers={"Acting-Project": "p"}), 403)
    with server.database.read() as tx:
        assert {row["outcome"] for row in audit.page(tx)} == {"refused"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "test", "client": "x", "scopes": ["admin"]},
        {"issuer": "unknown", "client": "x"},
        {"client": "x"},
        {"issuer": "test"},
        {"issuer": "test", "client": "x", "owner": "y"},
        {"issuer": "test", "owner": "y"},
        {"owner": "y", "people": "*", "surprise": 1},
    ],
)
def test_settings_that_say_too_much_or_too_little(wrong: dict[str, Any]) -> None:
    issuer = {"url": "https://login.example.org", "audience": ["urn:broker"]}
    with pytest.raises(ValueError):
        Access.model_validate({"issuers": {"test": issuer}, "delegates": {"platform": wrong}})
