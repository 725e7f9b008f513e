"""Processes: deployed, described, replaced, undeployed; every document valid."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import yaml

from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem, validate
from tests.api.server import TOOL, Server

PART2 = "http://www.opengis.net/def/exceptions/ogcapi-processes-2/1.0/"
NO_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"
CWL = {"Content-Type": "application/cwl+yaml"}


def test_deploy_describe_replace_undeploy(api: Server) -> None:
    made = api.deploy()
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{api.url}/processes/say"
    validate(made.json(), "processSummary")
    assert made.json()["mutable"] is True

    described = api.get(made.headers["location"]).json()
    validate(described, "process")
    assert described["revision"] == 1
    assert list(described["inputs"]) == ["text", "count", "scene"]

    package = api.get("/processes/say/package")
    assert package.text == TOOL.format(id="say")
    assert package.headers["content-type"] == "application/cwl+yaml"
    assert package.headers["x-content-type-options"] == "nosniff"

    replaced = api.put("/processes/say", data=TOOL.format(id="say").replace("count:", "times:"), headers=CWL)
    assert replaced.status_code == 204
    assert replaced.content == b""
    assert "times" in api.get("/processes/say").json()["inputs"]
    assert "count" in api.get("/processes/say?revision=1").json()["inputs"]
    assert "times" in api.get("/processes/say?version=1.0.0").json()["inputs"]
    assert "count:" in api.get("/processes/say/package?revision=1").text

    assert api.delete("/processes/say").status_code == 204
    valid_problem(api.get("/processes/say"), 404, NO_PROCESS)
    valid_problem(api.delete("/processes/say"), 404, NO_PROCESS)
    assert api.get("/processes/say?revision=2").status_code == 200, "jobs still need their revision"
    assert api.get("/processes").json()["processes"] == []


def test_the_list_pages_by_next_links(api: Server) -> None:
    for name in ("b", "a", "d", "c", "e"):
        assert api.deploy(id=name).status_code == 201
    whole = api.get("/processes").json()
    validate(whole, "processList")
    assert [one["id"] for one in whole["processes"]] == ["a", "b", "c", "d", "e"]
    assert all(one["mutable"] is True for one in whole["processes"])
    assert "next" not in {link["rel"] for link in whole["links"]}

    seen, url = [], f"{api.url}/processes?limit=2&f=json"
    while url:
        page = api.get(url).json()
        assert len(page["processes"]) <= 2
        seen += [one["id"] for one in page["processes"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    assert seen == ["a", "b", "c", "d", "e"]


def test_the_same_again_is_a_conflict(api: Server) -> None:
    assert api.deploy().status_code == 201
    problem = valid_problem(api.deploy(), 409, PART2 + "duplicated-process")
    assert "PUT" in problem["hint"]


def test_two_at_once_deploy_one(api: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.deploy(), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_wrong_media_type(lone: Server) -> None:
    for send in (lone.post, lambda path, **o: lone.put("/processes/say", **o)):
        lone.deploy()
        answer = send("/processes", data=b"hello", headers={"Content-Type": "text/plain"})
        valid_problem(answer, 415, PART2 + "unsupported-media-type")


def test_json_variants_of_a_deployment(lone: Server) -> None:
    document = yaml.safe_load(TOOL.format(id="one"))
    bodies = {
        "application/cwl+json": document,
        "application/ogcapppkg+json": {
            "processDescription": {"id": "two", "title": "Two", "version": "2.0.0"},
            "executionUnit": {"value": document, "mediaType": "application/cwl+json"},
        },
        "application/json": {
            "processDescription": {"process": {"id": "three", "version": "1"}},
            "executionUnit": [{"unit": document}],
        },
    }
    for kind, body in bodies.items():
        answer = lone.post("/processes", data=json.dumps(body), headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text
        validate(answer.json(), "processSummary")
    assert lone.get("/processes/two").json()["title"] == "Two"


def test_one_workflow_of_a_graph(lone: Server) -> None:
    graph = yaml.safe_dump(
        {
            "cwlVersion": "v1.2",
            "$graph": [{**yaml.safe_load(TOOL.format(id=name)), "cwlVersion": None} for name in ("first", "second")],
        }
    ).replace("  cwlVersion: null\n", "")
    answer = lone.post("/processes?w=second", data=graph, headers=CWL)
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == "second"
    valid_problem(lone.post("/processes?w=third", data=graph, headers=CWL), 400, PART2 + "workflow-not-found")


def test_immutable_processes_stay(lone: Server) -> None:
    lone.ready()
    from sqlalchemy import update

    from broker.store.tables import processes

    with lone.database.write() as tx:
        tx.execute(update(processes).values(mutable=False))
    kind = PART2 + "immutable-process"
    valid_problem(lone.delete("/processes/say"), 403, kind)
    valid_problem(lone.put("/processes/say", data=TOOL.format(id="say"), headers=CWL), 403, kind)
    valid_problem(lone.deploy(), 403, kind)


def test_replace_can_show_what_it_made(lone: Server) -> None:
    lone.deploy()
    answer = lone.put(
        "/processes/say",
        data=TOOL.format(id="say"),
        headers={**CWL, "Prefer": "return=representation"},
    )
    assert answer.status_code == 200
    validate(answer.json(), "processSummary")


def test_replacing_what_is_not_there(lone: Server) -> None:
    valid_problem(lone.put("/processes/none", data=TOOL.format(id="x"), headers=CWL), 404, NO_PROCESS)


def test_check_leaves_nothing_behind(lone: Server) -> None:
    lone.platform(cores=4.0)
    answer = lone.post("/check", data=TOOL.format(id="say"), headers=CWL)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    validate(found["process"] | {"links": []}, "process")
    assert found["platforms"] == [{"name": "scripted", "fits": True, "reasons": [], "available": True}]
    assert lone.get("/processes").json()["processes"] == []


def test_a_body_over_the_limit(with_settings: MakeServer) -> None:
    server = with_settings(limits={"document_bytes": 1000})
    answer = server.post("/processes", data=b"#" * 2000, headers=CWL)
    valid_problem(answer, 413)

    def slowly() -> object:
        for _ in range(20):
            yield b"#" * 100

    valid_problem(server.post("/processes", data=slowly(), headers=CWL), 413)
