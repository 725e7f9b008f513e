"""One broker delegates to another: either is killed in the middle, and each job runs once and ends well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from broker.packages.media import BUNDLE_TYPE
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.runner import ECHO, SLEEP, shell

ONE_LINE = (
    "class: CommandLineTool, baseCommand: echo, inputs: {message: {type: string, inputBinding: {}}},"
    " outputs: {said: stdout}, stdout: said.txt"
)
pytestmark = pytest.mark.xdist_group("delegation")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerPeer, BrokerPeer]]:
    """A broker that has no platform but the other one, which sends it notices."""
    folder = tmp_path_factory.mktemp("two")
    with broker_peer(folder / "far", EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]') as far:
        there = {"far": {"adapter": "ogcapi", "url": far.url}}
        with broker_peer(folder / "near", platforms=there, public=True) as near:
            wait_for(lambda: near.get("/platforms").json()["platforms"] != [], 30, lambda: near.log.read_text())
            yield near, far


def remote(far: BrokerPeer, job: str) -> dict[str, Any]:
    """The one job at the other broker that a job became."""
    [found] = far.get(f"/jobs?tag=eb-{job}-1").json()["jobs"]
    return dict(found)


def began(near: BrokerPeer, far: BrokerPeer, job: str) -> None:
    def runs() -> bool:
        return any(one["status"] == "running" for one in far.get(f"/jobs?tag=eb-{job}-1").json()["jobs"])

    wait_for(runs, 30, lambda: f"{near.status(job)} {far.get('/jobs').text[:1000]}")


def test_a_package_runs_there_and_its_provenance_comes_along(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute(near.deploy("id: said\n" + ECHO), {"message": "hello"})
    status = near.ended(job)
    assert status["status"] == "successful", status
    assert status["platform"] == "far"
    result = near.get(near.get(f"/jobs/{job}/results?f=json").json()["said"]["href"].removeprefix(near.url))
    assert result.text == "hello\n"
    there = remote(far, job)
    record = near.get(f"/jobs/{job}/prov?f=record").json()
    delegated = record["delegated"]
    assert delegated["server"] == far.url
    assert delegated["job"] == f"{far.url}/jobs/{there['jobID']}"
    assert delegated["request"]["inputs"] == {"message": "hello"}
    theirs = delegated["provenance"]["activity"]
    assert any(one.get("prov:label") == there["processID"] or "broker:phase" in one for one in theirs.values()), theirs


def test_packages_of_several_documents_and_with_several_processes(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, _ = pair
    step = "{run: tool.cwl, in: {message: message}, out: [said]}"
    flow = (
        "cwlVersion: v1.2\nclass: Workflow\nid: flow\ninputs: {message: string}\n"
        f"outputs: {{said: {{type: File, outputSource: one/said}}}}\nsteps:\n  one: {step}\n"
    )
    bundle = {"kind": "cwl", "entry": "flow.cwl", "documents": {"flow.cwl": flow, "tool.cwl": ECHO}, "files": {}}
    made = near.post("/processes", json=bundle, headers={"Content-Type": BUNDLE_TYPE})
    assert made.status_code == 201, made.text
    tools = [f"- {{id: {name}, {ONE_LINE}}}\n" for name in ("one", "two")]
    graph = near.deploy("cwlVersion: v1.2\n$graph:\n" + "".join(tools), process="two")
    for process in (made.json()["id"], graph):
        status = near.ended(near.execute(process, {"message": "hello"}))
        assert status["status"] == "successful", status


def test_the_other_broker_tells_when_a_job_has_ended(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    """Without a notice it would be looked at every ten seconds."""
    near, far = pair
    job = near.execute(near.deploy("id: doze\n" + SLEEP), {"seconds": "2"})
    assert near.ended(job)["status"] == "successful"
    there = remote(far, job)["jobID"]
    told = far.get(f"/jobs/{there}/callbacks").json()["callbacks"]
    assert told[-1]["state"] == "delivered", told
    done, seen = (datetime.fromisoformat(one["finished"]) for one in (far.status(there), near.status(job)))
    assert (seen - done).total_seconds() < 7


def test_a_process_there_is_registered_by_its_address(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    far.deploy("id: greet\n" + ECHO)
    address = f"{far.url}/processes/greet"
    made = near.post("/processes", json={"executionUnit": {"href": address}})
    assert made.status_code == 201, made.text
    mirrored, original = near.get("/processes/greet").json(), far.get("/processes/greet").json()
    assert mirrored["inputs"] == original["inputs"]
    assert mirrored["outputs"] == original["outputs"]
    assert mirrored["source"]["href"] == address
    job = near.execute("greet", {"message": "hello"})
    assert near.ended(job)["status"] == "successful"
    assert remote(far, job)["processID"] == "greet"
    # it is another one now: what was checked here no longer says what runs there
    changed = far.session.put(
        address,
        data=("id: greet\n" + ECHO.replace("message:", "words:")).encode(),
        headers={"Content-Type": "application/cwl"},
    )
    assert changed.status_code == 204, changed.text
    status = near.ended(near.execute("greet", {"message": "hello"}))
    assert status["status"] == "failed"
    assert status["failure"]["fault"] == "platform"
    assert "input message, input words" in status["failure"]["message"]
    assert far.get("/jobs?processID=greet").json()["jobs"][1:] == []


def test_an_upload_is_sent_along(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    """The other broker cannot read files of this one."""
    near, _ = pair
    text = "id: count\n" + shell('wc -c < "$0"', "{count: stdout}").replace(
        "inputs: []", "inputs: {file: {type: File, inputBinding: {}}}"
    )
    process = near.deploy(text)
    upload = near.post("/uploads?name=data.txt", data=b"12345")
    assert upload.status_code == 201, upload.text
    job = near.execute(process, {"file": {"href": upload.headers["Location"]}})
    status = near.ended(job)
    assert status["status"] == "successful", status
    link = near.get(f"/jobs/{job}/results?f=json").json()["count"]["href"]
    assert near.get(link.removeprefix(near.url)).text.strip() == "5"


def test_dismissed_here_is_dismissed_there(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute(near.deploy("id: sleep\n" + SLEEP), {"seconds": "600"})
    began(near, far, job)
    near.delete(f"/jobs/{job}")
    assert near.ended(job)["status"] == "dismissed"
    assert far.ended(remote(far, job)["jobID"])["status"] == "dismissed"


def test_each_is_killed_in_the_middle(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute(near.deploy("id: nap\n" + SLEEP), {"seconds": "12"})
    began(near, far, job)
    for victim in (near, far):
        victim.kill()
        victim.start()
    status = near.ended(job)
    assert status["status"] == "successful", status
    assert status["attempt"] == 1
    assert remote(far, job)["status"] == "successful"


def test_an_estimate_is_that_of_the_other_broker(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    """Which has its own: of what the same account ran there before."""
    near, far = pair
    far.ended(far.execute("echo", {"message": "x"}))
    body = {"executionUnit": {"href": f"{far.url}/processes/echo"}, "processDescription": {"id": "their-echo"}}
    made = near.post("/processes", json=body, headers={"Content-Type": "application/ogcapppkg+json"})
    assert made.status_code == 201, made.text
    answer = near.post(f"/processes/{made.json()['id']}/estimate", json={"inputs": {"message": "x"}})
    [found] = answer.json()["estimates"]
    assert (found["platform"], found["basis"]) == ("far", "platform"), found
    assert 0 < found["duration"] < 60
    assert "The median of your last" in found["text"]
    jobs = len(far.get("/jobs?limit=100").json()["jobs"])
    new = near.deploy("id: never-there\n" + ECHO)
    [found] = near.post(f"/processes/{new}/estimate", json={"inputs": {"message": "x"}}).json()["estimates"]
    assert (found["basis"], "before it is deployed" in found["text"]) == ("none", True), found
    assert len(far.get("/jobs?limit=100").json()["jobs"]) == jobs
