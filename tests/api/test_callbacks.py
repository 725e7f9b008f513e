"""Subscribers of jobs: what is refused at once, what is shown to whom, and what the API says of callbacks."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.access import webhooks
from broker.access.vault import Vault
from broker.bootstrap import SYSTEM
from broker.execution import callbacksecret, credentials
from broker.store.database import Database
from broker.store.tables import callback_secrets, callbacks
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server

CONF = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/callback"


def execution(server: Server, subscriber: Any) -> Any:
    body = {"inputs": {"text": "x"}, "subscriber": subscriber}
    return server.post("/processes/say/execution", json=body, headers={"Prefer": "respond-async"})


@pytest.mark.parametrize(
    ("subscriber", "pointer"),
    [
        ("https://a.example", "/subscriber"),
        ({"successUri": 5}, "/subscriber/successUri"),
        ({"successUri": "https://a.example/" + "x" * 2000}, "/subscriber/successUri"),
        ({"successUri": "not an address"}, "/subscriber/successUri"),
        ({"failedUri": "file:///etc/passwd"}, "/subscriber/failedUri"),
        ({"failedUri": "https://me:secret@a.example/"}, "/subscriber/failedUri"),
        ({"failedUri": "https://a.example\\@127.0.0.1/"}, "/subscriber/failedUri"),
        ({"inProgressUri": "http://a.example/"}, "/subscriber/inProgressUri"),
        ({"inProgressUri": "https://127.0.0.1/"}, "/subscriber/inProgressUri"),
        ({"inProgressUri": "https://[::ffff:10.0.0.1]/"}, "/subscriber/inProgressUri"),
        ({"inProgressUri": "https://169.254.169.254/latest/"}, "/subscriber/inProgressUri"),
        ({"succesUri": "https://a.example/"}, "/subscriber/succesUri"),
        ({"successUri": "https://a.example/", "successUrl": "https://b.example/"}, "/subscriber/successUrl"),
    ],
)
def test_a_subscriber_that_cannot_be_told_is_refused_at_once(still: Server, subscriber: Any, pointer: str) -> None:
    problem = valid_problem(execution(still, subscriber), 400)
    assert problem["errors"][0]["pointer"] == pointer
    assert "secret" not in problem["detail"]
    body = {"inputs": {"text": "x"}, "subscriber": subscriber}
    checked = valid_problem(still.post("/processes/say/check", json=body), 400)
    assert checked["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "subscriber", [{}, {"successUrl": "https://a.example/s"}, {"failedUri": "https://a.example/f"}]
)
def test_each_address_may_be_left_out(api: Server, subscriber: dict[str, str]) -> None:
    api.ready()
    answer = execution(api, subscriber)
    assert answer.status_code == 201, answer.text
    links = [link["href"] for link in answer.json()["links"]]
    assert any(href.endswith("/callbacks") for href in links) == bool(subscriber)


def test_the_state_of_deliveries_and_once_more(api: Server) -> None:
    api.ready()
    told = {"successUri": "https://a.example/s?token=t0psecret", "inProgressUri": "https://a.example/p"}
    job = execution(api, told).json()["jobID"]
    api.succeed(job, {"number": 4})
    document = api.get(f"/jobs/{job}/callbacks").json()
    assert [(one["kind"], one["state"], one["tries"]) for one in document["callbacks"]] == [
        ("inProgress", "pending", 0),
        ("success", "queued", 0),
    ]
    assert "t0psecret" not in api.get(f"/jobs/{job}/callbacks").text + api.get(f"/jobs/{job}").text
    with api.database.write() as tx:
        tx.execute(update(callbacks).values(state="failed", tries=7))
    again = api.post(f"/jobs/{job}/callbacks")
    assert again.status_code == 200
    assert [(one["state"], one["tries"]) for one in again.json()["callbacks"]] == [("pending", 0), ("queued", 0)]
    (entry,) = [one for one in api.get("/audit?action=repeat-callbacks").json()["entries"]]
    assert entry["subject"] == f"job/{job}"
    executed = api.get("/audit?action=execute").json()["entries"][-1]
    assert executed["data"]["callbacks"] == ["https://a.example"]


def test_the_same_secret_is_shown_until_it_is_changed(api: Server) -> None:
    first = api.get("/callbacks/secret")
    assert first.headers["cache-control"] == "no-store"
    secret = first.json()["secret"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert api.get("/callbacks/secret").json()["secret"] == secret
    changed = api.post("/callbacks/secret").json()
    assert changed["before"] == secret
    assert changed["secret"] != secret
    with api.database.write() as tx:
        row = tx.execute(select(callback_secrets)).one()
        assert secret.encode() not in row.sealed + row.before
        tx.execute(update(callback_secrets).values(changed=row.changed - 25 * 3600))
    assert "before" not in api.get("/callbacks/secret").json(), "after a day only the new one signs"


def test_a_change_of_the_vaults_key_keeps_the_secrets(database: Database) -> None:
    keys = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    secret = callbacksecret.of(database, Vault.of_text(keys[0]), "alice").secret
    both = Vault.of_text(f"{keys[1]} {keys[0]}")
    assert credentials.rotate(database, both, SYSTEM) == 1
    assert credentials.rotate(database, both, SYSTEM) == 0
    assert callbacksecret.of(database, Vault.of_text(keys[1]), "alice").secret == secret


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of its specification's reference implementations (svix-webhooks, standard-webhooks tests)."""
    headers = webhooks.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330.9,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_class_is_declared_and_described(still: Server) -> None:
    assert CONF in still.get("/conformance").json()["conformsTo"]
    operation = still.get("/api").json()["paths"]["/processes/{process_id}/execution"]["post"]
    (expression,) = operation["callbacks"]["jobCompleted"]
    assert expression == "{$request.body#/subscriber/successUri}"


def test_an_http_receiver_where_the_operator_opens_it(with_settings: MakeServer) -> None:
    server = with_settings(egress={"allow_hosts": ("inside.example",)})
    server.ready()
    assert execution(server, {"successUri": "http://inside.example/s"}).status_code == 201
