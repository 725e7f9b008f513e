"""Provenance of a whole broker: of jobs that went well, failed, and were dismissed before they began."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_up import SLEEP
from tests.peers import rocrate
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.web import WebPeer

pytestmark = [pytest.mark.xdist_group("broker"), pytest.mark.timeout(300)]
TREE = Path(__file__).resolve().parents[2]
SOFTWARE = TREE / ".software" / "eo"
WATER = TREE / "workflows" / "water-bodies"
COUNTS = """cwlVersion: v1.2
$graph:
- class: Workflow
  id: counts
  requirements: {ScatterFeatureRequirement: {}}
  inputs: {text: File, words: {type: "string[]"}}
  outputs:
    counts: {type: "File[]", outputSource: count/out}
    all: {type: File, outputSource: join/out}
  steps:
    count: {scatter: word, run: "#grep", in: {file: text, word: words}, out: [out]}
    join: {run: "#cat", in: {files: count/out}, out: [out]}
- class: CommandLineTool
  id: grep
  baseCommand: [grep, -c]
  inputs:
    word: {type: string, inputBinding: {position: 1}}
    file: {type: File, inputBinding: {position: 2}}
  stdout: $(inputs.word).txt
  outputs: {out: {type: stdout}}
- class: CommandLineTool
  id: cat
  baseCommand: cat
  inputs: {files: {type: "File[]", inputBinding: {position: 1}}}
  stdout: all.txt
  outputs: {out: {type: stdout}}
