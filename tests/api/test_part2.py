"""Part 2 as its executable test suite asks for it: deploy, replace, undeploy, exact status codes and types."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml

from broker.jobs.model import Phase
from tests.api.schemas import valid_problem, validate
from tests.api.server import TOOL, Server

TYPES = "http://www.opengis.net/def/exceptions/ogcapi-processes-2/1.0/"
NO_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"
CLASSES = "http://www.opengis.net/spec/ogcapi-processes-2/1.0/conf/"
SAMPLE = Path(__file__).parents[1] / "data" / "ogcapi" / "ets" / "part2-ogcapppkg.json"
CWL = {"Content-Type": "application/cwl+yaml"}
PACKAGE = {"Content-Type": "application/ogcapppkg+json"}


@pytest.fixture
def server(lone: Server) -> Server:
    lone.site.broker.install_builtin()
    return lone


def test_classes(server: Server) -> None:
    declared = server.get("/conformance").json()["conformsTo"]
    for name in ("deploy-replace-undeploy", "ogcapppkg", "cwl", "docker"):
        assert CLASSES + name in declared


def test_every_process_says_whether_it_is_mutable(server: Server) -> None:
    server.deploy()
    listed = {one["id"]: one["mutable"] for one in server.get("/processes").json()["processes"]}
    assert listed == {"echo": False, "say": True}


@pytest.mark.parametrize("name", ["cwl", "package"])
def test_deploy_twice_replace_undeploy(server: Server, name: str) -> None:
    kind, body, process = {
        "cwl": (CWL, TOOL.format(id="say").encode(), "say"),
        "package": (PACKAGE, SAMPLE.read_bytes(), "BandMath"),
    }[name]
    made = server.post("/processes", data=body, headers=kind)
    assert made.status_code == 201, made.text
    validate(made.json(), "processSummary")
    assert made.headers["location"] == f"{server.url}/processes/{process}"
    again = server.post("/processes", data=body, headers=kind)
    valid_problem(again, 409, TYPES + "duplicated-process")
    package = server.get(f"/processes/{process}/package")
    assert (package.content, package.headers["content-type"]) == (body, kind["Content-Type"])
    replaced = server.put(f"/processes/{process}", data=body, headers=kind)
    assert (replaced.status_code, replaced.content) == (204, b"")
    assert server.delete(f"/processes/{process}").status_code == 204
    valid_problem(server.get(f"/processes/{process}"), 404, NO_PROCESS)


def test_the_built_in_process_is_immutable(server: Server) -> None:
    body = TOOL.format(id="echo").encode()
    there = server.post("/processes", data=body, headers=CWL)
    valid_problem(there, 403, TYPES + "immutable-process")
    valid_problem(server.put("/processes/echo", data=body, headers=CWL), 403, TYPES + "immutable-process")
    valid_problem(server.delete("/processes/echo"), 403, TYPES + "immutable-process")
    assert server.get("/processes/echo").status_code == 200


@pytest.mark.parametrize("verb", ["POST", "PUT"])
def test_text_is_no_package(server: Server, verb: str) -> None:
    server.deploy()
    path = "/processes" if verb == "POST" else "/processes/say"
    answer = server.request(verb, path, data=b"unsupported", headers={"Content-Type": "text/plain"})
    valid_problem(answer, 415, TYPES + "unsupported-media-type")


def test_a_workflow_that_is_not_there(server: Server) -> None:
    answer = server.post("/processes?w=none", data=TOOL.format(id="say").encode(), headers=CWL)
    valid_problem(answer, 400, TYPES + "workflow-not-found")
    unit = {"executionUnit": {"value": yaml.safe_load(TOOL.format(id="say")), "mediaType": "application/cwl+json"}}
    answer = server.post("/processes?w=none", data=json.dumps(unit), headers=PACKAGE)
    valid_problem(answer, 400, TYPES + "workflow-not-found")


def test_replacing_keeps_the_old_version(server: Server) -> None:
    server.platform()
    first = TOOL.format(id="say").replace(
        "id: say", "id: say\n$namespaces: {s: 'https://schema.org/'}\ns:softwareVersion: 3.5"
    )
    second = first.replace("3.5", "4.0").replace("count:", "times:")
    assert server.deploy(first).status_code == 201
    old = server.execute()
    assert server.put("/processes/say", data=second, headers=CWL).status_code == 204
    new = server.execute()
    assert [server.job_row(job).process_revision for job in (old, new)] == [1, 2]
    assert server.get("/processes/say").json()["version"] == "4.0"
    assert server.get("/processes/say?version=3.5").json()["revision"] == 1
    assert "count" in server.get("/processes/say?version=3.5").json()["inputs"]
    assert server.get("/processes/say/package?version=3.5").text == first
    valid_problem(server.get("/processes/say?version=3"), 404, NO_PROCESS)
    ended = server.succeed(old, {"number": 1})
    assert ended.phase == Phase.SUCCESSFUL
    assert server.get(f"/jobs/{old}/results").status_code == 200


def test_undeploying_leaves_jobs_alone_and_takes_no_new_ones(server: Server) -> None:
    """The process is gone at once; what its jobs need of it stays, for those that wait and those that run."""
    server.ready()
    waiting, running = server.execute(), server.execute()
    server.start(running)
    assert server.delete("/processes/say").status_code == 204
    assert "say" not in [one["id"] for one in server.get("/processes").json()["processes"]]
    body = {"inputs": {"text": "hi"}}
    for path in ("/processes/say/execution", "/processes/say/execution?revision=1"):
        valid_problem(server.post(path, json=body), 404, NO_PROCESS)
    for job in (waiting, running):
        status = server.get(f"/jobs/{job}").json()
        assert status["processID"] == "say"
        assert status["status"] in ("accepted", "running")
    server.succeed(waiting, {"said": None})
    assert server.get(f"/jobs/{waiting}").json()["status"] == "successful"
    assert server.get("/processes/say?revision=1").json()["revision"] == 1
    assert "echo" in server.get("/processes/say/package?revision=1").text
    assert server.deploy().status_code == 201, "the id is free again"
    assert server.get("/processes/say").json()["revision"] == 2


def test_many_replace_at_once(api: Server) -> None:
    """Each is a revision of its own, the last one counts, and nobody hears of an error."""
    assert api.deploy().status_code == 201

    def replace(number: int) -> int:
        text = TOOL.format(id="say").replace("count:", f"count{number}:")
        return requests.put(f"{api.url}/processes/say", data=text.encode(), headers=CWL, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(replace, range(12))) == {204}
    assert api.get("/processes/say").json()["revision"] == 13
