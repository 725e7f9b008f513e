"""Reproductions through the API: an experiment that was published in a catalog is checked, deployed, run, compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from broker.queue.comparer import Comparer
from broker.results.catalogplan import plan
from broker.results.configuration import GitCatalog, Publishing
from broker.results.osc import HOME
from broker.results.tree import Files
from broker.settings import EgressSettings
from broker.store import processes
from tests.api import experiments
from tests.api.conftest import MakeServer
from tests.api.server import TOOL, Server
from tests.peers.osc import bare, catalog
from tests.peers.web import WebPeer
from tests.unit.results.samples import a_request, published

SAID = {"said": {"class": "File", "location": "said.txt", "basename": "said.txt"}}
RECORD = f"{HOME}experiments/say-hello/record.json"
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "osc.git"


@pytest.fixture
def server(with_settings: MakeServer, remote: Path) -> Server:
    targets = {"osc": GitCatalog(remote=str(remote))}
    egress = EgressSettings(allow_networks=("127.0.0.0/8",))
    found = with_settings(publish=Publishing(targets=targets), egress=egress)
    found.ready()
    return found


@pytest.fixture
def files(server: Server) -> dict[str, bytes]:
    """A catalog in which a run of `say` is published; the process is gone from the broker by then."""
    job = server.execute(inputs={"text": "hello", "count": 2})
    server.succeed(job, SAID, {"said.txt": b"hello\n"})
    record = server.get(f"/jobs/{job}/prov?f=record").json()
    with server.database.read() as tx:
        bundle, _ = processes.package(tx, record["process"]["digest"])
    (text,) = bundle["documents"].values()
    made = published(record, package=text.encode(), entry=bundle["entry"], broker=None)
    found = plan(Files(catalog()), a_request(experiment={"id": "say-hello"}), made)
    assert server.delete("/processes/say").status_code == 204
    return {**catalog(), **found.files}


def reproduced(server: Server, experiment: str, content: bytes, **body: Any) -> tuple[str, dict[str, Any]]:
    """Run an experiment again; it makes `content`. The job, and the comparison."""
    answer = server.post("/reproductions", json={"experiment": experiment, **body})
    assert answer.status_code == 201, answer.text
    job = str(answer.json()["jobID"])
    server.succeed(job, SAID, {"said.txt": content})
    assert Comparer(server.site.broker).step()
    return job, server.get(f"/jobs/{job}/comparison").json()


def test_from_the_catalog_alone(server: Server, files: Mapping[str, bytes], remote: Path) -> None:
    bare(remote, files)
    found = server.post("/reproductions?check=true", json={"experiment": "say-hello"}).json()
    assert (found["runnable"], found["deploys"], found["findings"]) == (True, True, [])
    assert found["inputs"] == {"text": "hello", "count": 2}
    assert server.get("/processes/say").status_code == 404, "a check deploys nothing"
    job, comparison = reproduced(server, "say-hello", b"hello\n")
    assert comparison["verdict"] == "identical"
    assert comparison["with"] == {
        "kind": "experiment",
        "name": "say-hello",
        "href": f"{HOME}experiments/say-hello/record.json",
    }
    status = server.get(f"/jobs/{job}").json()
    assert status["reproduces"] == RECORD
    process = server.get("/processes/say").json()
    assert (status["processID"], process["shared"]) == ("say", "private")
    record = server.get(f"/jobs/{job}/prov?f=record").json()
    assert record["reproduces"]["name"] == "say-hello"
    assert record["process"]["digest"] == record["reproduces"]["digest"]
    job, comparison = reproduced(server, "say-hello", b"HELLO\n", inputs={"text": "HELLO"})
    assert comparison["verdict"] == "different"
    assert server.get(f"/jobs/{job}/inputs").json()["inputs"] == {"text": "HELLO", "count": 2}
    assert server.get(f"/jobs/{job}").json()["processID"] == "say", "the same package is not deployed twice"


def test_from_an_address(server: Server, files: Mapping[str, bytes]) -> None:
    with WebPeer() as web:
        for path, content in files.items():
            web.serve(f"/{path}", content)
        _, comparison = reproduced(server, web.url("/experiments/say-hello/record.json"), b"hello\n")
        assert comparison["verdict"] == "identical"
        gone = server.post("/reproductions", json={"experiment": web.url("/experiments/nothing/record.json")})
    assert (gone.status_code, gone.json()["reason"]) == (400, "invalid-input")
    assert "404" in gone.json()["detail"]


def test_from_records_that_are_sent_along(server: Server, files: Mapping[str, bytes]) -> None:
    sent = {path: text.decode() for path, text in files.items() if "say" in path}
    _, comparison = reproduced(server, "experiments/say-hello/record.json", b"hello\n", files=sent)
    assert comparison["verdict"] == "identical"


def test_a_job_again(server: Server) -> None:
    first = server.execute(inputs={"text": "one"})
    assert server.post("/reproductions", json={"experiment": first}).json()["reason"] == "wrong-phase"
    server.succeed(first, SAID, {"said.txt": b"one\n"})
    job, comparison = reproduced(server, first, b"one\n")
    assert (comparison["verdict"], comparison["with"]) == ("identical", {"kind": "job", "id": first})
    assert server.get(f"/jobs/{job}").json()["reproduces"] == first


def test_the_images_that_ran_run_again(server: Server) -> None:
    """No registry is asked: it may tell another digest for the tag by now."""
    image, digests = "ghcr.io/example/crop:1.0", ["sha256:" + digit * 64 for digit in "12"]
    package = TOOL.format(id="crops") + f"hints: {{DockerRequirement: {{dockerPull: '{image}'}}}}\n"
    asked = [
        experiments.request(package, environment=f"steps: [{{image: '{image}', imageDigest: '{digest}'}}]")
        for digest in digests
    ]
    answer = server.post("/reproductions", json=asked[0])
    assert answer.status_code == 201, answer.text
    with server.database.read() as tx:
        assert processes.get(tx, "crops").images == {image: digests[0]}
    told = server.post("/reproductions?check=true", json=asked[0]).json()["findings"]
    assert "image-differs" not in {one["code"] for one in told}
    told = server.post("/reproductions?check=true", json=asked[1]).json()["findings"]
    [other] = [one for one in told if one["code"] == "image-differs"]
    assert (other["level"], "sha256:22222" in other["message"]) == ("warning", True)
    odd = experiments.request(package, environment=f"steps: [5, {{image: '{image}', imageDigest: 'sha256:x'}}]")
    assert server.post("/reproductions?check=true", json=odd).json()["runnable"]


def test_a_package_without_inputs_needs_none(server: Server) -> None:
    package = TOOL.format(id="quiet").replace("  text: {type: string, inputBinding: {position: 1}}\n", "")
    package = package.replace("  count: {type: int, default: 1}\n  scene: File?\n", "").replace("inputs:", "inputs: {}")
    found = server.post("/reproductions?check=true", json=experiments.request(package, input="")).json()
    assert (found["runnable"], found["inputs"]) == (True, {})
    assert ("warning", "input-empty") in {(one["level"], one["code"]) for one in found["findings"]}


def changed(files: Mapping[str, bytes], path: str, old: str, new: str) -> dict[str, str]:
    """The records to send along, with one of them changed."""
    text = files[path].decode()
    assert old in text
    found = {name: content.decode() for name, content in files.items() if "say" in name}
    return {**found, path: text.replace(old, new)}


@pytest.mark.parametrize(
    ("path", "old", "new", "code", "words"),
    [
        ("workflows/say/package.cwl", "[echo]", "[cat]", "digest-differs", "not the one that ran"),
        ("workflows/say/package.cwl", "class: CommandLineTool", "class: Nothing", "package-invalid", "cannot be run"),
        ("experiments/say-hello/input.yaml", "count: 2", "count: many", "inputs-unfit", "The input count "),
        ("experiments/say-hello/input.yaml", "text: hello", "words: hello", "inputs-unfit", "is not an input"),
        ("workflows/say/record.json", "./package.cwl", "./package.ipynb", "package-unreachable", "has no workflows"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_told(
    server: Server, files: Mapping[str, bytes], path: str, old: str, new: str, code: str, words: str
) -> None:
    sent = changed(files, path, old, new)
    body = {"experiment": "experiments/say-hello/record.json", "files": sent}
    found = server.post("/reproductions", json={**body, "check": True}).json()
    assert not found["runnable"]
    assert any(one["code"] == code and words in one["message"] for one in found["findings"]), found["findings"]
    refused = server.post("/reproductions", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (400, "invalid-input")
    assert words in refused.json()["detail"]
    assert server.get("/processes/say").status_code == 404


def test_a_platform_that_cannot_is_told_and_inputs_that_are_given_take_the_place_of_none(
    server: Server, files: Mapping[str, bytes]
) -> None:
    sent = {**changed(files, "experiments/say-hello/input.yaml", "text: hello", "")}
    sent["experiments/say-hello/input.yaml"] = ""
    body = {"experiment": "experiments/say-hello/record.json", "files": sent, "check": True}
    told = server.post("/reproductions", json=body).json()
    assert [(one["level"], one["code"]) for one in told["findings"]] == [("error", "input-empty")]
    told = server.post("/reproductions", json={**body, "inputs": {"text": "mine"}, "platform": "moon"}).json()
    assert [(one["level"], one["code"]) for one in told["findings"]] == [
        ("warning", "input-empty"),
        ("error", "no-platform"),
    ]
    told = server.post("/reproductions", json={**body, "inputs": {"text": "mine"}}).json()
    assert (told["runnable"], told["inputs"], told["platform"]) == (True, {"text": "mine"}, "scripted")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/experiment"),
        ({"experiment": 5}, "/experiment"),
        ({"experiment": "a/b/c"}, "/experiment"),
        ({"experiment": "x", "files": ["x"]}, "/files"),
        ({"experiment": "x", "files": {"../../etc": "x"}}, "/files"),
        ({"experiment": "experiments/x/record.json", "files": {"experiments/y/record.json": "{}"}}, "/experiment"),
        ({"experiment": "x", "tolerance": {"much": 1}}, "/tolerance"),
        ({"experiment": "x", "check": "yes"}, "/check"),
        ({"experiment": "x", "platfrom": "y"}, "/platfrom"),
    ],
)
def test_a_request_that_is_none_is_refused_with_its_member(still: Server, body: Any, pointer: str) -> None:
    for path in ("/reproductions", "/jobs"):
        refused = still.post(path, json=body)
        assert refused.status_code == 400
        assert pointer in [one["pointer"] for one in refused.json()["errors"]]


def test_a_private_address_is_not_asked(with_settings: MakeServer, remote: Path) -> None:
    closed = with_settings()
    with WebPeer() as web:
        refused = closed.post("/reproductions", json={"experiment": web.url("/record.json")})
        assert web.requests == []
    assert refused.status_code == 400
    assert "private" in refused.json()["detail"] or "may not connect" in refused.json()["detail"]


def test_the_same_key_gives_the_same_job(server: Server) -> None:
    first = server.execute(inputs={"text": "one"})
    server.succeed(first, SAID, {"said.txt": b"one\n"})
    answers = [
        server.post("/reproductions", json={"experiment": first}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert len({one.json()["jobID"] for one in answers}) == 1
    other = server.post("/reproductions", json={"experiment": first, "title": "x"}, headers={"Idempotency-Key": "k"})
    assert other.json()["reason"] == "idempotency-key-reused"


def test_the_page_shows_what_was_found_and_runs_it(server: Server, files: Mapping[str, bytes], remote: Path) -> None:
    bare(remote, files)
    empty = server.get("/reproductions/new", headers=BROWSER)
    assert "Look it up" in empty.text
    assert "Run it again" not in empty.text
    shown = server.get("/reproductions/new?experiment=say-hello", headers=BROWSER)
    assert "It can be run again" in shown.text
    assert "not here yet" in shown.text
    form = {"experiment": "say-hello", "do": "run", "inputs": '{"text": "other"}', "platform": "moon"}
    wrong = server.post("/reproductions", data=form, headers=BROWSER)
    assert "there is no platform" in wrong.text
    sent = server.post("/reproductions", data={**form, "platform": ""}, headers=BROWSER, allow_redirects=False)
    assert sent.status_code == 303, sent.text
    job = sent.headers["Location"].partition("?")[0].rpartition("/")[2]
    assert server.get(f"/jobs/{job}/inputs").json()["inputs"]["text"] == "other"
    nothing = server.get("/reproductions/new?experiment=nothing", headers=BROWSER)
    assert (nothing.status_code, "has no experiments/nothing/record.json" in nothing.text) == (400, True)
