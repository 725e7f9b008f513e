"""Who may use which route: every route and method of the app, asked by everybody, also by those who may not.

A route that is not in TABLE fails here: say who may use it. What others own is 404, as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from broker.api.app import create_app
from broker.api.browsers import csrf_of
from broker.api.publishfields import fields_of
from broker.jobs.publication import State
from broker.settings import Settings
from tests.api import experiments
from tests.api.conftest import Around
from tests.api.server import TOOL
from tests.peers.osc import offered
from tests.security.people import impostors, issuer_peer
from tests.security.siege import Raw, head
from tests.security.world import World
from tests.unit.results.samples import a_request

YES, NO, HIDDEN = "let in", 403, 404


@dataclass(frozen=True)
class May:
    """What each gets. `viewer`: alice's own token that may only read; `other`: bob, with every scope but admin."""

    viewer: str | int
    other: str | int
    owner: str | int = YES
    operator: str | int = YES


LOOK = May(YES, YES)  # lists show each their own; what is everybody's
MAKE = May(NO, YES)  # each for themselves
READ = May(YES, HIDDEN)
CHANGE = May(NO, HIDDEN)
OWN = May(NO, YES, operator=YES)  # by a name that each has for themselves
AGREE = May(NO, HIDDEN, NO)  # not oneself
OPERATE = May(NO, NO, NO, YES)
PUBLIC = None
TABLE: dict[str, May | None] = {
    "GET /": PUBLIC,
    "GET /conformance": PUBLIC,
    "GET /api": PUBLIC,
    "GET /health/live": PUBLIC,
    "GET /health/ready": PUBLIC,
    "GET /static/{name:path}": PUBLIC,
    "GET /login": PUBLIC,
    "GET /login/{issuer}": PUBLIC,
    "GET /login/callback": PUBLIC,
    "POST /logout": PUBLIC,
    "GET /me": LOOK,
    "GET /audit": LOOK,
    "POST /notices/{job_id}/{token}": PUBLIC,
    "GET /platforms": LOOK,
    "GET /platforms/{name}": LOOK,
    "POST /platforms": OPERATE,
    "DELETE /platforms/{name}": OPERATE,
    "POST /platforms/{name}": OPERATE,
    "PUT /platforms/{name}/paused": OPERATE,
    "POST /platforms/{name}/check": OPERATE,
    "GET /processes/{process_id}/platforms": READ,
    "GET /processes": LOOK,
    "POST /processes": MAKE,
    "POST /check": MAKE,
    "GET /deploy": LOOK,
    "POST /deploy": MAKE,
    "GET /processes/{process_id}": READ,
    "PUT /processes/{process_id}": CHANGE,
    "POST /processes/{process_id}": CHANGE,
    "DELETE /processes/{process_id}": CHANGE,
    "GET /processes/{process_id}/package": READ,
    "GET /processes/{process_id}/api": READ,
    "POST /processes/{process_id}/execution": CHANGE,
    "POST /processes/{process_id}/check": CHANGE,
    "POST /processes/{process_id}/estimate": CHANGE,
    "GET /processes/{process_id}/sharing": READ,
    "PUT /processes/{process_id}/sharing": CHANGE,
    "POST /processes/{process_id}/sharing": CHANGE,
    "GET /jobs": LOOK,
    "GET /jobs/{job_id}": READ,
    "DELETE /jobs/{job_id}": CHANGE,
    "POST /jobs/{job_id}": CHANGE,
    "GET /jobs/{job_id}/results": READ,
    "DELETE /jobs/{job_id}/results": CHANGE,
    "GET /jobs/{job_id}/results/{output}": READ,
    "GET /jobs/{job_id}/logs": READ,
    "GET /jobs/{job_id}/steps": READ,
    "GET /jobs/{job_id}/events": READ,
    "GET /jobs/{job_id}/inputs": READ,
    "GET /jobs/{job_id}/files": READ,
    "GET /jobs/{job_id}/files/{path:path}": READ,
    "GET /jobs/{job_id}/sharing": READ,
    "PUT /jobs/{job_id}/sharing": CHANGE,
    "POST /jobs/{job_id}/sharing": CHANGE,
    "GET /jobs/{job_id}/callbacks": READ,
    "GET /jobs/{job_id}/prov": READ,
    "GET /jobs/{job_id}/crate": READ,
    "POST /jobs/{job_id}/callbacks": CHANGE,
    "GET /jobs/{job_id}/comparison": READ,
    "GET /jobs/{job_id}/comparisons": READ,
    "POST /jobs/{job_id}/comparisons": CHANGE,
    "POST /jobs/{job_id}/comparison": CHANGE,
    "DELETE /jobs/{job_id}/comparison": CHANGE,
    "POST /jobs/{job_id}/publications": CHANGE,
    "POST /jobs/{job_id}/publications/bundle": CHANGE,
    "GET /publications": LOOK,
    "GET /jobs/{job_id}/publications/new": CHANGE,
    "POST /jobs/{job_id}/publications/new": CHANGE,
    "POST /publications/{publication_id}": CHANGE,
    "POST /publications": MAKE,
    "GET /publications/{publication_id}": READ,
    "DELETE /publications/{publication_id}": CHANGE,
    "GET /publications/{publication_id}/diff": READ,
    "GET /publications/{publication_id}/bundle": READ,
    "POST /publications/{publication_id}/approve": AGREE,
    "POST /publications/{publication_id}/reject": AGREE,
    "POST /publications/{publication_id}/retry": CHANGE,
    "POST /publications/{publication_id}/promote": CHANGE,
    "POST /jobs": MAKE,
    "POST /reproductions": MAKE,
    "GET /reproductions/new": MAKE,
    "GET /callbacks/secret": MAKE,
    "POST /callbacks/secret": MAKE,
    "GET /uploads": LOOK,
    "POST /uploads": MAKE,
    "GET /uploads/{upload_id}": READ,
    "PATCH /uploads/{upload_id}": CHANGE,
    "DELETE /uploads/{upload_id}": CHANGE,
    "POST /uploads/{upload_id}": CHANGE,
    "GET /uploads/{upload_id}/sharing": READ,
    "PUT /uploads/{upload_id}/sharing": CHANGE,
    "POST /uploads/{upload_id}/sharing": CHANGE,
    "GET /targets": LOOK,
    "GET /targets/{name}/vocabulary": LOOK,
    "GET /tokens": LOOK,
    "POST /tokens": MAKE,
    "DELETE /tokens/{token_id}": CHANGE,
    "POST /tokens/{token_id}": CHANGE,
    "GET /credentials": LOOK,
    "GET /credentials/{name}": May(YES, HIDDEN, operator=HIDDEN),  # an operator names it by its id
    "PUT /credentials/{name}": OWN,
    "POST /credentials": MAKE,
    "POST /credentials/{name}": May(NO, HIDDEN, operator=HIDDEN),
    "DELETE /credentials/{name}": May(NO, HIDDEN, operator=HIDDEN),
    "POST /credentials/{name}/test": May(NO, HIDDEN, operator=HIDDEN),
    "GET /projects": LOOK,
    "POST /projects": MAKE,
    "GET /projects/{project_id}": READ,
    "PUT /projects/{project_id}": CHANGE,
    "POST /projects/{project_id}": CHANGE,
    "DELETE /projects/{project_id}": CHANGE,
    "GET /projects/{project_id}/members": READ,
    "GET /projects/{project_id}/members/{person}": READ,
    "PUT /projects/{project_id}/members/{person}": CHANGE,
    "DELETE /projects/{project_id}/members/{person}": CHANGE,
    "GET /projects/{project_id}/invitations": READ,
    "POST /projects/{project_id}/invitations": CHANGE,
    "DELETE /projects/{project_id}/invitations/{invitation_id}": CHANGE,
    "GET /projects/{project_id}/publishing": READ,
    "PUT /projects/{project_id}/publishing": CHANGE,
    "POST /projects/{project_id}/publishing": CHANGE,
    "GET /usage": LOOK,
    "GET /budgets": LOOK,
    "POST /budgets": OPERATE,
    "PUT /budgets/{project}/{platform}": OPERATE,
    "DELETE /budgets/{project}/{platform}": OPERATE,
    "GET /quota": LOOK,
    "GET /quotas": OPERATE,
    "POST /quotas": OPERATE,
    "GET /quotas/{kind}/{subject}": OPERATE,
    "PUT /quotas/{kind}/{subject}": OPERATE,
    "POST /quotas/{kind}/{subject}": OPERATE,
    "DELETE /quotas/{kind}/{subject}": OPERATE,
    "GET /invitations/{code}": LOOK,  # who knows the code was given it
    "POST /invitations/{code}": MAKE,
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /processes": {"data": b"cwl", "headers": {"Content-Type": "application/cwl+yaml"}},
    "PUT /processes/{process_id}": {"data": b"cwl", "headers": {"Content-Type": "application/cwl+yaml"}},
    "POST /check": {"data": b"cwl", "headers": {"Content-Type": "application/cwl+yaml"}},
    "POST /processes/{process_id}/execution": {
        "json": {"inputs": {"text": "x"}},
        "headers": {"Prefer": "respond-async"},
    },
    "POST /processes/{process_id}": {"files": {"in:text": (None, "x")}},
    "POST /processes/{process_id}/check": {"json": {"inputs": {"text": "x"}}},
    "POST /processes/{process_id}/estimate": {"json": {"inputs": {"text": "x"}}},
    "POST /platforms": {"json": {"name": "far", "adapter": "ogcapi", "options": {"url": "http://127.0.0.1:9"}}},
    "PUT /platforms/{name}/paused": {"json": {"paused": True}},
    "POST /platforms/{name}": {"data": {"do": "pause"}},
    "POST /budgets": {"data": {"do": "set", "project": "lab", "platform": "far", "credits": "5"}},
    "POST /uploads": {"data": b"x", "headers": {"Content-Type": "text/plain"}},
    "PATCH /uploads/{upload_id}": {"data": b"hello", "headers": {"Upload-Offset": "0"}},
    "PUT /processes/{process_id}/sharing": {"json": {"shared": "private"}},
    "POST /processes/{process_id}/sharing": {"data": {"with": "private"}},
    "POST /jobs/{job_id}": {"data": {"do": "dismiss"}},
    "PUT /jobs/{job_id}/sharing": {"json": {"shared": "private"}},
    "POST /jobs/{job_id}/sharing": {"data": {"with": "private"}},
    "POST /publications": {"json": {"target": "osc", **a_request()}},
    "POST /jobs/{job_id}/publications": {"json": {"target": "osc", **a_request()}},
    "POST /jobs/{job_id}/publications/new": {"data": {"do": "publish", "target.0": "osc", **fields_of(a_request())}},
    "POST /publications/{publication_id}": {"data": {"do": "withdraw"}},
    "POST /publications/{publication_id}/reject": {"json": {"reason": "no"}},
    "POST /jobs/{job_id}/comparisons": {"json": {"with": {"outputs": {}}}},
    "POST /jobs/{job_id}/comparison": {"data": {"do": "withdraw"}},
    "POST /jobs": {"json": experiments.request()},
    "POST /reproductions": {"json": experiments.request()},
    "PUT /uploads/{upload_id}/sharing": {"json": {"shared": "private"}},
    "POST /uploads/{upload_id}/sharing": {"data": {"with": "private"}},
    "PUT /credentials/{name}": {
        "json": {"kind": "http", "origin": "https://data.example", "token": "t"},
        "params": {"test": "false"},
    },
    "PUT /projects/{project_id}": {"json": {"title": "Another title"}},
    "POST /projects/{project_id}": {"data": {"do": "rename", "title": "Another title"}},
    "PUT /projects/{project_id}/members/{person}": {"json": {"part": "member"}},
    "POST /projects/{project_id}/publishing": {"data": {"licence": "MIT"}},
    "PUT /projects/{project_id}/publishing": {"json": {"request": {"licence": "MIT"}}},
    "PUT /quotas/{kind}/{subject}": {"json": {"queued": 5}},
    "PUT /budgets/{project}/{platform}": {"json": {"credits": 5}},
    "POST /tokens": {"json": {"name": "one more"}},
    "POST /tokens/{token_id}": {"data": {"csrf": ""}},
    "POST /uploads/{upload_id}": {"data": {"do": "delete"}},
    "POST /credentials": {"data": {"name": "form", "kind": "http", "origin": "https://data.example", "token": "t"}},
    "POST /credentials/{name}": {"data": {"do": "remove"}},
    "POST /quotas": {"data": {"kind": "person", "subject": "somebody", "queued": "5"}},
    "POST /quotas/{kind}/{subject}": {"data": {"do": "set", "queued": "5"}},
    "POST /projects/{project_id}/invitations": {"json": {"part": "member"}},
}
SAFE = ("GET", "HEAD")


