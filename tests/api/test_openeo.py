"""openEO processes through a whole broker, on a real back-end: deployed, run, and as exact as the same index in CWL."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import rasterio
from rasterio.io import MemoryFile

from tests.bench.flight import LATE, Flight, bound
from tests.bench.sites import OpenEoSite
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.oidc import Provider, provider
from tests.peers.openeo.peer import HERE, SOFTWARE, OpenEoPeer, one, openeo_peer
from tests.peers.web import WebPeer

EO = SOFTWARE.parent / "eo"
DATA = HERE.parents[1] / "data" / "openeo"
SCENE = HERE.parents[2] / "workflows" / "water-bodies" / "data"
MEDIA = "application/vnd.openeo+json;type=process"
RATE, MANY = 50.0, 20
TERMS = {"requests": RATE}
NDWI: dict[str, Any] = json.loads((DATA / "ndwi.json").read_text())

# a client for people's logins by device code; its tokens are for userinfo, which the back-end asks
PEOPLE: dict[str, Any] = {
    "client_id": "openeo-people",
    "redirect_uris": [],
    "response_types": [],
    "application_type": "native",
    "token_endpoint_auth_method": "none",
    "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
}

pytestmark = [pytest.mark.xdist_group("openeo"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider(clients=[PEOPLE], plain=[PEOPLE["client_id"]]) as peer:
        yield peer


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory, issuer: Provider) -> Iterator[OpenEoPeer]:
    directory = tmp_path_factory.mktemp("openeo")
    with openeo_peer(directory, workers=MANY, issuer=issuer.url, client=PEOPLE["client_id"]) as peer:
        yield peer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, back_end: OpenEoPeer) -> Iterator[BrokerPeer]:
    platforms = {
        "local": {"adapter": "local", "software": str(EO)},
        "sky": {
            "adapter": "openeo",
            "url": back_end.url,
            "cwl": "none",
            **back_end.account,
            "terms": {"requests": RATE},
        },
    }
    state = tmp_path_factory.mktemp("broker") / "state"
    with broker_peer(state, platforms=platforms, EGRESS__ALLOW_HOSTS='["127.0.0.1"]') as peer:
        yield peer


def deploy(broker: BrokerPeer, process: dict[str, Any]) -> str:
    answer = broker.post("/processes", data=json.dumps(process), headers={"Content-Type": MEDIA})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def pixels(data: bytes) -> tuple[Any, Any]:
    """Values and grid of a one-band raster."""
    with MemoryFile(data) as memory, memory.open() as source:
        return source.read(1), (source.crs, source.transform, source.shape)


def result(broker: BrokerPeer, job: str) -> bytes:
    [asset] = broker.get(f"/jobs/{job}/results", headers={"Accept": "application/json"}).json()["assets"]
    return broker.session.get(asset["href"], timeout=30).content


@pytest.mark.skipif(not EO.exists(), reason="numpy and rasterio: make .software/eo")
def test_the_same_index_as_cwl_here_and_as_openeo_process_there(broker: BrokerPeer, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-m", "broker.cli", "run"]
    command += [DATA / "ndwi.cwl", "-i", f"scene=@{SCENE}", "--server", broker.url, "--outdir", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    [here] = tmp_path.rglob("*ndwi.tif")
    command[4:] = [DATA / "ndwi.json", "--server", broker.url, "--outdir", tmp_path / "sky"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    [there] = (tmp_path / "sky").rglob("*.tif")
    ours, grid = pixels(here.read_bytes())
    theirs, their_grid = pixels(there.read_bytes())
    assert their_grid == grid
    assert numpy.isfinite(ours).sum() > 10_000
    numpy.testing.assert_allclose(theirs, ours, atol=1e-6, equal_nan=True)


def test_the_official_client_gets_the_same_pixels(broker: BrokerPeer, back_end: OpenEoPeer, tmp_path: Path) -> None:
    extent = {"bbox": [-67.65, -47.875, -67.60, -47.85]}
    job = broker.execute(deploy(broker, NDWI | {"id": "ndwi-part"}), {"area": extent})
    assert broker.ended(job)["status"] == "successful"
    ours, grid = pixels(result(broker, job))
    graph = json.loads(json.dumps(NDWI["process_graph"]))
    west, south, east, north = extent["bbox"]
    graph["load"]["arguments"]["spatial_extent"] = {"west": west, "south": south, "east": east, "north": north}
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    command: list[str | Path] = [
        SOFTWARE / "bin" / "python",
        HERE / "client.py",
        back_end.url,
        tmp_path / "graph.json",
        tmp_path / "out.tif",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    with rasterio.open(tmp_path / "out.tif") as source:
        assert (source.crs, source.transform, source.shape) == grid
        assert source.width < 400
        numpy.testing.assert_array_equal(source.read(1), ours)


def test_a_persons_own_account_is_tried_kept_and_used(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    process = deploy(broker, one("wait", 600) | {"id": "of-jane"})
    command = [sys.executable, "-m", "broker.cli", "credential", "add", "jane", "openeo", back_end.url]
    command += ["--username", "jane", "--server", broker.url]
    kept = [
        subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60) for typed in ("no", "jane123")
    ]
    try:
        assert [ran.returncode == 0 for ran in kept] == [False, True], kept
        assert "knows it as jane" in kept[1].stderr
        assert broker.session.post(f"{broker.url}/credentials/jane/test", json={}, timeout=30).status_code == 200
        job = broker.execute(process, {})
        broker.reaches(job, "running")
        hers = [str(made.get("title")) for made in back_end.platform(username="jane", password="jane123").api.jobs()]
        assert any(job in title for title in hers)
        assert all(job not in str(made.get("title")) for made in back_end.platform().api.jobs())
        assert broker.get("/credentials/jane").json()["lastUsed"] is not None
        broker.delete(f"/jobs/{job}")
        assert broker.ended(job)["status"] == "dismissed"
    finally:
        broker.delete("/credentials/jane")


def test_a_person_logs_in_in_a_browser(broker: BrokerPeer, back_end: OpenEoPeer, issuer: Provider) -> None:
    process = deploy(broker, one("say", "mine") | {"id": "of-ada"})
    command = [sys.executable, "-m", "broker.cli", "credential", "add", "mine", "openeo", back_end.url, "--json"]
    command += ["--server", broker.url]
    adding = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert adding.stderr is not None
        told = adding.stderr.readline()  # it waits until somebody has confirmed the code
        assert not broker.get("/credentials/mine").json()["tested"]
        unconfirmed = broker.execute(process, {})
        assert broker.ended(unconfirmed)["status"] == "successful"  # under the platform's account
        assert broker.get("/credentials/mine").json()["lastUsed"] is None
        issuer.approve(told.split()[1])
        out, err = adding.communicate(timeout=60)
        assert adding.returncode == 0, err
        assert json.loads(out)["answered"].startswith("Account")
        assert json.loads(out)["tested"]
        job = broker.execute(process, {})
        status = broker.ended(job)
        assert status["status"] == "successful", status
        assert broker.get("/credentials/mine").json()["lastUsed"] is not None
        whose = [broker.get(f"/jobs/{one}").json().get("account") for one in (unconfirmed, job)]
        assert whose == [None, {"person": "local"}]
        assert broker.get(f"/jobs/{job}/prov?f=record").json()["platform"]["account"] == "local"
    finally:
        adding.kill()
        adding.communicate()
        broker.delete("/credentials/mine")


def test_a_file_by_value_is_sent_to_the_workspace_there(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    scene = {"name": "scene", "schema": {"type": "string", "subtype": "file-path"}, "description": "A raster."}
    arguments = {"glob_pattern": {"from_parameter": "scene"}, "format": "GTiff"}
    load = {"process_id": "load_disk_data", "arguments": arguments, "result": True}
    process = deploy(broker, {"id": "same", "parameters": [scene], "process_graph": {"load": load}})
    band = (SCENE / "patagonia-sentinel-2" / "red.tif").read_bytes()
    value = {"value": b64encode(band).decode(), "encoding": "base64", "mediaType": "image/tiff"}
    job = broker.execute(process, {"scene": value})
    status = broker.ended(job)
    assert status["status"] == "successful", status
    made, grid = pixels(result(broker, job))
    ours, own = pixels(band)
    assert grid == own
    numpy.testing.assert_array_equal(made, ours)
    api = back_end.platform().api
    wait_for(
        lambda: all(job not in str(one["path"]) for one in api.listed("/files", "files")), 30, lambda: "it is kept"
    )


def test_a_job_there_has_everything_that_a_job_here_has(broker: BrokerPeer) -> None:
    process = deploy(broker, NDWI | {"id": "ndwi-all"})
    described = broker.get(f"/processes/{process}").json()
    assert described["title"] == "Water index"
    assert described["inputs"]["area"]["schema"]["format"] == "ogc-bbox"
    package = broker.get(f"/processes/{process}/package")
    assert package.headers["content-type"] == MEDIA
    assert package.json() == NDWI | {"id": process}
    assert broker.get(f"/processes/{process}?f=html").status_code == 200
    job = broker.execute(process, {})
    assert broker.ended(job)["status"] == "successful"
    record = broker.get(f"/jobs/{job}/prov?f=record").json()
    assert record["process"]["kind"] == "openeo"
    assert record["delegated"]["costs"] == 1.5
    assert record["delegated"]["version"] == "1.2.3-test"
    assert record["steps"][0]["measured"]["cpu"] >= 1
    assert broker.get(f"/jobs/{job}?f=html").status_code == 200
    assert broker.get(f"/jobs/{job}/results?f=html").status_code == 200
    crate = broker.get(f"/jobs/{job}/prov?f=crate")
    assert crate.status_code == 200, crate.text
    [workflow] = [part for part in crate.json()["@graph"] if "ComputationalWorkflow" in part["@type"]]
    assert workflow["encodingFormat"] == MEDIA
    assert workflow["programmingLanguage"]["@id"] == "https://openeo.org"


TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: ndwi-as-tool
$namespaces: {earthcode: "https://earthcode.esa.int/cwl#"}
hints:
  earthcode:OpenEOProcess: {process_id: ndwi, namespace: "%s", save_result: {format: GTiff}}
baseCommand: ["false"]
inputs:
  area: Any?
outputs:
  index: {type: File, outputBinding: {glob: "*.tif"}}
  stac: {type: Directory, outputBinding: {glob: .}}
"""


