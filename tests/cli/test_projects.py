"""`broker project`, `broker invitation` and `broker share`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer

CWL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [echo, hello]
inputs: []
outputs: {said: stdout}
"""


@pytest.fixture
def water(broker: Broker) -> Iterator[str]:
    """A project; gone at the end."""
    assert broker("project", "create", "water", "--title", "Water").code == 0
    yield "water"
    broker("project", "delete", "water")


def test_a_project_by_command(broker: Broker, water: str) -> None:
    assert [one["id"] for one in broker("project", "list", "--json").json] == [water]
    assert "maintainer" in broker("project", "list").out
    assert broker("project", "rename", water, "Clear water").code == 0
    shown = broker("project", "show", water)
    assert "Clear water" in shown.err
    assert "local" in shown.out
    assert broker("project", "members", water, "--json").json[0]["part"] == "maintainer"
    assert "letters" in broker("project", "create", "Not A Slug").err
    kept = broker("project", "leave", water)
    assert kept.code == 1
    assert "without a maintainer" in kept.err
    assert broker("project", "part", water, "nobody", "--as", "member").code == 1
    assert broker("project", "remove", water, "nobody").code == 1


def test_invitations_by_command(broker: Broker, water: str, peer: BrokerPeer) -> None:
    made = broker("project", "invite", water, "--as", "viewer", "--days", "3", "--note", "welcome")
    link = made.out.strip()
    assert link.startswith(f"{peer.url}/invitations/")
    assert "not shown again" in made.err
    assert link.rpartition("/")[2] not in broker("project", "invitations", water, "--json").out
    for given in (link, link.rpartition("/")[2]):
        again = broker("invitation", "accept", given)
        assert again.code == 1
        assert "maintainer of the project" in again.err, "who invites is a member already"
    elsewhere = broker("invitation", "accept", link.replace(peer.url, "https://another.example"))
    assert elsewhere.code == 2
    assert "--server https://another.example" in elsewhere.err
    assert broker("invitation", "accept", "https://another.example/x").code == 2
    [open_one] = broker("project", "invitations", water, "--json").json
    assert broker("project", "revoke", water, open_one["id"]).code == 0
    assert broker("invitation", "accept", link).code == 1


def test_sharing_by_command(broker: Broker, water: str, peer: BrokerPeer) -> None:
    if "hello" not in {one["id"] for one in broker("processes", "--json").json}:
        peer.deploy(CWL.replace("class:", "id: hello\nclass:"))
    assert "private: only you" in broker("share", "process", "hello").err
    assert broker("share", "process", "hello", "--with", water, "--json").json["project"] == water
    assert "shared with the project water" in broker("share", "process", "hello").err
    assert broker("share", "process", "echo", "--with", water).code == 1, "it is built in"
    made = broker("run", "hello", "--project", water, "--share", "--no-wait", "--json").json
    assert (made["project"], made["shared"], made["sharedWith"]) == (water, "project", water)
    peer.ended(made["jobID"])
    assert [one["jobID"] for one in broker("jobs", "--project", water, "--json").json] == [made["jobID"]]
    assert broker("jobs", "--public", "--json").json == []
    held = broker("project", "delete", water)
    assert held.code == 1
    assert "1 shared jobs, 1 shared processes" in held.err
    assert "broker share" in held.err
    upload = peer.post("/uploads?name=x.txt", data=b"x", headers={"Content-Type": "text/plain"}).json()["href"]
    assert "public" in broker("share", "upload", upload, "--with", "public").err
    for kind, name in (("job", "last"), ("process", "hello"), ("upload", upload)):
        assert broker("share", kind, name, "--with", "nobody").code == 0