def walk(found: Iterable[Any]) -> Iterator[Any]:
    """The routes of an app, those of its routers too."""
    for one in found:
        inner = getattr(one, "original_router", None)
        if inner is not None:
            yield from walk(inner.routes)
        elif hasattr(one, "path"):
            yield one


@cache
def routes() -> tuple[str, ...]:
    """`METHOD /path` of every route. HEAD where GET is too is GET's."""
    found = {f"{method} {one.path}" for one in walk(create_app(Settings()).routes) for method in one.methods}
    return tuple(sorted(one for one in found if not one.startswith("HEAD ") or f"GET {one[5:]}" not in found))


def test_somebody_has_said_who_may_use_each_route() -> None:
    missing = [one for one in routes() if one not in TABLE]
    assert not missing, f"say in TABLE who may use {missing}"
    assert len(routes()) > 40


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, around: Around, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state = tmp_path_factory.mktemp("world")
    if request.param == "sqlite":
        file = state / "one.db"
        file.write_bytes(Path(request.getfixturevalue("sqlite_migrated")).read_bytes())
        url = f"sqlite:///{file}"
    else:
        url = request.getfixturevalue("postgres").new_database()
    with issuer_peer() as issuer, around.server(url, state, access=issuer.access(), publish=offered(state)) as server:
        made = World(server, issuer)
        made.fill()
        yield made


