"""Sharing by API, on both databases: what it says, what lists show, and when it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from broker.cli.client import Client
from broker.cli.package import load
from broker.cli.submit import ensure
from broker.errors import DuplicatedProcess
from tests.api.accounts import Account, account
from tests.api.schemas import valid_problem
from tests.api.server import TOOL, Server
from tests.peers.broker import wait_for

EXECUTION = {"inputs": {"text": "x"}}


@pytest.fixture
def alice(api: Server) -> Account:
    api.platform()
    alice = account(api, "alice")
    body = TOOL.format(id="say")
    alice("POST", "/processes", data=body, headers={"Content-Type": "application/cwl+yaml"})
    alice("POST", "/projects", json={"id": "water"})
    return alice


@pytest.fixture
def bob(alice: Account) -> Account:
    """A member of alice's project."""
    bob = account(alice.server, "bob")
    code = alice("POST", "/projects/water/invitations", json={}).json()["code"]
    assert bob("POST", f"/invitations/{code}").status_code == 200
    return bob


def executed(who: Account, **headers: str) -> str:
    sent = {"Prefer": "respond-async"} | headers
    answer = who("POST", "/processes/say/execution", json=EXECUTION, headers=sent)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobID"])


def test_what_documents_say(alice: Account, bob: Account) -> None:
    job = executed(alice)
    upload = alice("POST", "/uploads", data=b"x", headers={"Content-Type": "a/b"}).json()["id"]
    documents = {"/processes/say": {}, f"/jobs/{job}": {"project": "alice"}, f"/uploads/{upload}": {}}
    for path, more in documents.items():
        assert alice("GET", f"{path}/sharing").json() | {"links": []} == {
            "shared": "private",
            "project": None,
            "links": [],
        }
        found = alice("GET", path).json()
        assert found["shared"] == "private"
        assert "sharedWith" not in found
        valid_problem(bob("GET", path), 404)
        done = alice("PUT", f"{path}/sharing", json={"shared": "project", "project": "water"})
        assert done.json()["project"] == "water"
        found = bob("GET", path).json()
        assert (found["shared"], found["sharedWith"]) == ("project", "water")
        assert {name: found[name] for name in more} == more, "at whose expense it ran does not change"
    assert [one["shared"] for one in bob("GET", "/processes").json()["processes"] if one["id"] == "say"] == ["project"]
    mine = executed(bob)
    assert bob("GET", f"/jobs/{mine}").json()["project"] == "bob"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"shared": None},
        {"shared": "everybody"},
        {"shared": ["public"]},
        {"shared": "project"},
        {"shared": "project", "project": 7},
        {"shared": "public", "project": "water"},
    ],
)
def test_what_does_not_fit_is_said(alice: Account, body: dict[str, Any]) -> None:
    valid_problem(alice("PUT", "/processes/say/sharing", json=body), 400)
    assert alice("GET", "/processes/say").json()["shared"] == "private"


def test_the_lists(alice: Account, bob: Account) -> None:
    jobs = [executed(alice) for _ in range(3)]
    alice("PUT", f"/jobs/{jobs[0]}/sharing", json={"shared": "project", "project": "water"})
    alice("PUT", f"/jobs/{jobs[1]}/sharing", json={"shared": "public"})
    stranger = account(alice.server, "carol")

    def listed(who: Account, query: str) -> list[str]:
        return [one["jobID"] for one in who("GET", f"/jobs{query}").json()["jobs"]]

    assert listed(bob, "") == []
    assert listed(bob, "?project=water") == listed(alice, "?project=water") == [jobs[0]]
    assert listed(bob, "?public=true") == listed(stranger, "?public=true") == [jobs[1]]
    assert listed(bob, "?project=water&status=successful") == []
    assert listed(alice, "?owner=alice") == listed(alice, "") == jobs[::-1]
    valid_problem(stranger("GET", "/jobs?project=water"), 404)


def test_a_followed_log_ends_with_what_shows_it(alice: Account, bob: Account) -> None:
    """Who is no longer a member reads no further line."""
    job = executed(alice)
    alice.server.log(job, "first")
    alice("PUT", f"/jobs/{job}/sharing", json={"shared": "project", "project": "water"})
    lines: list[str] = []

    def read() -> None:
        answer = bob("GET", f"/jobs/{job}/logs", headers={"Accept": "text/event-stream"}, stream=True)
        for line in answer.iter_lines(chunk_size=1):
            lines.append(line.decode())

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: any("first" in line for line in lines), 10, lambda: "it does not read")
    assert alice("DELETE", "/projects/water/members/bob").status_code == 204
    alice.server.log(job, "secret")
    reader.join(10)
    assert not reader.is_alive(), "it goes on"
    assert not any("secret" in line for line in lines)
    assert not any(line.startswith("event: end") for line in lines)


def test_the_command_line_says_that_an_id_is_somebody_elses(alice: Account, tmp_path: Path) -> None:
    """It cannot look at what is deployed there, and must not call it missing."""
    stranger = account(alice.server, "carol")
    file = tmp_path / "say.cwl"
    file.write_text(TOOL.format(id="say"))
    with Client(alice.server.url, stranger.headers["Authorization"].removeprefix("Bearer ")) as client:
        with pytest.raises(DuplicatedProcess) as caught:
            ensure(client, load(str(file), root=None))
        assert "--id my-say" in str(caught.value)