"""


@pytest.fixture(scope="module")
def web() -> Iterator[WebPeer]:
    with WebPeer(tls=True) as found:
        found.serve("/text", "a b\n")
        yield found


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, web: WebPeer) -> Iterator[BrokerPeer]:
    assert web.ca_file is not None
    settings: dict[str, Any] = {"EGRESS__ALLOW_HOSTS": '["localhost"]', "EGRESS__CA_FILE": str(web.ca_file)}
    with broker_peer(tmp_path_factory.mktemp("prov") / "state", **settings) as found:
        found.deploy(COUNTS)
        found.deploy(SLEEP)
        yield found


def record(peer: BrokerPeer, job: str) -> dict[str, Any]:
    answer = peer.get(f"/jobs/{job}/prov", params={"f": "record"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def done(peer: BrokerPeer, web: WebPeer) -> str:
    link = {"href": f"{web.url('/text')}?token=canary1", "type": "text/plain"}
    job = peer.execute("counts", {"text": link, "words": ["a", "b"]}, title="A run")
    assert peer.ended(job)["status"] == "successful"
    return job


def test_a_job_that_went_well(peer: BrokerPeer, web: WebPeer, done: str) -> None:
    found = record(peer, done)
    (text,) = found["inputs"]["text"]
    assert (text["location"], text["size"], text["mediaType"]) == (web.url("/text"), 4, "text/plain")
    assert text["sha256"] == hashlib.sha256(b"a b\n").hexdigest()
    assert found["jobOrder"]["text"]["sha256"] == text["sha256"]
    assert [step["name"] for step in found["steps"]] == ["count", "count_2", "join"]
    join = found["steps"][2]
    assert join["inputs"] == [path for step in found["steps"][:2] for path in step["outputs"]]
    assert join["outputs"] == [found["outputs"]["all"][0]["source"]]
    assert join["tool"].endswith("#cat")
    assert (join["requested"]["cores"], join["measured"]["cpu"] >= 0) == (1, True)
    assert found["platform"]["node"] == os.uname().nodename
    assert found["engine"]["name"] == "cwltool"
    assert len(json.dumps(found)) < 5000 * len(found["steps"])
    listed = {one["path"]: one["sha256"] for one in peer.get(f"/jobs/{done}/files").json()["files"]}
    assert {one["path"]: one["sha256"] for name in found["outputs"] for one in found["outputs"][name]} == listed


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("text/provenance-notation", "text/provenance-notation"),
        ("application/provenance+xml", "application/provenance+xml"),
        ("application/xml", "application/xml"),
        ("text/turtle", "text/turtle"),
        ("application/n-triples", "application/n-triples"),
        ("application/ld+json", "application/ld+json"),
        ('application/ld+json;profile="https://w3id.org/ro/crate"', 'application/ld+json; profile="'),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_each_format(peer: BrokerPeer, done: str, accept: str, kind: str) -> None:
    answer = peer.get(f"/jobs/{done}/prov", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"].startswith(kind)) == (200, True), answer.headers
    assert "canary1" not in answer.text
    assert ("@graph" in answer.text and "mainEntity" in answer.text) == ("profile" in accept)


def test_the_crate_by_the_command_line(peer: BrokerPeer, done: str, tmp_path: Path) -> None:
    target = tmp_path / "run.zip"
    command = [sys.executable, "-m", "broker.cli"]
    environment = {**peer.environment, "BROKER_SERVER": peer.url}
    subprocess.run([*command, "crate", done[:-4], "-o", str(target)], env=environment, check=True, capture_output=True)
    with zipfile.ZipFile(io.BytesIO(target.read_bytes())) as archive:
        assert "ro-crate-metadata.json" in archive.namelist()
        assert any(name.startswith("package/") for name in archive.namelist())
        assert not any(b"canary1" in archive.read(name) for name in archive.namelist())
    told = subprocess.run(
        [*command, "prov", done, "--format", "provn"], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout.startswith("document")


def test_a_job_that_failed(peer: BrokerPeer, web: WebPeer) -> None:
    job = peer.execute("counts", {"text": {"href": web.url("/text")}, "words": ["a", "zzz"]})
    assert peer.ended(job)["status"] == "failed"
    found = record(peer, job)
    assert (found["failure"]["reason"], found["failure"]["step"]) == ("tool-failed", "count_2")
    assert {step["status"] for step in found["steps"]} == {"successful", "failed"}
    assert found["outputs"] == {}
    assert found["inputs"]["text"][0]["size"] == 4
    assert peer.get(f"/jobs/{job}/crate").status_code == 200


def test_a_job_that_was_dismissed_before_it_began(peer: BrokerPeer) -> None:
    long = [peer.execute("nap", {"seconds": 60, "mark": "x"}) for _ in range(os.cpu_count() or 1)]
    for job in long:
        peer.reaches(job, "running")
    wait_for(lambda: peer.status(long[0]).get("steps") is not None, 20, lambda: "no step began")
    waits = peer.execute("nap", {"seconds": 60, "mark": "y"})
    early = peer.get(f"/jobs/{waits}/prov")
    assert (early.status_code, early.json()["type"].rpartition("/")[2]) == (404, "result-not-ready")
    for job in (waits, *long):
        assert peer.delete(f"/jobs/{job}").status_code == 200
    for job in (waits, *long):
        assert peer.ended(job)["status"] == "dismissed"
    began = record(peer, long[0])
    assert [step["name"] for step in began["steps"]] == ["nap"]
    assert began["platform"]["node"] == os.uname().nodename
    found = record(peer, waits)
    assert (found["job"]["phase"], found["inputs"]["mark"]) == ("dismissed", {"value": "y"})
    assert peer.get(f"/jobs/{waits}/crate").status_code == 200
    assert peer.get(f"/jobs/{waits}/prov", params={"f": "svg"}).status_code == 200


@pytest.mark.skipif(not SOFTWARE.exists(), reason="numpy and rasterio: make .software/eo")
def test_crates_of_real_jobs_are_valid(tmp_path: Path) -> None:
    """A workflow with STAC in and out, and a single tool."""
    with broker_peer(tmp_path / "state", PLATFORMS__LOCAL__SOFTWARE=str(SOFTWARE)) as peer:
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "broker.cli",
            "run",
            WATER / "package.cwl",
            WATER / "inputs.yml",
        ]
        command += ["--server", peer.url, "--outdir", tmp_path / "out"]
        subprocess.run(command, env=peer.environment, check=True, capture_output=True, timeout=200)
        (water,) = (one["jobID"] for one in peer.get("/jobs", params={"processID": "water-bodies"}).json()["jobs"])
        echo = peer.execute("echo", {"message": "hello"})
        peer.ended(echo)
        for job in (water, echo):
            crate = tmp_path / f"{job}.zip"
            crate.write_bytes(peer.get(f"/jobs/{job}/crate").content)
            with zipfile.ZipFile(crate) as archive:
                archive.extractall(tmp_path / job)
            found = rocrate.validated(tmp_path / job, tmp_path / "cache")
            assert {name: one["issues"] for name, one in found.items()} == {name: [] for name in rocrate.PROFILES}
        told = record(peer, water)
        assert {file.get("stacId") for files in told["outputs"].values() for file in files} - {None}
        (scene,) = told["inputs"]["scene"]
        assert all(len(file["sha256"]) == 64 for file in scene["files"])
        assert "inputs/scene/data/catalog.json" in {file["path"] for file in scene["files"]}
