"""From a run to its publication, and from the publication alone to the same results on another broker.

water-bodies runs on a real scene; results go to a results repository, records to a catalog, and somebody merges them.
Then a second broker, which has never seen any of it, is given the id of the experiment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.osc import bare, run
from tests.peers.prr import prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY
from tests.peers.web import WebPeer
from tests.unit.results.samples import a_request

HERE = Path(__file__).parents[2]
SOFTWARE = HERE / ".software" / "eo"
PACKAGE = HERE / "workflows" / "water-bodies"
SCENE = PACKAGE / "data"
COLLECTION, EXPERIMENT = "water", "water-bodies-of-patagonia"
INPUTS = {"index": "mndwi", "otsu": "always", "min_pixels": 12}

pytestmark = [
    pytest.mark.xdist_group("broker"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(not SOFTWARE.exists(), reason="numpy and rasterio: make .software/eo"),
]


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The catalog, a bare repository."""
    return Path(bare(tmp_path / "osc.git"))


@pytest.fixture
def around(tmp_path: Path, remote: Path) -> Iterator[tuple[BrokerPeer, BrokerPeer, WebPeer, str]]:
    """The broker that publishes and the one that reproduces, where the scene lies, its address."""
    catalog = {"kind": "git", "remote": str(remote)}
    with ExitStack() as stack:
        prr = stack.enter_context(prr_peer())
        prr.collection(COLLECTION)
        web = stack.enter_context(WebPeer())
        for path in SCENE.rglob("*"):
            if path.is_file():
                web.serve(f"/scene/{path.relative_to(SCENE)}", path.read_bytes())
        repository = {
            "kind": "prr",
            "reg_api": f"{prr.url}/reg-api",
            "stac": f"{prr.url}/stac",
            "s3_endpoint": prr.s3.endpoint,
            "collection": COLLECTION,
        }
        first, second = (
            stack.enter_context(
                broker_peer(
                    tmp_path / name,
                    PLATFORMS__LOCAL__SOFTWARE=str(SOFTWARE),
                    EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]',
                    PUBLISH__TARGETS=json.dumps(targets),
                )
            )
            for name, targets in (("first", {"prr": repository, "osc": catalog}), ("second", {"osc": catalog}))
        )
        account = {"kind": "prr", "origin": prr.url, "username": ACCESS_KEY, "password": SECRET_KEY}
        kept = first.session.put(f"{first.url}/credentials/prr?test=false", json=account, timeout=30)
        assert kept.status_code == 201, kept.text
        yield first, second, web, web.url("/scene/catalog.json")


def published(broker: BrokerPeer, job: str) -> dict[str, dict[str, Any]]:
    """Publish a job in both places; the publications by target, the records proposed."""
    body = a_request(experiment={"id": EXPERIMENT}, collection=None)
    asked = broker.post(f"/jobs/{job}/publications", json={"target": ["prr", "osc"], **body})
    assert asked.status_code == 201, asked.text
    ids = [one["id"] for one in asked.json()["publications"]]

    def now() -> dict[str, dict[str, Any]]:
        return {one["target"]: one for one in (broker.get(f"/publications/{each}").json() for each in ids)}

    wait_for(
        lambda: {name: one["state"] for name, one in now().items()} == {"prr": "published", "osc": "proposed"},
        60,
        lambda: json.dumps(now(), indent=1),
    )
    return now()


def merge(remote: Path) -> None:
    """What a data steward does with the one branch that is proposed."""
    [branch] = run(remote, "for-each-ref", "--format=%(refname)", "refs/heads/broker").split()
    run(remote, "update-ref", "refs/heads/main", branch)


def reproduced(broker: BrokerPeer, **body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The status of the job that runs it again, and the comparison."""
    answer = broker.post("/reproductions", json={"experiment": EXPERIMENT, **body})
    assert answer.status_code == 201, answer.text
    job = str(answer.json()["jobID"])
    status = broker.ended(job, 120)
    assert status["phase"] == "successful", status
    wait_for(
        lambda: broker.get(f"/jobs/{job}/comparison").json().get("state") == "done",
        60,
        lambda: broker.get(f"/jobs/{job}/comparison").text,
    )
    return status, broker.get(f"/jobs/{job}/comparison").json()


def test_a_published_experiment_gives_the_same_on_an_empty_broker(
    around: tuple[BrokerPeer, BrokerPeer, WebPeer, str], remote: Path
) -> None:
    first, second, web, scene = around
    command = [sys.executable, "-m", "broker.cli", "deploy", str(PACKAGE / "package.cwl"), "--server", first.url]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    job = first.execute("water-bodies", {**INPUTS, "scene": {"href": scene, "type": "application/json"}})
    assert first.ended(job, 120)["phase"] == "successful"
    published(first, job)
    unknown = second.post("/reproductions", json={"experiment": EXPERIMENT})
    assert unknown.status_code == 400, "it is proposed, and nobody has agreed yet"
    merge(remote)
    paths = run(remote, "ls-tree", "-r", "--name-only", "main").split()
    [path] = [one for one in paths if "/water-bodies" in one and one.endswith("input.yaml")]
    bands = yaml.safe_load(run(remote, "show", f"main:{path}"))["scene"]["files"]
    assert len(bands) > 1
    assert all(one["path"] and len(one["sha256"]) == 64 for one in bands)
    assert second.get("/processes/water-bodies").status_code == 404

    status, same = reproduced(second)
    report = same["report"]
    assert (same["verdict"], report["verdict"]) == ("identical", "identical"), report
    files = first.get(f"/jobs/{job}/files").json()["files"]
    assert {one["path"] for one in report["outputs"]} == {one["path"] for one in files}
    assert {one["verdict"] for one in report["outputs"]} == {"identical"}
    digests = [one.get("/processes/water-bodies").json()["digest"] for one in (first, second)]
    assert digests[0] == digests[1]
    assert status["reproduces"].endswith(f"/experiments/{EXPERIMENT}/record.json")

    _, other = reproduced(second, inputs={"min_pixels": 400})
    assert other["verdict"] == "different"
    outputs = {one["path"].rpartition("/")[2]: one for one in other["report"]["outputs"]}
    assert outputs["catalog.json"]["verdict"] == "identical"
    differ = {name: one["by"] for name, one in outputs.items() if one["verdict"] != "identical"}
    assert differ
    assert "bytes" not in differ.values(), "each is at hand to be compared by its format"
    assert "STAC" in differ.values()

    changed = next(path for path in SCENE.rglob("*.tif"))
    web.serve(f"/scene/{changed.relative_to(SCENE)}", changed.read_bytes() + b" ")
    answer = second.post("/reproductions", json={"experiment": EXPERIMENT})
    assert answer.status_code == 201, answer.text
    refused = second.ended(str(answer.json()["jobID"]), 120)
    assert (refused["phase"], refused["failure"]["fault"]) == ("failed", "staging")
    assert f"{changed.name} is not the expected file" in refused["failure"]["message"]
