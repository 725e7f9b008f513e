"""Packages from a git repository at a commit: a real git server over TLS, a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from broker.cli.commands import app
from broker.settings import EgressSettings
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem, validate
from tests.api.server import TOOL, Server
from tests.peers.git import GitPeer

WORKFLOW = """cwlVersion: v1.2
class: Workflow
id: say-it
inputs: {text: string}
outputs: {said: {type: File, outputSource: one/said}}
steps: {one: {run: ../tools/say.cwl, in: {text: text}, out: [said]}}
"""
CITATION = """cff-version: 1.2.0
title: Say
license: Apache-2.0
authors:
  - {given-names: Ada, family-names: Lovelace, orcid: 'https://orcid.org/0000-0002-1825-0097'}
  - name: Analytical Engines
"""
FILES = {"wf/app.cwl": WORKFLOW, "tools/say.cwl": TOOL.format(id="say"), "CITATION.cff": CITATION}


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[GitPeer]:
    with GitPeer(tmp_path / "git") as running:
        yield running


@pytest.fixture
def server(with_settings: MakeServer, peer: GitPeer) -> Server:
    return with_settings(egress=EgressSettings(allow_hosts=("localhost",), ca_file=Path(peer.ca_file)))


Deploy = Callable[..., requests.Response]


@pytest.fixture
def deploy(server: Server, peer: GitPeer) -> Deploy:
    def send(commit: str, path: str = "wf/app.cwl", to: str = "/processes", **more: Any) -> requests.Response:
        unit = {"repository": peer.url, "commit": commit, "path": path, "type": "application/cwl", **more}
        return server.post(to, json={"executionUnit": unit})

    return send


def test_a_process_knows_the_commit_that_it_is_of(server: Server, peer: GitPeer, deploy: Deploy) -> None:
    commit = peer.commit(FILES)
    peer.commit({"wf/app.cwl": "moved on: true"})
    made = deploy(commit)
    assert made.status_code == 201, made.text
    described = server.get(made.headers["location"]).json()
    validate(described, "process")
    assert described["id"] == "say-it"
    assert list(described["inputs"]) == ["text"]
    authors = [
        {"name": "Ada Lovelace", "identifier": "https://orcid.org/0000-0002-1825-0097"},
        {"name": "Analytical Engines"},
    ]
    assert described["source"] == {
        "repository": peer.url,
        "commit": commit,
        "committed": "2026-03-04T05:06:07Z",
        "path": "wf/app.cwl",
        "license": "Apache-2.0",
        "authors": authors,
    }
    roles = {one["role"].rpartition("/")[2]: one["title"] for one in described["metadata"]}
    assert roles["codeRepository"] == f"{peer.url} at {commit}"
    assert roles["license"] == "Apache-2.0"
    assert {"href": peer.url, "rel": "via", "title": f"wf/app.cwl at {commit}"} in described["links"]
    entries = server.get("/audit").json()["entries"]
    assert entries[0]["data"]["commit"] == commit
    assert [one[2] for one in peer.requests] == ["version=2", "version=2"]


def test_the_next_commit_is_the_next_version(server: Server, peer: GitPeer, deploy: Deploy) -> None:
    first = peer.commit(FILES)
    second = peer.commit({"wf/app.cwl": WORKFLOW.replace("text: string", "text: string, more: int?")})
    assert deploy(first).status_code == 201
    unit = {"repository": peer.url, "commit": second, "path": "wf/app.cwl"}
    assert server.put("/processes/say-it", json={"executionUnit": unit}).status_code == 204
    assert server.get("/processes/say-it").json()["source"]["commit"] == second
    assert server.get("/processes/say-it?revision=1").json()["source"]["commit"] == first


def test_a_check_reads_git_as_well(peer: GitPeer, deploy: Deploy) -> None:
    checked = deploy(peer.commit(FILES), to="/check")
    assert checked.status_code == 200, checked.text
    assert checked.json()["process"]["id"] == "say-it"
    assert checked.json()["source"]["license"] == "Apache-2.0"


def test_a_repository_that_moved_is_found(server: Server, peer: GitPeer) -> None:
    commit = peer.commit(FILES)
    old = peer.url.replace("/repo.git", "/older-name")
    peer.moved["/older-name/info/refs"] = peer.url + "/info/refs"
    body = {"executionUnit": {"repository": old, "commit": commit, "path": "tools/say.cwl"}}
    assert server.post("/processes", json=body).status_code == 201


def test_a_repository_that_moved_inside_is_not(server: Server, peer: GitPeer) -> None:
    commit = peer.commit(FILES)
    peer.moved["/older-name/info/refs"] = peer.url.replace("localhost", "127.0.0.1") + "/info/refs"
    old = peer.url.replace("/repo.git", "/older-name")
    body = {"executionUnit": {"repository": old, "commit": commit, "path": "tools/say.cwl"}}
    problem = valid_problem(server.post("/processes", json=body), 400)
    assert "may not connect to 127.0.0.1" in problem["detail"]
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"commit": "main"}, "is not a commit"),
        ({"commit": "12" * 20}, "no such commit"),
        ({"path": "wf/none.cwl"}, "is not in the repository"),
        ({"path": "../../etc/passwd"}, "is not in the repository"),
        ({"path": "lfs.cwl"}, "Git LFS"),
        ({"path": "link.cwl"}, "symbolic link"),
        ({"path": "wf"}, "is a directory"),
        ({"repository": "http://localhost/repo.git"}, "is not the address"),
        ({"repository": "file:///etc"}, "is not the address"),
        ({"repository": "ext::sh -c id"}, "is not the address"),
        ({"repository": "https://me:secret@localhost/x"}, "is not the address"),
        ({"repository": "https://10.0.0.7/x.git"}, "may not connect"),
        ({"repository": "https://127.0.0.1:1/x.git"}, "may not connect"),
        ({"repository": "https://localhost:{port}/none.git"}, "404"),
        ({"repository": "https://localhost:1/x.git"}, "does not answer"),
    ],
)
def test_what_cannot_be_read(server: Server, peer: GitPeer, change: dict[str, str], words: str) -> None:
    (peer.work / "link.cwl").symlink_to("/etc/passwd")
    commit = peer.commit({**FILES, "lfs.cwl": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"})
    port = peer.url.split(":")[2].partition("/")[0]
    change = {key: value.replace("{port}", port) for key, value in change.items()}
    unit = {"repository": peer.url, "commit": commit, "path": "wf/app.cwl", **change}
    problem = valid_problem(server.post("/processes", json={"executionUnit": unit}), 400, None)
    assert words in problem["detail"]
    assert server.get("/processes").json()["processes"] == []


def test_files_left_out_by_the_server_and_submodules(server: Server, peer: GitPeer, deploy: Deploy) -> None:
    peer.git("config", "uploadpack.allowFilter", "true")
    text = TOOL.format(id="say").replace("scene: File?", "scene: {type: File, default: {class: File, path: WHERE}}")
    peer.commit({
        "data/large.bin": bytes(5 * 2**20),
        "data/small.bin": b"\0\1",
        "large.cwl": text.replace("WHERE", "data/large.bin"),
        "small.cwl": text.replace("WHERE", "data/small.bin"),
        "sub.cwl": text.replace("WHERE", "sub/x"),
    })  # fmt: skip
    peer.git("update-index", "--add", "--cacheinfo", f"160000,{'ab' * 20},sub")
    peer.git("commit", "-q", "-m", "a submodule")
    commit = peer.git("rev-parse", "HEAD")
    assert "has more than 4 MiB" in valid_problem(deploy(commit, "large.cwl"), 413, None)["detail"]
    assert "submodule" in valid_problem(deploy(commit, "sub.cwl"), 400, None)["detail"]
    made = deploy(commit, "small.cwl")
    assert made.status_code == 201, made.text


def test_the_command_line(server: Server, peer: GitPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.platform()
    monkeypatch.setenv("BROKER_SERVER", server.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    first = peer.commit(FILES)
    second = peer.commit({"tools/say.cwl": TOOL.format(id="say").replace("count", "times")})

    def broker(*words: str) -> Any:
        return CliRunner().invoke(app, list(words), catch_exceptions=False)

    where = ("--git", peer.url, "--commit")
    checked = broker("check", "wf/app.cwl", *where, first, "-i", "text=hi", "--json")
    assert checked.stdout, checked.stderr
    assert json.loads(checked.stdout)["execution"]["jobOrder"]["text"] == "hi", checked.output
    assert server.get("/processes").json()["processes"] == []
    assert broker("deploy", "wf/app.cwl", *where, first).stdout.strip() == "say-it"
    assert broker("deploy", "wf/app.cwl", *where, second).exit_code != 0
    said = broker("deploy", "wf/app.cwl", *where, second, "--replace", "--id", "say-it")
    assert said.exit_code == 0, said.output
    assert server.get("/processes/say-it").json()["source"]["commit"] == second
    assert "belong together" in broker("deploy", "wf/app.cwl", "--git", peer.url).output
