"""Documents of our own over the features of CWL v1.2 (`documents.yml`), each run through the HTTP API of one broker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from broker.cli.client import PACKAGE, bundle_unit
from broker.cli.package import load
from broker.runner import isolation
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.image import IMAGE, make_image

HERE = Path(__file__).parent / "documents"
TABLE: dict[str, dict[str, Any]] = yaml.safe_load(HERE.with_suffix(".yml").read_text("utf-8"))
AT_ONCE = 3


@dataclass(frozen=True)
class Answer:
    """What came of a document's deployment and execution: a job, or the problem that refused it."""

    job: str | None
    refused: str = ""


@dataclass(frozen=True)
class Documents:
    """The broker, and the jobs that it was given at the start."""

    peer: BrokerPeer
    answers: Mapping[str, Future[Answer]]
    lacking: str | None  # why nothing runs in containers here


def start(url: str, name: str, case: Mapping[str, Any]) -> Answer:
    """Deploy a document and execute it."""
    document = HERE / f"{case.get('document', name)}.cwl"
    if case.get("closed"):
        unit = bundle_unit(load(str(document), root=HERE).bundle.to_json())
    else:
        unit = {"value": document.read_text("utf-8"), "mediaType": "application/cwl"}
    deployed = requests.post(
        f"{url}/processes",
        params={"w": case["which"]} if "which" in case else None,
        data=json.dumps({"executionUnit": unit, "processDescription": {"id": name}}),
        headers={"Content-Type": PACKAGE},
        timeout=60,
    )
    if deployed.status_code != 201:
        return Answer(None, problem(deployed))
    started = requests.post(
        f"{url}/processes/{name}/execution",
        json={"inputs": case.get("inputs", {})},
        headers={"Prefer": "respond-async"},
        timeout=60,
    )
    return Answer(started.json()["jobID"]) if started.status_code == 201 else Answer(None, problem(started))


def problem(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.json()['reason']}: {answer.json()['detail']}"


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Documents]:
    """A broker that works on all documents of this session at once."""
    here = [item for item in request.session.items if item.path == Path(__file__) and isinstance(item, pytest.Function)]
    wanted = [str(item.callspec.params["name"]) for item in here if item.originalname == "test_document"]
    lacking = without_containers() if any(TABLE[name].get("image") for name in wanted) else None
    names = [name for name in wanted if not (lacking and TABLE[name].get("image"))]
    with broker_peer(tmp_path_factory.mktemp("documents") / "state") as peer, ThreadPoolExecutor(AT_ONCE) as pool:
        yield Documents(peer, {name: pool.submit(start, peer.url, name, TABLE[name]) for name in names}, lacking)


def without_containers() -> str | None:
    """Why there are no containers here; makes their image where there are."""
    if shutil.which("podman") is None:
        return "podman is missing: apt-get install podman runc"
    engine = isolation.find("auto", "podman")
    if not engine.engine:
        return f"podman starts no container {engine.notes}: apt-get install podman runc"
    make_image(engine)
    return None


@pytest.mark.xdist_group("documents")
@pytest.mark.parametrize("name", TABLE)
def test_document(name: str, documents: Documents) -> None:
    case = TABLE[name]
    if case.get("image") and documents.lacking:
        pytest.skip(documents.lacking)
    answer = documents.answers[name].result(100)
    if "refused" in case:
        assert answer.refused.startswith(f"{case['refused']}: ")
        return
    assert answer.job is not None, answer.refused
    info = documents.peer.ended(answer.job, 100)
    failure = info.get("failure") or {}
    if "fails" in case:
        assert (info["status"], failure.get("reason")) == ("failed", case["fails"]), info
        assert case.get("says", "") in failure["message"]
        assert "/tmp" not in failure["message"], "a path of this machine"
        return
    assert info["status"] == "successful", failure
    found = documents.peer.get(f"/jobs/{answer.job}/results", params={"f": "cwl"}).json()
    assert short(documents.peer, found) == case["output"]


def short(peer: BrokerPeer, value: Any) -> Any:
    """An output as `documents.yml` writes it; the size and the checksum of every file are looked at on the way."""
    if isinstance(value, list):
        return [short(peer, one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class") == "Directory":
        return {"Directory": value["basename"], "listing": by_name(peer, value["listing"])}
    if value.get("class") != "File":
        return {key: short(peer, one) for key, one in value.items()}
    body = peer.session.get(value["location"], timeout=60).content
    assert value["size"] == len(body)
    assert value["checksum"] == f"sha1${hashlib.sha1(body).hexdigest()}"
    found = {"File": value["basename"], "contents": body.decode()}
    if "format" in value:
        found["format"] = value["format"]
    return found | ({"secondaryFiles": by_name(peer, value["secondaryFiles"])} if value.get("secondaryFiles") else {})


def by_name(peer: BrokerPeer, files: list[Any]) -> list[Any]:
    return [short(peer, one) for one in sorted(files, key=lambda one: str(one["basename"]))]


@pytest.mark.xdist_group("documents")
@pytest.mark.parametrize(
    ("name", "code", "inputs"),
    [
        ("shell-quote", 0, {"text": "a", "passed over": 1}),
        ("javascript-library", 0, {"index": 0.1}),
        ("tool-fails", 1, {}),
        ("input-refused", 1, {"cloud": "cirrus"}),
        ("operation", 33, {}),
    ],
)
def test_what_cwltest_calls(name: str, code: int, inputs: Any, documents: Documents, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(inputs))
    command = [sys.executable, "-m", "tests.conformance.broker_cwl", f"--outdir={tmp_path / 'out'}", "--quiet"]
    done = subprocess.run(
        [*command, str(HERE / f"{name}.cwl"), str(tmp_path / "order.json")],
        env={**os.environ, "BROKER_SERVER": documents.peer.url},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if code == 0:
        files = [one for one in json.loads(done.stdout).values() if isinstance(one, dict)]
        assert all(Path(one["path"]).is_relative_to(tmp_path / "out") and Path(one["path"]).is_file() for one in files)


def test_every_document_is_in_the_table() -> None:
    named = {case.get("document", name) for name, case in TABLE.items()}
    assert named == {path.stem for path in HERE.glob("*.cwl")}
    assert all(case["shows"] and len({"output", "fails", "refused"} & case.keys()) == 1 for case in TABLE.values())


def test_the_image_is_the_one_that_the_documents_name() -> None:
    assert all(IMAGE in (HERE / f"{name}.cwl").read_text() for name, case in TABLE.items() if case.get("image"))
