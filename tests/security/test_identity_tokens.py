"""Tokens that people make for themselves: no more, no longer and nobody else's than what made them."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert

from broker.access.tokens import generate
from broker.store import tokens
from broker.store.account_tables import members
from broker.store.database import new_id
from broker.store.tables import now
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.security.identity import Known

pytestmark = pytest.mark.xdist_group("identity-tokens")  # one API for all of them


def make(known: Known, maker: str, **body: Any) -> dict[str, Any]:
    answer = known.request("POST", "/tokens", maker, json={"name": "test", **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


def status(known: Known, secret: str) -> int:
    known.server.site.gate.forget()
    return known.get("/me", secret).status_code


def test_made_used_listed_and_revoked(known: Known) -> None:
    ada = known.idp.token("ada")
    made = make(known, ada, scopes=["read"], days=1)
    assert made["secret"].startswith("eb_")
    assert made["owner"] == made["project"] == known.id_of("ada")
    me = known.get("/me", made["secret"]).json()
    assert (me["id"], me["scopes"]) == (made["owner"], ["read"])
    listed = known.get("/tokens", ada)
    assert made["id"] in [one["id"] for one in listed.json()["tokens"]]
    assert made["secret"] not in listed.text
    assert known.request("DELETE", f"/tokens/{made['id']}", ada).status_code == 204
    assert known.get("/me", made["secret"]).status_code == 401, "at once, in the process that was told"
    valid_problem(known.request("DELETE", f"/tokens/{made['id']}", ada), 404)
    for action in ("make-token", "revoke-token"):
        [entry] = [one for one in known.audited(action) if one["subject"] == f"token/{made['id']}"]
        assert entry["actor"] == made["owner"]
        assert made["secret"] not in str(entry)


def test_no_more_scopes_than_the_maker(known: Known) -> None:
    ada = known.idp.token("ada")
    for scopes in (["admin"], ["read", "publish"]):
        answer = known.request("POST", "/tokens", ada, json={"name": "x", "scopes": scopes})
        valid_problem(answer, 403)
    small = make(known, ada, scopes=["read", "run"])["secret"]
    valid_problem(known.request("POST", "/tokens", small, json={"name": "x", "scopes": ["deploy"]}), 403)
    assert make(known, small)["scopes"] == ["read", "run"], "what is not said is what the maker has"
    assert "admin" in make(known, known.idp.token("olga"), scopes=["read", "run", "admin"])["scopes"]


def test_a_token_of_a_token_ends_with_it(known: Known) -> None:
    ada = known.idp.token("ada")
    parent = make(known, ada, days=1)
    child = make(known, parent["secret"], days=90)
    grandchild = make(known, child["secret"], days=90)
    ends = [datetime.fromisoformat(one["expires"]).timestamp() for one in (parent, child, grandchild)]
    assert max(ends) <= ends[0] + 0.01
    assert ends[0] - time.time() < 86_401
    assert known.request("DELETE", f"/tokens/{parent['id']}", ada).status_code == 204
    assert [status(known, one["secret"]) for one in (parent, child, grandchild)] == [401, 401, 401]


def test_other_peoples_tokens_do_not_exist(known: Known) -> None:
    made = make(known, known.idp.token("ada"))
    bob = known.idp.token("bob")
    assert made["id"] not in known.get("/tokens", bob).text
    valid_problem(known.request("DELETE", f"/tokens/{made['id']}", bob), 404)
    assert status(known, made["secret"]) == 200
    olga = known.idp.token("olga")
    assert made["id"] in known.get("/tokens", olga).text
    assert known.request("DELETE", f"/tokens/{made['id']}", olga).status_code == 204
    assert status(known, made["secret"]) == 401


def test_a_project_needs_that_one_works_in_it(known: Known) -> None:
    ada = known.id_of("ada")
    token = known.idp.token("ada")
    valid_problem(known.request("POST", "/tokens", token, json={"name": "x", "project": "others"}), 403)
    for project, part in (("seen", "viewer"), ("worked-in", "member")):
        with known.server.database.write() as tx:
            tx.execute(insert(members).values(project=project, person=ada, part=part, since=now()))
    valid_problem(known.request("POST", "/tokens", token, json={"name": "x", "project": "seen"}), 403)
    made = make(known, token, project="worked-in")
    assert known.get("/me", made["secret"]).json()["project"] == "worked-in"
    answer = known.request("POST", "/tokens", made["secret"], json={"name": "x", "project": ada})
    valid_problem(answer, 403)
    assert make(known, made["secret"])["project"] == "worked-in"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"name": 7},
        {"name": "x", "scopes": "read"},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": []},
        {"name": "x", "days": 0},
        {"name": "x", "days": -1},
        {"name": "x", "days": 10_000},
        {"name": "x", "days": True},
        {"name": "x", "days": "1"},
        {"name": "x", "project": 7},
        {"name": "x", "owner": "somebody"},
    ],
)
def test_bodies_that_are_wrong(known: Known, body: dict[str, Any]) -> None:
    valid_problem(known.request("POST", "/tokens", known.idp.token("ada"), json=body), 400)


def test_in_open_mode_no_token_is_made_by_the_api(with_settings: MakeServer) -> None:
    """The first token closes the broker: a program that finds an open one must not lock everybody out."""
    server = with_settings()
    valid_problem(server.post("/tokens", json={"name": "x"}), 403)
    with server.database.read() as tx:
        assert tokens.every(tx) == []


def test_with_an_issuer_there_is_no_open_mode(with_settings: MakeServer) -> None:
    issuer = {"url": "https://login.example.org", "audience": ["urn:broker"]}
    server = with_settings(access={"issuers": {"test": issuer}})
    with server.database.read() as tx:
        assert not tokens.any_valid(tx)
    assert server.site.broker.shared()
    for path in ("/jobs", "/me", "/tokens"):
        valid_problem(server.get(path), 401)


def test_a_token_of_somebody_whom_the_operator_knows(known: Known) -> None:
    """Tokens made on the machine keep working beside issuers, under the owner that was named."""
    secret, digest = generate()
    with known.server.database.write() as tx:
        tokens.add(tx, new_id(), digest, "robot", "harvest", "robot", ["read"], None)
    me = known.get("/me", secret).json()
    assert (me["id"], me["project"], me["scopes"]) == ("robot", "harvest", ["read"])
