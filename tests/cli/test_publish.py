"""`broker publish`, `broker publications` and `broker publication` against a whole broker and a real git catalog."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.osc import bare, run

TOOL = (
    "cwlVersion: v1.2\nclass: CommandLineTool\nid: say\nbaseCommand: [echo, hi]\ninputs: []\noutputs: {said: stdout}\n"
)
REQUEST = {
    "project": "fairsendd",
    "themes": ["land"],
    "licence": "CC-BY-4.0",
    "description": "What a test said.",
    "access": [{"href": "https://data.example.org/said", "title": "The data"}],
    "extent": {"bbox": [10, 50, 11, 51], "interval": ["2026-05-01T00:00:00Z", None]},
}
ASKED = ("--request", "request.json")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bare(tmp_path_factory.mktemp("catalog") / "osc.git")


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory, remote: str) -> Iterator[BrokerPeer]:
    osc = {"kind": "git", "remote": remote, "title": "Our catalog"}
    careful = {"kind": "bundle", "remote": remote, "approval": True}
    targets = json.dumps({"targets": {"osc": osc, "careful": careful}})
    with broker_peer(tmp_path_factory.mktemp("broker") / "state", PUBLISH=targets) as running:
        yield running


@pytest.fixture(scope="module")
def job(publisher: BrokerPeer) -> str:
    publisher.deploy(TOOL)
    made = publisher.execute("say", {})
    assert publisher.ended(made)["phase"] == "successful"
    return made


@pytest.fixture
def told(command: Broker, alone: Path, publisher: BrokerPeer, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The command with this broker as its server, and a request in the working directory."""
    monkeypatch.setenv("BROKER_SERVER", publisher.url)
    (alone / "request.json").write_text(json.dumps(REQUEST))
    return command


def test_where_to(told: Broker, job: str) -> None:
    assert "Our catalog" in told("publication", "targets").out
    found = told("publication", "targets", "--json").json
    assert [(one["name"], one["takes"]) for one in found] == [("osc", "records"), ("careful", "records")]
    lost = told("publish", job)
    assert lost.code == 2
    assert "broker publication targets" in lost.err
    assert "there are osc, careful" in told("publish", job, "--target", "oscar").err


def test_what_is_missing_is_told_and_the_request_drafted(told: Broker, alone: Path, job: str) -> None:
    lacking = told("publish", job, "--target", "osc", "--check", "--set", "themes=lnad")
    assert lacking.code == 1
    assert "error: osc: project: is missing" in lacking.err
    assert "there is no 'lnad' in themes" in lacking.err
    drafted = json.loads(lacking.out)
    assert drafted["title"] == "say"
    assert drafted["themes"] == ["lnad"]
    (alone / "mine.json").write_text(json.dumps({**drafted, **REQUEST}))
    whole = told("publish", job, "--target", "osc", "--dry-run", "--request", "mine.json")
    assert (whole.code, whole.err.splitlines()[-1]) == (0, "Nothing is missing.")
    assert "+++ b/experiments/" in whole.out
    assert told("publications", "--json").json == []


def test_proposed_in_the_catalog_and_withdrawn(told: Broker, alone: Path, job: str, remote: str) -> None:
    done = told("publish", job, "--target", "osc", *ASKED, "--set", "title=Said", "--wait", "--json")
    assert done.code == 0, done.err
    [made] = done.json
    assert (made["state"], made["title"]) == ("proposed", "Said")
    branch = f"broker/{made['id']}"
    assert run(Path(remote), "log", "--format=%s", f"main..{branch}").splitlines() == ["Publish Said"]
    assert [one["id"] for one in told("publications", "--job", job, "--json").json] == [made["id"]]
    assert "Said" in told("publications", "--state", "proposed").out
    assert told("publications", "--state", "live", "--json").json == []
    assert "proposed" in told("publication", "show", made["id"], "--wait").out
    assert "+++ b/experiments/" in told("publication", "diff", made["id"]).out
    assert told("publication", "bundle", made["id"], "-o", "records.zip").code == 0
    assert "changes.diff" in zipfile.ZipFile(alone / "records.zip").namelist()
    assert told("publication", "retry", made["id"]).code == 0
    assert told("publication", "withdraw", made["id"]).code == 0
    assert told("publication", "show", made["id"], "--wait").code == 1
    assert told("publication", "show", made["id"], "--json").json["state"] == "withdrawn"
    assert branch not in run(Path(remote), "branch", "--list", "broker/*")
    again = told("publication", "promote", made["id"])
    assert again.code == 1
    assert "no test catalog" in again.err


def test_agreed_to_and_refused(told: Broker, job: str) -> None:
    asked = told("publish", job, "--target", "careful", *ASKED)
    assert "broker publication show" in asked.err
    [first] = told("publication", "list", "--state", "awaiting-approval", "--json").json
    twice = told("publish", job, "--target", "careful", *ASKED)
    assert (twice.code, f"careful is getting the job {job} already" in twice.err) == (1, True)
    refused = told("publication", "reject", first["id"], "--reason", "Another lake.", "--json").json
    assert refused["state"] == "rejected"
    assert "Another lake." in told("publication", "show", first["id"]).out
    [second] = told("publish", job, "--target", "careful", *ASKED, "--json").json
    look = told("publication", "diff", second["id"])
    assert "+++ b/" in look.out
    assert told("publication", "approve", second["id"], "--shown", "0" * 64).code == 1
    digest = look.err.strip().rpartition("--shown ")[2]
    agreed = told("publication", "approve", second["id"], "--shown", digest, "--json").json
    assert agreed["state"] != "awaiting-approval"
    assert told("publication", "approve", second["id"]).code == 1
    assert told("publication", "show", second["id"], "--wait", "--json").json["state"] == "proposed"
    assert told("publication", "withdraw", second["id"]).code == 0


def test_a_process_alone_and_a_zip_of_what_is_not_asked_for_yet(told: Broker, alone: Path, job: str) -> None:
    only = ("--process", "say", "--target", "osc", "--check", "--json", *ASKED)
    assert list(told("publish", *only).json["targets"][0]["records"]) == ["workflow"]
    assert told("publish", job, "--target", "careful", *ASKED, "--bundle", "all.zip").code == 0
    assert "changes.diff" in zipfile.ZipFile(alone / "all.zip").namelist()
    unread = told("publish", job, "--target", "osc", "--request", "none.json")
    assert unread.code == 2
    (alone / "list.json").write_text("[]")
    assert told("publish", job, "--target", "osc", "--request", "list.json").code == 1
