"""Refused requests are in the audit: soon, with who and why, and a flood of them in a few rows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.access.principal import LOCAL, Scope
from broker.api import refusals
from broker.api.refusals import NOBODY, Refusals
from broker.api.rows import Rows
from broker.errors import StorageError
from broker.execution.quotas import Ledger
from broker.settings import Rate
from broker.store import audit
from broker.store.audit import Filter
from broker.store.database import Database
from tests.api.conftest import MakeServer
from tests.api.server import Server
from tests.api.test_access import token
from tests.peers.broker import wait_for

REQUESTS = Filter(action="request")
GARBAGE = {"Authorization": "Bearer eb_garbage"}


def written(database: Database) -> list[dict[str, Any]]:
    with database.read() as tx:
        return audit.page(tx, wanted=REQUESTS)


def test_who_was_refused_what_and_why(api: Server) -> None:
    """Seen red: without `refusals.add` in `Boundary`."""
    alice = token(api.database, "read")
    api.site.gate.forget()
    assert api.get("/jobs", headers=GARBAGE).status_code == 401
    assert api.get("/jobs/some", headers=GARBAGE).status_code == 401
    assert api.get("/jobs/other", headers=GARBAGE).status_code == 401
    assert api.put("/quotas/person/alice", headers=alice, json={}).status_code == 403
    wait_for(lambda: bool(written(api.database)), 10, lambda: "nothing was written")
    rows = {(row["subject"], row["actor"]): row for row in written(api.database)}
    assert set(rows) == {
        ("GET /jobs", NOBODY),
        ("GET /jobs/{job_id}", NOBODY),
        ("PUT /quotas/{kind}/{subject}", "alice"),
    }
    one = rows["GET /jobs/{job_id}", NOBODY]
    assert (one["outcome"], one["address"]) == ("refused", "127.0.0.1")
    assert {name: one["data"][name] for name in ("status", "reason", "times", "path")} == {
        "status": 401,
        "reason": "unauthenticated",
        "times": 2,
        "path": "/jobs/some",
    }
    refused = rows["PUT /quotas/{kind}/{subject}", "alice"]
    assert (refused["data"]["status"], refused["data"]["reason"]) == (403, "forbidden")
    assert refused["token"]
    with api.database.read() as tx:
        assert audit.verify(tx) is None


def test_too_many_requests_are_there_too_and_what_stops_writes_the_last(with_settings: MakeServer) -> None:
    server = with_settings(rate=Rate(requests=1))
    alice = token(server.database, "read")
    server.site.gate.forget()
    while server.get("/jobs", headers=alice).status_code != 429:
        pass
    asyncio.run(server.site.refusals.write())
    (row,) = written(server.database)
    assert (row["actor"], row["data"]["status"], row["data"]["reason"]) == ("alice", 429, "too-many-requests")


def test_an_operator_sees_them_and_others_see_their_own(lone: Server) -> None:
    alice, root = token(lone.database, "read"), token(lone.database, *(one.value for one in Scope), owner="root")
    lone.site.gate.forget()
    lone.get("/jobs", headers=GARBAGE)
    lone.get("/quotas", headers=alice)
    asyncio.run(lone.site.refusals.write())

    def subjects(headers: dict[str, str], **filters: str) -> list[str]:
        answer = lone.get("/audit", headers=headers, params={"action": "request", **filters})
        return [one["subject"] for one in answer.json()["entries"]]

    assert subjects(root) == ["GET /jobs", "GET /quotas"]
    assert subjects(alice) == ["GET /quotas"]
    assert subjects(alice, actor=NOBODY) == []


@pytest.fixture
def counted(database: Database) -> Refusals:
    return Refusals(Rows(database, Ledger(database)))


def scope(address: str, path: str = "/x") -> dict[str, Any]:
    return {"method": "GET", "path": path, "client": (address, 1), "state": {"principal": LOCAL}}


def test_a_flood_from_many_addresses_is_a_few_rows(counted: Refusals, database: Database) -> None:
    """Seen red: without MOST."""
    for number in range(5000):
        counted.add(scope(f"192.0.2.{number}", "/" + "x" * 10_000), 401)
    asyncio.run(counted.write())
    rows = written(database)
    assert len(rows) == refusals.MOST + 1
    assert sum(row["data"]["times"] for row in rows) == 5000
    assert max(len(row["data"]["path"]) for row in rows) == refusals.LONGEST


def test_without_the_database_they_wait_bounded(
    counted: Refusals, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StorageError("The database does not answer.")

    counted.add(scope("192.0.2.1"), 403)
    with monkeypatch.context() as without:
        without.setattr(counted, "_record", gone)
        asyncio.run(counted.write())
    counted.add(scope("192.0.2.1"), 403)
    asyncio.run(counted.write())
    assert [row["data"]["times"] for row in written(database)] == [2]
