"""Who may do what: open mode on loopback, tokens and their scopes, other people's jobs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import update

from broker.access.tokens import generate
from broker.api.app import create_app
from broker.errors import SetupError
from broker.settings import Api, Settings
from broker.store import tokens
from broker.store.database import Database, new_id
from broker.store.tables import tokens as table
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server

PUBLIC = {"/", "/conformance", "/api", "/health/live", "/health/ready", "/login"}
TOLD = "/notices/x/x"  # platforms tell there, and are never told anything
LOGINS = {"/login/callback", "/login/{issuer}"}  # the way of a browser that has no token yet


def token(database: Database, *scopes: str, owner: str = "alice") -> dict[str, str]:
    """A header with a new token."""
    secret, digest = generate()
    with database.write() as tx:
        tokens.add(tx, new_id(), digest, owner, "project", "test", scopes, None)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def closed(lone: Server) -> Server:
    """An API that has seen that there are tokens."""
    token(lone.database, "read")
    lone.site.gate.forget()
    return lone


def routes() -> list[tuple[str, str]]:
    """(method, path) of every route, with something in the place of its parameters."""
    app: FastAPI = create_app(Settings())
    found = []
    for part in app.state.classes:
        for route in part.router.routes:
            assert isinstance(route, APIRoute)
            if route.path in LOGINS:
                continue
            path = route.path.replace("{path:path}", "x")
            for name in route.param_convertors:
                path = path.replace("{" + name + "}", "x")
            found += [(method, path) for method in sorted(route.methods or ())]
    return found


def test_every_route_but_the_public_ones_needs_a_token(closed: Server) -> None:
    seen = routes()
    assert len(seen) > 30
    for method, path in seen:
        answer = closed.request(method, path)
        if path in PUBLIC:
            assert answer.status_code == 200, path
        elif path == TOLD:
            assert (answer.status_code, answer.content) == (204, b"")
        elif method == "HEAD":
            assert answer.status_code == 401, path
        else:
            valid_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_without_scopes_opens_nothing(closed: Server) -> None:
    headers = token(closed.database)
    for method, path in routes():
        if path not in {*PUBLIC, TOLD}:
            assert closed.request(method, path, headers=headers).status_code == 403, (method, path)


def test_scopes(closed: Server) -> None:
    closed.platform()
    read, run, deploy = (token(closed.database, *s) for s in (["read"], ["read", "run"], ["read", "deploy"]))
    valid_problem(closed.deploy(**read), 403)
    valid_problem(closed.deploy(**run), 403)
    assert closed.deploy(**deploy).status_code == 201
    body: dict[str, Any] = {"json": {"inputs": {"text": "x"}}}
    prefer = {"Prefer": "respond-async"}
    for given in (read, deploy):
        for path in ("execution", "check"):
            valid_problem(closed.post(f"/processes/say/{path}", **body, headers=prefer | given), 403)
    made = closed.post("/processes/say/execution", **body, headers=prefer | run)
    assert made.status_code == 201
    job = made.json()["jobID"]
    assert closed.get(f"/jobs/{job}", headers=read).status_code == 200
    valid_problem(closed.delete(f"/jobs/{job}", headers=read), 403)
    valid_problem(closed.delete(f"/jobs/{job}", headers=deploy), 403)
    valid_problem(closed.post("/uploads", data=b"x", headers=deploy), 403)
    assert closed.delete(f"/jobs/{job}", headers=run).status_code == 200


def test_other_peoples_jobs_do_not_exist(closed: Server) -> None:
    closed.platform()
    alice = token(closed.database, "read", "run", "deploy")
    bob = token(closed.database, "read", "run", owner="bob")
    admin = token(closed.database, "read", "run", "admin", owner="root")
    closed.deploy(**alice)
    body = {"inputs": {"text": "x"}}
    headers = {"Prefer": "respond-async"} | alice
    job = closed.post("/processes/say/execution", json=body, headers=headers).json()["jobID"]
    for path in ("", "/results", "/logs", "/steps", "/events", "/inputs", "/files", "/files/x", "/logs?f=sse"):
        valid_problem(closed.get(f"/jobs/{job}{path}", headers=bob), 404)
    valid_problem(closed.delete(f"/jobs/{job}", headers=bob), 404)
    assert closed.get("/jobs", headers=bob).json()["jobs"] == []
    assert len(closed.get("/jobs", headers=admin).json()["jobs"]) == 1
    upload = closed.post("/uploads", data=b"x", headers=alice | {"Content-Type": "a/b"}).json()["href"]
    for method in ("GET", "DELETE"):
        valid_problem(closed.request(method, upload, headers=bob), 404)
    stolen = {"inputs": {"text": "x", "scene": {"href": upload}}}
    valid_problem(closed.post("/processes/say/execution", json=stolen, headers=bob), 404)


@pytest.mark.parametrize("given", ["Bearer eb_wrong", "Bearer nothing", "Basic YTpi", "eb_x", "Bearer", "Bearer \xff"])
def test_tokens_that_are_none(closed: Server, given: str) -> None:
    answer = closed.get("/jobs", headers={"Authorization": given.encode("latin1")})
    valid_problem(answer, 401)
    assert "eb_wrong" not in answer.text


def test_expired_and_revoked_tokens(closed: Server) -> None:
    expired = token(closed.database, "read", owner="dora")
    with closed.database.write() as tx:
        tx.execute(update(table).where(table.c.owner == "dora").values(expires=1.0))
    valid_problem(closed.get("/jobs", headers=expired), 401)
    with closed.database.write() as tx:
        for one in tokens.every(tx):
            tokens.revoke(tx, one.id)
    closed.site.gate.forget()
    assert closed.get("/jobs").status_code == 200, "no token is left, and it is a loopback address"


def test_use_of_a_token_is_noted(closed: Server) -> None:
    headers = token(closed.database, "read", owner="carol")
    assert closed.get("/jobs", headers=headers).status_code == 200
    with closed.database.read() as tx:
        assert [one.last_used is not None for one in tokens.every(tx) if one.owner == "carol"] == [True]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8080"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
)
def test_web_pages_do_not_reach_an_open_broker(still: Server, headers: dict[str, str], status: int) -> None:
    assert still.get("/jobs", headers=headers).status_code == status


def test_an_open_broker_does_not_serve_others(sqlite_url: str, tmp_path: Any) -> None:
    settings = Settings(
        state=tmp_path, database_url=sqlite_url, api=Api(host="0.0.0.0"), redis_url="redis://127.0.0.1:1"
    )
    app = create_app(settings)

    async def start() -> None:
        async with app.router.lifespan_context(app):
            raise AssertionError("it started")

    with pytest.raises(SetupError, match="without tokens"):
        asyncio.run(start())


def test_it_serves_others_once_there_is_a_token(with_settings: MakeServer, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    headers = token(database, "read")
    database.close()
    server = with_settings(host="0.0.0.0")
    assert server.get("/jobs", headers=headers).status_code == 200
    with server.database.write() as tx:
        for one in tokens.every(tx):
            tokens.revoke(tx, one.id)
    server.site.gate.forget()
    valid_problem(server.get("/jobs"), 401)