@dataclass
class Ask:
    """Requests of the matrix in one world."""

    world: World

    def one(self, route: str, things: dict[str, str], headers: dict[str, str], **more: Any) -> requests.Response:
        method, _, path = route.partition(" ")
        options = dict(BODIES.get(route, {} if method in SAFE else {"json": {}})) | more
        if route == "POST /projects":
            options["json"] = {"id": f"new{next(self.world.numbers)}", "title": "New"}
        if route == "POST /deploy":
            text = TOOL.format(id=f"new{next(self.world.numbers)}")
            options["files"] = {"do": (None, "deploy"), "text": (None, text)}
            del options["json"]
        if options.get("data") == b"cwl":
            new = f"new{next(self.world.numbers)}"
            options["data"] = TOOL.format(id=things["process_id"] if "{" in path else new).encode()
        options["headers"] = options.get("headers", {}) | headers
        return self.world.server.request(method, filled(path, things), allow_redirects=False, **options)


def filled(path: str, things: dict[str, str]) -> str:
    """The path with ids. Fails for a parameter that the world knows nothing for."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        top = "/" + path.split("/")[1]
        if name in ("name", "issuer"):
            return things[top]
        assert name in things, f"say in world.py what {{{name}}} of {path} is"
        return things[name]

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, path)


@pytest.fixture
def ask(world: World) -> Ask:
    return Ask(world)


def fits(expected: str | int, answer: requests.Response) -> bool:
    if expected == YES:
        return answer.status_code < 500 and answer.status_code not in (401, 403, 404)
    return answer.status_code == expected and is_problem(answer)


def is_problem(answer: requests.Response) -> bool:
    if answer.request.method == "HEAD":
        return True
    return answer.headers["content-type"] == "application/problem+json" and (
        answer.json()["status"] == answer.status_code
    )


def test_nobody_but_who_is_known(world: World, ask: Ask) -> None:
    """No token, garbage, expired, revoked, of another audience or issuer, unsigned ...: 401, and nothing happens."""
    things = world.things()
    strangers = impostors(world.server.database, world.issuer, world.owner, "alice")
    world.server.site.gate.forget()
    before = world.rows()
    wrong = []
    for route in routes():
        if TABLE.get(route, LOOK) is PUBLIC:
            continue
        for name, headers in strangers.items():
            answer = ask.one(route, things, headers)
            challenge = answer.headers.get("www-authenticate", "")
            if not (fits(401, answer) and challenge.startswith("Bearer")):
                wrong.append((route, name, answer.status_code, challenge))
    assert not wrong
    assert world.rows() == before
    answer = world.server.get("/jobs", headers={"Authorization": f"Bearer {world.issuer.token('bob', roles=['sci'])}"})
    assert answer.status_code == 200, "a right token of the same issuer is let in"


def test_everybody_else_is_let_in_as_the_table_says(world: World, ask: Ask) -> None:
    """Those who may not first, and their requests change nothing; then those who may."""
    things = world.things()
    before = world.rows()
    wrong = []
    allowed: list[tuple[str, str]] = []
    for route in routes():
        may = TABLE.get(route)
        if may is None:
            continue
        for who in ("other", "viewer", "owner", "operator"):
            expected = getattr(may, who)
            if expected == YES:
                allowed.append((route, who))
            elif not fits(expected, answer := ask.one(route, things, world.who[who])):
                wrong.append((route, who, expected, answer.status_code, answer.text[:200]))
    assert world.rows() == before, "a refused request has changed something"
    for route, who in sorted(allowed, key=lambda one: not one[0].startswith(SAFE)):
        if not route.startswith(SAFE) and who != "other":
            things = world.things()
        if not fits(YES, answer := ask.one(route, things, world.who[who])):
            wrong.append((route, who, YES, answer.status_code, answer.text[:200]))
    assert not wrong


UNAUDITED = {
    "POST /check": "leaves nothing behind",
    "POST /processes/{process_id}/check": "leaves nothing behind",
    "POST /processes/{process_id}/estimate": "leaves nothing behind",
    "POST /logout": "has nobody to speak of without a session",
    "PATCH /uploads/{upload_id}": "goes on with what POST /uploads began",
    "POST /credentials/{name}/test": "asks the other side whether it is right",
    "POST /jobs/{job_id}/publications/bundle": "leaves nothing behind",
}


FROM = {  # what a publication has to be for a request that changes it
    "POST /publications/{publication_id}/retry": State.FAILED,
    "POST /publications/{publication_id}/promote": State.PROPOSED,
}


def test_every_change_is_in_the_audit(world: World, ask: Ask) -> None:
    """Who did it, under which token, from where; each request in the transaction that does it."""
    missing: list[tuple[str, int, str]] = []
    for route in routes():
        may = TABLE.get(route)
        if route.startswith(SAFE) or route in UNAUDITED or may is None:
            continue
        who = "other" if route.startswith("POST /invitations") else "owner" if may.owner == YES else "operator"
        things = world.things()
        if route in ("DELETE /jobs/{job_id}", "POST /jobs/{job_id}"):
            things["job_id"] = world.job(things["process_id"])  # one that waits
        if route in ("DELETE /jobs/{job_id}/comparison", "POST /jobs/{job_id}/comparison"):  # one that is not made yet
            assert ask.one("POST /jobs/{job_id}/comparisons", things, world.who[who]).status_code == 201
        if (state := FROM.get(route)) is not None:
            things["publication_id"] = world.server.published(things["job_id"], state=state)
        before = world.rows()["audit"]
        answer = ask.one(route, things, world.who[who])
        written = world.audited(len(before))
        if answer.status_code >= 400 or not written:
            missing.append((route, answer.status_code, answer.text[:300]))
        for one in written:
            told = (bool(one["actor"]), bool(one["token"]), one["address"])
            assert told == (True, True, "127.0.0.1"), (route, one)
    assert not missing


def test_what_is_there_cannot_be_told_from_what_is_not(world: World, ask: Ask) -> None:
    """Another tenant gets the same answer for alice's things as for things that never were."""
    there = world.things()
    for route in routes():
        may = TABLE.get(route)
        if may is None or may.other != HIDDEN:
            continue
        never = {name: _unlike(value) for name, value in there.items()}
        found, missing = (ask.one(route, one, world.who["other"]) for one in (there, never))
        assert _without(found, there) == _without(missing, never), route