FLOW = """cwlVersion: v1.2
class: Workflow
id: flow
$namespaces: {earthcode: "https://earthcode.esa.int/cwl#"}
requirements: {ScatterFeatureRequirement: {}}
inputs: {boxes: "Any[]"}
outputs:
  index: {type: "File[]", outputSource: far/index}
  sizes: {type: File, outputSource: near/sizes}
steps:
  far:
    in: {area: boxes}
    scatter: area
    out: [index]
    run:
      class: CommandLineTool
      hints:
        earthcode:OpenEOProcess: {process_id: ndwi, namespace: "%s", save_result: {format: GTiff}}
      baseCommand: ["false"]
      inputs: {area: Any?}
      outputs: {index: {type: File, outputBinding: {glob: "*.tif"}}}
  near:
    in: {files: far/index}
    out: [sizes]
    run:
      class: CommandLineTool
      baseCommand: [wc, -c]
      inputs: {files: {type: "File[]", inputBinding: {}}}
      outputs: {sizes: {type: stdout}}
"""


def test_a_step_that_names_an_openeo_process_runs_there_and_the_others_here(broker: BrokerPeer) -> None:
    with WebPeer() as web:
        process = broker.deploy(FLOW % web.serve("/ndwi.json", (DATA / "ndwi.json").read_bytes()))
    # the process was read when the workflow was deployed
    boxes = [{"bbox": [-67.65, -47.875, east, -47.85]} for east in (-67.60, -67.62)]
    job = broker.execute(process, {"boxes": boxes})
    status = broker.ended(job)
    assert status["status"] == "successful", status
    assert {one["platform"] for one in status["children"]} == {"sky"}
    found = broker.get(f"/jobs/{job}/results?f=json").json()
    sizes = broker.get(found["sizes"]["href"].removeprefix(broker.url)).text.split()
    whole = [broker.get(one["href"].removeprefix(broker.url)).content for one in found["index"]]
    assert [int(one) for one in sizes[:-2:2]] == [len(one) for one in whole]
    record = broker.get(f"/jobs/{job}/prov?f=record").json()
    assert [one["delegated"]["costs"] for one in record["children"]] == [1.5, 1.5]
    assert record["children"][0]["delegated"]["version"] == "1.2.3-test"


