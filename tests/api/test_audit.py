"""The audit by API: one's own entries, an operator's all; pages, filters, JSON lines that can be checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.access.principal import LOCAL, Principal, Scope
from broker.store import audit
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.api.test_access import token

ALL = tuple(one.value for one in Scope)


@pytest.fixture
def server(lone: Server) -> Server:
    """Entries of alice, bob and a platform that acts for bob."""
    with lone.database.write() as tx:
        for owner, action, delegate in (
            ("alice", "deploy", None),
            ("bob", "execute", "portal"),
            ("alice", "execute", None),
            ("bob", "dismiss", None),
        ):
            who = Principal(owner, f"{owner}s-lab", LOCAL.scopes, "a-token", delegate, "192.0.2.7")
            audit.record(tx, audit.entry(who, action, f"job/{action}", grüße=[1.5, None]))
    return lone


def entries(server: Server, headers: dict[str, str], **filters: Any) -> list[dict[str, Any]]:
    answer = server.get("/audit", headers=headers, params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_everybody_sees_their_own(server: Server) -> None:
    alice, bob = (token(server.database, "read", owner=one) for one in ("alice", "bob"))
    operator = token(server.database, *ALL, owner="root")
    server.site.gate.forget()
    assert [one["action"] for one in entries(server, alice)] == ["deploy", "execute"]
    assert [one["delegate"] for one in entries(server, bob)] == ["portal", None]
    assert [one["actor"] for one in entries(server, operator)] == ["alice", "bob", "alice", "bob"]
    assert entries(server, alice, actor="bob") == []
    assert len(entries(server, alice, actor="alice")) == 2
    assert len(server.get("/audit?f=jsonl&actor=bob", headers=alice).text) == 0


def test_what_an_entry_says(server: Server) -> None:
    operator = token(server.database, *ALL, owner="root")
    server.site.gate.forget()
    first = entries(server, operator, actor="bob")[0]
    assert first.pop("at") > 1_700_000_000
    assert first.pop("time").endswith("Z")
    assert len(first.pop("hash")) == 64
    assert first.pop("id") == 2
    assert first == {
        "actor": "bob",
        "delegate": "portal",
        "project": "bobs-lab",
        "action": "execute",
        "subject": "job/execute",
        "outcome": "done",
        "token": "a-token",
        "address": "192.0.2.7",
        "data": {"grüße": [1.5, None]},
    }


def test_filters_and_pages(server: Server) -> None:
    operator = token(server.database, *ALL, owner="root")
    server.site.gate.forget()
    assert [one["actor"] for one in entries(server, operator, action="execute")] == ["bob", "alice"]
    assert len(entries(server, operator, project="alices-lab")) == 2
    assert len(entries(server, operator, since="2020-01-01")) == 4
    assert entries(server, operator, since="2999-01-01T00:00:00Z") == []
    valid_problem(server.get("/audit?since=yesterday", headers=operator), 400)
    seen = []
    where = f"{server.url}/audit?limit=3"
    while where:
        page = server.get(where, headers=operator).json()
        seen += [one["id"] for one in page["entries"]]
        where = next((one["href"] for one in page["links"] if one["rel"] == "next"), "")
    assert seen == [1, 2, 3, 4]


def test_lines_hold_all_and_can_be_checked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.api.audit.AT_ONCE", 3)
    operator = token(server.database, *ALL, owner="root")
    server.site.gate.forget()
    answer = server.get("/audit?f=jsonl", headers=operator)
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row.pop("time")[:2] for row in rows] == ["20"] * 4
    assert audit.first_wrong(rows) is None
    for change in ({"actor": "alice"}, {"at": 1.0}, {"data": None}, {"address": "10.0.0.1"}):
        assert audit.first_wrong([rows[0], rows[1] | change, *rows[2:]]) == 2
    assert audit.first_wrong([rows[0], *rows[2:]]) == 3, "one was taken out"
    assert len(server.get("/audit?f=jsonl&limit=2", headers=operator).text.splitlines()) == 2
    assert len(server.get("/audit?f=jsonl&after=3", headers=operator).text.splitlines()) == 1


def test_open_mode_has_it_too(with_settings: MakeServer) -> None:
    server = with_settings()
    server.ready()
    assert [(one["actor"], one["action"]) for one in entries(server, {})] == [("local", "deploy")]
