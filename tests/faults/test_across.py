"""One workflow across platforms: steps of it run at another broker, in one job, with one provenance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.broker import BrokerPeer, broker_peer, wait_for

pytestmark = pytest.mark.xdist_group("across")
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
id: across
$namespaces: {earthcode: "https://earthcode.esa.int/cwl#"}
requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  MultipleInputFeatureRequirement: {}
inputs: {word: string, n: {type: "int[]", default: [1, 2, 7]}, seconds: {type: int, default: 0}}
outputs:
  all: {type: File, outputSource: last/out}
  first: {type: File, outputSource: first/out}
steps:
  first:  # here
    in: {word: word}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0"; date +%s%N']
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: first.txt
  away:  # elsewhere, for each n below 3
    in:
      made: first/out
      n: n
      seconds: seconds
      twice: {valueFrom: $(inputs.n * 2)}
    when: $(inputs.n < 3)
    scatter: n
    out: [out]
    hints: {"earthcode:Platform": {platform: PLATFORM}}
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, '[ $1 = 0 ] && exit 3; head -n 1 "$0"; echo $1; sleep $2']
      inputs:
        made: {type: File, inputBinding: {position: 1}}
        twice: {type: int, inputBinding: {position: 2}}
        seconds: {type: int, inputBinding: {position: 3}}
      outputs: {out: {type: stdout}}
  last:  # here, with what came back
    in: {parts: {source: away/out, pickValue: all_non_null}}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {parts: {type: "File[]", inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: all.txt
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerPeer, BrokerPeer]]:
    """A broker that runs jobs itself, and has another one as a platform."""
    folder = tmp_path_factory.mktemp("across")
    with broker_peer(folder / "far", EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]') as far:
        platforms = {"local": {"adapter": "local"}, "far": {"adapter": "ogcapi", "url": far.url}}
        with broker_peer(folder / "near", platforms=platforms) as near:
            wait_for(lambda: len(near.get("/platforms").json()["platforms"]) == 2, 30, lambda: near.log.read_text())
            near.deploy(WORKFLOW.replace("PLATFORM", "far"))
            yield near, far


def text_of(near: BrokerPeer, job: str, output: str) -> str:
    href = near.get(f"/jobs/{job}/results?f=json").json()[output]["href"]
    return near.get(href.removeprefix(near.url)).text


def children(near: BrokerPeer, job: str) -> list[dict[str, Any]]:
    return list(near.status(job).get("children", ()))


def runs_there(near: BrokerPeer, far: BrokerPeer, job: str) -> None:
    """Returns once the job waits for steps of which one runs at the other broker."""

    def runs() -> bool:
        tags = [f"eb-{one['jobID']}-1" for one in children(near, job)]
        return any(far.get(f"/jobs?tag={tag}&status=running").json()["jobs"] for tag in tags)

    wait_for(runs, 60, lambda: f"{near.status(job)} {near.log.read_text()[-2000:]}")


def test_a_workflow_runs_here_and_there(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, _ = pair
    job = near.execute("across", {"word": "hello"}, title="mine", tags=["t"])
    status = near.ended(job)
    assert status["status"] == "successful", status
    assert text_of(near, job, "all") == "hello\n2\nhello\n4\n"
    assert text_of(near, job, "first").startswith("hello\n")
    events = [(one["event"], one["phase"]) for one in near.get(f"/jobs/{job}/events").json()["events"]]
    assert [one for one in events if one[0] in ("needs", "waiting", "brought")] == [
        ("needs", "collecting"),
        ("waiting", "waiting"),
        ("brought", "accepted"),
    ]
    # its children: jobs of the same person, which lead to it and to which it leads
    assert {(one["step"].partition("_")[0], one["platform"], one["status"]) for one in status["children"]} == {
        ("away", "far", "successful")
    }
    links = [one["href"] for one in status["links"] if one["rel"] == "child"]
    assert [link.rpartition("/")[2] for link in links] == [one["jobID"] for one in status["children"]]
    assert len(links) == 2
    child = near.status(links[0].rpartition("/")[2])
    assert [one["href"] for one in child["links"] if one["rel"] == "up"] == [f"{near.url}/jobs/{job}"]
    assert child["title"] == "mine: away"
    [described] = [one["href"] for one in child["links"] if one["rel"] == "describedby"]
    assert set(near.get(described.removeprefix(near.url)).json()["inputs"]) == {"made", "twice", "seconds"}
    assert child["processID"] not in near.get("/processes").text
    page, own = near.get(f"/jobs/{job}?f=html").text, near.get(f"/jobs/{child['jobID']}?f=html")
    assert "Steps on other platforms" in page
    assert child["jobID"] in page
    assert own.status_code == 200
    assert job in own.text
    assert "Run again" not in own.text  # a step by itself is no process
    # the step that makes other text each time ran once, and its text went there and came back as it was
    steps = {one["name"]: one["status"] for one in near.get(f"/jobs/{job}/steps").json()["steps"]}
    assert steps["first"] == "replayed"


def test_one_provenance_covers_all(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute("across", {"word": "told", "n": [1]})
    assert near.ended(job)["status"] == "successful"
    record = near.get(f"/jobs/{job}/prov?f=record").json()
    assert set(record["outputs"]) == {"all", "first"}
    assert {one["path"] for value in record["outputs"].values() for one in value} == {"all/all.txt", "first/first.txt"}
    [child] = record["children"]
    assert child["step"] == "away"
    assert child["platform"]["name"] == "far"
    assert child["delegated"]["server"] == far.url
    theirs = near.get(f"/jobs/{child['job']}/prov?f=record")
    assert theirs.json()["job"]["parent"] == job
    assert theirs.json()["package"] == child["package"]
    steps = {one["name"]: one for one in record["steps"]}
    assert steps["away"]["node"] == "far"
    assert steps["away"]["outputs"] == steps["last"]["inputs"]  # from the one to the other, whatever lies between them
    written = near.get(f"/jobs/{job}/prov?f=json").json()
    assert written["activity"][f"job:{child['job']}"]["broker:server"] == far.url
    for kind in ("crate", "html"):
        assert near.get(f"/jobs/{job}/prov?f={kind}").status_code == 200
    # what was kept for the other platform is gone
    own = near.state / "files" / "objects" / "local" / job
    wait_for(lambda: [one.name for one in own.iterdir()] == ["2"], 10, lambda: str([*own.rglob("*")]))
    assert near.get(f"/jobs/{child['job']}/results?f=json").status_code == 200


def test_a_failure_there_fails_the_job_and_ends_what_else_runs_there(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, _ = pair
    job = near.execute("across", {"word": "x", "n": [0, 1], "seconds": 600})
    status = near.ended(job)
    assert status["status"] == "failed", status
    assert status["failure"]["step"].startswith("away")
    assert "away" in status["message"]
    assert "on far failed" in status["message"]
    sent = [one["jobID"] for one in status["children"]]
    wait_for(lambda: all("finished" in near.status(one) for one in sent), 30, lambda: str(status["children"]))
    assert sorted(near.status(one)["status"] for one in sent) == ["dismissed", "failed"]


def test_dismissed_while_it_waits(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute("across", {"word": "y", "n": [1], "seconds": 600})
    runs_there(near, far, job)
    assert near.status(job)["phase"] == "waiting"
    assert near.status(job)["status"] == "running"
    near.delete(f"/jobs/{job}")
    assert near.ended(job)["status"] == "dismissed"
    [child] = children(near, job)
    assert near.ended(child["jobID"])["status"] == "dismissed"
    assert far.get("/jobs?status=running").json()["jobs"] == []


def test_a_broker_that_is_killed_in_the_middle_goes_on(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, far = pair
    job = near.execute("across", {"word": "z", "n": [1, 2], "seconds": 2})
    runs_there(near, far, job)
    near.kill()
    near.start()
    status = near.ended(job)
    assert status["status"] == "successful", status
    assert text_of(near, job, "all") == "z\n2\nz\n4\n"
    assert len(status["children"]) == 2


def test_a_platform_that_is_not_there(pair: tuple[BrokerPeer, BrokerPeer]) -> None:
    near, _ = pair
    text = WORKFLOW.replace("PLATFORM", "nowhere").replace("id: across", "id: lost")
    made = near.post("/processes", data=text.encode(), headers={"Content-Type": "application/cwl"}).json()
    assert any("the platform nowhere, which is not here" in one for one in made["warnings"]), made
    status = near.ended(near.execute("lost", {"word": "x", "n": [1]}))
    assert status["status"] == "failed"
    assert "The step away cannot run elsewhere" in status["message"]
    assert "nowhere" in status["message"]
    assert "children" not in status