def test_a_cwl_tool_that_names_an_openeo_process(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    with WebPeer() as web:
        process = broker.deploy(TOOL % web.serve("/ndwi.json", (DATA / "ndwi.json").read_bytes()))
    job = broker.execute(process, {"area": {"bbox": [-67.65, -47.875, -67.60, -47.85]}})  # the link is gone by now
    status = broker.ended(job)
    assert status["status"] == "successful", status
    outputs = broker.get(f"/jobs/{job}/results", headers={"Accept": "application/json"}).json()
    assert set(outputs) == {"index", "stac"}
    values, _ = pixels(broker.session.get(outputs["index"]["href"], timeout=30).content)
    assert numpy.isfinite(values).all()
    assert broker.get(f"/jobs/{job}/prov?f=crate").status_code == 200


def test_inputs_are_checked_here_before_anything_is_sent_there(broker: BrokerPeer) -> None:
    process = deploy(broker, NDWI | {"id": "ndwi-checked"})
    answer = broker.post(f"/processes/{process}/execution", json={"inputs": {"area": {"bbox": [1, 2]}}})
    assert answer.status_code == 400
    assert "/inputs/area" in answer.text


def test_a_failure_there_is_told_here(broker: BrokerPeer) -> None:
    job = broker.execute(deploy(broker, one("fail", "the band is missing")), {})
    status = broker.ended(job)
    assert status["status"] == "failed"
    assert "the band is missing" in status["message"]


def test_a_dismissed_job_is_cancelled_there_and_gone(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    job = broker.execute(deploy(broker, one("wait", 600)), {})
    broker.reaches(job, "running")
    assert broker.delete(f"/jobs/{job}").status_code == 200
    assert broker.ended(job)["status"] == "dismissed"


def test_what_tries_the_platform_runs_through_the_broker(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    trial = back_end.platform().trial()
    made = broker.post("/processes", data=trial.package, headers={"Content-Type": trial.media_type})
    job = broker.execute(str(made.json()["id"]), trial.inputs, platform="sky")
    assert broker.ended(job)["status"] == "successful"
    assert result(broker, job) == b"3"


def test_cwl_and_openeo_processes_go_where_they_can_run(broker: BrokerPeer) -> None:
    body = {"executionUnit": {"value": NDWI | {"id": "ndwi-where"}, "mediaType": MEDIA}}
    report = broker.post("/check", json=body, headers={"Content-Type": "application/ogcapppkg+json"}).json()
    assert {one["name"].split("@")[0]: one["fits"] for one in report["platforms"]} == {"local": False, "sky": True}


def test_many_jobs_that_end_at_once(broker: BrokerPeer, back_end: OpenEoPeer) -> None:
    """A thousand of them: `python -m tests.bench flight`."""
    site = OpenEoSite(back_end, "sky")
    flown = Flight(broker, site, RATE).fly(MANY, over=0.0)
    assert len(flown.began) == len(flown.ended) == MANY
    assert max(flown.began + flown.ended) <= bound(MANY, RATE), flown
    assert max(site.requests().values()) <= RATE + LATE, site.requests()