def _unlike(value: str) -> str:
    """An id of the same kind that nothing has."""
    return value[:-4] + "".join("fedc"[i] if c in "0123456789abcdef" else "q" for i, c in enumerate(value[-4:]))


def _without(answer: requests.Response, ids: dict[str, str]) -> tuple[int, str]:
    text = answer.text
    for value in ids.values():
        text = text.replace(value, "ID")
    return answer.status_code, text


def test_a_session_changes_nothing_without_its_proof(world: World, ask: Ask) -> None:
    """A browser's cookie alone, as another site's form would send it."""
    things = world.things()
    before = world.rows()
    cookie = {"Cookie": f"broker-session={world.session}"}
    assert world.server.get("/jobs", headers=cookie).status_code == 200
    for route in routes():
        if route.startswith(SAFE) or TABLE.get(route) is PUBLIC:
            continue
        for more in ({}, {"Origin": "https://evil.example"}, {"X-CSRF-Token": csrf_of("another")}):
            answer = ask.one(route, things, cookie | more)
            assert answer.status_code == 403, (route, more, answer.status_code)
    assert world.rows() == before


def test_methods_that_a_path_does_not_have(world: World, ask: Ask) -> None:
    """HEAD, OPTIONS, TRACE and unknown methods open nothing, nor do headers that say another method is meant."""
    things = world.things()
    paths = {route.partition(" ")[2] for route in routes()}
    public = {route.partition(" ")[2] for route in routes() if TABLE.get(route, LOOK) is PUBLIC}
    overrides = {name: "GET" for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")}
    before = world.rows()
    for path in sorted(paths - public):
        for method in ("HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "GETS", "POST", "PUT", "PATCH", "DELETE"):
            for headers in ({}, overrides):
                answer = world.server.request(method, filled(path, things), headers=headers, allow_redirects=False)
                assert answer.status_code in (400, 401, 404, 405), (method, path, answer.status_code)
    assert world.rows() == before


TRICKS = (
    "/{0}", "/./{0}", "/x/../{0}", "/health/../{0}", "/health/live/../../{0}", "/static/../{0}", "/static/%2e%2e/{0}",
    "/static/..%2f{0}", "/login/..%2f{0}", "/health%2f..%2f{0}", "/{0}/", "/{0}//", "/{0}/.", "/{0};x=1", "/{0};/../",
    "/;/{0}", "/{0}%00", "/{0}%20", "/{0}%0a", "/{0}?f=json", "/{0}#x", "/%2f{0}", "/\\{0}", "/{1}", "/{0}.json",
    "http://127.0.0.1/{0}", "//evil.example/{0}", "/{0}?access_token=x", "*",
)  # fmt: skip


def test_tricks_with_paths(world: World, ask: Ask) -> None:
    """No spelling of a path gets around the question who asks."""
    things = world.things()
    port = world.server.site.settings.api.port
    paths = [filled(one[4:], things).lstrip("/") for one in routes() if one.startswith("GET ") and TABLE.get(one, LOOK)]
    for path in paths:
        for trick in TRICKS:
            other_case = path.upper() if path == path.lower() else path.lower()
            with Raw(port) as raw:
                raw.send(head("GET", trick.format(path, other_case), "Connection: close"))
                answer = raw.answer()
            assert answer.status in (400, 401, 404, 405), (trick, path, answer.status)
