"""Credentials by API: tried against the real thing, kept, used by a project, and never read back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select

from broker.access.tokens import generate
from broker.runner import isolation
from broker.settings import EgressSettings, Images
from broker.store import tokens
from broker.store.account_tables import audit, credentials, members
from broker.store.database import new_id
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.peers.registry import PASSWORD, USER, registry_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY, S3Peer, nanio_peer
from tests.peers.web import WebPeer

CANARY = "canary-of-the-api-tests"
LOOPBACK = EgressSettings(allow_networks=("127.0.0.0/8",))


@pytest.fixture
def server(with_settings: MakeServer) -> Server:
    return with_settings(egress=LOOPBACK)


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        peer.guard = f"Bearer {CANARY}"
        peer.serve("/", b"welcome")
        yield peer


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Peer]:
    with nanio_peer() as peer:
        yield peer


def http_body(web: WebPeer, **more: Any) -> dict[str, Any]:
    return {"kind": "http", "origin": web.url("").rstrip("/"), "token": CANARY, **more}


def s3_body(s3: S3Peer, **more: Any) -> dict[str, Any]:
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    return {"kind": "s3", "bucket": s3.bucket, "endpoint": s3.endpoint, **keys, **more}


def person(server: Server, name: str, project: str = "", part: str = "member") -> dict[str, str]:
    """Headers of somebody with a token, in a project."""
    secret, digest = generate()
    with server.database.write() as tx:
        tokens.add(tx, new_id(), digest, name, project or name, "test", ["read", "run", "deploy"], None)
        if project:
            tx.execute(insert(members).values(project=project, person=name, part=part, since=0.0))
    server.site.gate.forget()
    return {"Authorization": f"Bearer {secret}"}


def test_kept_listed_and_removed(server: Server, web: WebPeer) -> None:
    made = server.put("/credentials/data", json=http_body(web))
    assert made.status_code == 201, made.text
    assert made.headers["Location"].endswith("/credentials/data")
    assert made.json()["tested"] is True
    assert "answered 200" in made.json()["answered"]
    [listed] = server.get("/credentials").json()["credentials"]
    assert {key: listed[key] for key in ("name", "kind", "target", "shared", "tested", "lastUsed")} == {
        "name": "data",
        "kind": "http",
        "target": web.url("").rstrip("/"),
        "shared": "private",
        "tested": True,
        "lastUsed": None,
    }
    assert server.get("/credentials/data").json() == server.get(f"/credentials/{listed['id']}").json() == listed
    assert server.put("/credentials/data", json=http_body(web)).status_code == 200
    assert server.post("/credentials/data/test").json()["tested"] is True
    assert server.delete("/credentials/data").status_code == 204
    assert server.get("/credentials/data").status_code == 404
    with server.database.read() as tx:
        entries = tx.execute(select(audit.c.action, audit.c.data)).all()
    assert [row.action for row in entries] == [
        "keep-credential", "keep-credential", "test-credential", "remove-credential",
    ]  # fmt: skip
    assert CANARY not in str(entries)


def test_what_is_kept_is_encrypted(server: Server, web: WebPeer) -> None:
    assert server.put("/credentials/data?test=false", json=http_body(web)).status_code == 201
    with server.database.read() as tx:
        row = tx.execute(select(credentials)).mappings().one()
    assert CANARY.encode() not in row["sealed"]
    assert not row["tested"]
    assert server.site.settings.key_file.stat().st_mode & 0o777 == 0o600
    answers = [server.get("/credentials").text, server.get("/credentials/data").text, server.get("/audit").text]
    assert not any(CANARY in text for text in answers)


def test_s3_is_tried_with_the_keys(server: Server, s3: S3Peer) -> None:
    made = server.put("/credentials/scenes", json=s3_body(s3))
    assert made.status_code == 201, made.text
    assert made.json()["target"] == f"s3://{s3.bucket}"
    refused = server.put("/credentials/wrong", json=s3_body(s3, secretKey=CANARY))
    assert refused.status_code == 422
    valid_problem(refused, 422)
    assert "answered 403 (SignatureDoesNotMatch" in refused.json()["detail"]
    assert CANARY not in refused.text
    missing = server.put("/credentials/wrong", json=s3_body(s3, bucket="no-such-bucket"))
    assert "NoSuchBucket" in missing.json()["detail"]
    assert server.get("/credentials/wrong").status_code == 404
    assert server.put("/credentials/wrong?test=false", json=s3_body(s3, secretKey=CANARY)).status_code == 201
    again = server.post("/credentials/wrong/test")
    assert again.status_code == 422
    assert CANARY not in again.text


def test_the_other_side_may_repeat_it_and_we_do_not(server: Server, web: WebPeer) -> None:
    web.redirect("/", f"https://login.example/{CANARY}?{CANARY}")
    refused = server.put("/credentials/data", json=http_body(web))
    assert refused.status_code == 422
    assert "redirects to https://login.example/…" in refused.json()["detail"]
    assert CANARY not in refused.text


def test_http_is_refused_and_says_what_was_answered(server: Server, web: WebPeer) -> None:
    refused = server.put("/credentials/data", json=http_body(web, token="another"))
    assert refused.status_code == 422
    assert "answered 401" in refused.json()["detail"]
    elsewhere = server.put("/credentials/data", json=http_body(web, test="https://other.example/x"))
    assert elsewhere.status_code == 400
    web.serve("/deep", b"x")
    web.fail("/", times=1, status=500)
    deep = http_body(web, test=web.url("/deep"))
    assert server.put("/credentials/data", json=deep).status_code == 201


def test_a_trial_goes_to_no_private_address(lone: Server, web: WebPeer) -> None:
    origin = web.url("").rstrip("/").replace("http:", "https:")
    refused = lone.put("/credentials/data", json={"kind": "http", "origin": origin, "token": CANARY})
    assert refused.status_code == 400
    assert refused.json()["reason"] == "address-refused"
    endpoint = {"endpoint": "https://169.254.169.254", "accessKey": "a", "secretKey": CANARY}
    metadata = lone.put("/credentials/data", json={"kind": "s3", "bucket": "bucket", **endpoint})
    assert metadata.json()["reason"] == "address-refused"
    assert web.requests == []
    plain = lone.put("/credentials/data?test=false", json=http_body(web))
    assert plain.status_code == 400  # http, on a network that no operator has listed


def test_prr_and_github(server: Server, web: WebPeer) -> None:
    place = web.url("").rstrip("/")
    assert server.put("/credentials/prr", json={"kind": "prr", "origin": place, "token": CANARY}).status_code == 201
    body = {"kind": "github", "repository": f"{place}/owner/records", "token": CANARY}
    missing = server.put("/credentials/github", json=body)
    assert missing.status_code == 422
    assert "/api/v3/repos/owner/records answered 404" in missing.json()["detail"]
    web.serve("/api/v3/repos/owner/records", {"full_name": "owner/records"})
    assert server.put("/credentials/github", json=body).status_code == 201


@pytest.mark.parametrize("token", [False, True], ids=["basic", "token"])
def test_a_registry_is_logged_in_to(with_settings: MakeServer, tmp_path: Any, token: bool) -> None:
    engine = isolation.Isolation()
    with registry_peer(tmp_path / "registry", engine, token=token) as registry:
        server = with_settings(egress=LOOPBACK, images=Images(insecure=(registry.host,)))
        body = {"kind": "registry", "host": registry.host, "username": USER, "password": PASSWORD}
        made = server.put("/credentials/images", json=body)
        assert made.status_code == 201, made.text
        refused = server.put("/credentials/images", json=body | {"password": CANARY})
        assert refused.status_code == 422
        assert f"{registry.host} answered 401" in refused.json()["detail"]
        assert CANARY not in refused.text


def test_other_people_know_nothing_of_it(server: Server, web: WebPeer) -> None:
    alice, bob = person(server, "alice"), person(server, "bob")
    made = server.put("/credentials/data?test=false", json=http_body(web), headers=alice).json()
    assert server.get("/credentials", headers=bob).json()["credentials"] == []
    for path in ("/credentials/data", f"/credentials/{made['id']}"):
        assert server.get(path, headers=bob).status_code == 404
        assert server.delete(path, headers=bob).status_code == 404
        assert server.post(f"{path}/test", headers=bob).status_code == 404
    own = server.put("/credentials/data?test=false", json=http_body(web), headers=bob)
    assert own.json()["owner"] == "bob"


def test_a_project_uses_what_its_members_share(server: Server, web: WebPeer) -> None:
    alice, mate = person(server, "alice", "lab"), person(server, "mate", "lab")
    boss, guest = person(server, "boss", "lab", "maintainer"), person(server, "guest", "lab", "viewer")
    made = server.put("/credentials/data", json=http_body(web, shared="project"), headers=alice)
    assert made.status_code == 201, made.text
    path = f"/credentials/{made.json()['id']}"
    for one in (mate, boss, guest):
        assert [row["name"] for row in server.get("/credentials", headers=one).json()["credentials"]] == ["data"]
    assert server.post(f"{path}/test", headers=mate).status_code == 200
    assert server.post(f"{path}/test", headers=guest).status_code == 404
    assert server.delete(path, headers=mate).status_code == 403
    assert server.put(f"{path}?test=false", json=http_body(web, token="another"), headers=guest).status_code == 403
    changed = server.put(f"{path}?test=false", json=http_body(web), headers=boss)
    assert (changed.status_code, changed.json()["owner"]) == (200, "alice")
    assert server.delete(path, headers=boss).status_code == 204


def test_shared_only_by_members_and_never_with_everybody(server: Server, web: WebPeer) -> None:
    body = http_body(web, shared="project")
    guest = person(server, "guest", "lab", "viewer")
    assert server.put("/credentials/data?test=false", json=body, headers=guest).status_code == 400
    alone = person(server, "alone")
    assert server.put("/credentials/data?test=false", json=body, headers=alone).status_code == 400
    public = http_body(web, shared="public")
    assert server.put("/credentials/data?test=false", json=public, headers=alone).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        f'{{"kind": "http", "token": "{CANARY}"',
        f'["{CANARY}"]',
        f'{{"kind": "{CANARY}"}}',
        f'{{"kind": "http", "origin": "https://u:{CANARY}@h.example", "token": "x"}}',
        f'{{"kind": "http", "origin": "https://h.example", "token": "{CANARY}\\n"}}',
        f'{{"kind": "http", "origin": "https://h.example", "token": "x", "{CANARY}": 1}}',
    ],
)
def test_wrong_bodies_are_not_repeated(lone: Server, body: str) -> None:
    answer = lone.put("/credentials/data", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert CANARY not in answer.text


def test_basic_is_sent_as_such(server: Server, web: WebPeer) -> None:
    web.guard = "Basic " + base64.b64encode(f"me:{CANARY}".encode()).decode()
    body = http_body(web) | {"username": "me", "password": CANARY}
    del body["token"]
    assert server.put("/credentials/data", json=body).status_code == 201
    web.redirect("/", f"https://x.example/{web.guard.partition(' ')[2]}")
    assert web.guard.partition(" ")[2] not in server.post("/credentials/data/test").text
