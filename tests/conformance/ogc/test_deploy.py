"""Part 2: deploy, replace, undeploy; CWL, OGC application packages, Docker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api.schemas import validate
from tests.conformance.ogc.iut import PART2, Iut, problem

CWL = "application/cwl"
PACKAGE = "application/ogcapppkg+json"
DOCKER = "http://www.opengis.net/profiles/eoc/dockerizedApplication"
TEXT = (Path(__file__).parent / "outputs.cwl").read_text()
GRAPH = """cwlVersion: v1.2
$graph:
  - {{class: Workflow, id: {0}-one, doc: "", inputs: [], outputs: [], steps: []}}
  - {{class: Workflow, id: {0}-two, doc: "", inputs: [], outputs: [], steps: []}}
"""
TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "baseCommand": "true",
    "inputs": {"text": {"type": "string"}},
    "outputs": {},
}


def cwl(id: str, doc: str = "Says a text in one output of each kind.") -> bytes:
    return TEXT.replace("id: outputs", f"id: {id}").replace("Says a text in one output of each kind.", doc).encode()


def unit(id: str, **members: Any) -> bytes:
    return json.dumps(
        {"executionUnit": {"value": TOOL | {"id": id}, "mediaType": "application/cwl+json"}} | members
    ).encode()


def docker(id: str, **members: Any) -> bytes:
    body: dict[str, Any] = {
        "processDescription": {"process": {"id": id, "version": "1.0.0", "inputs": {}, "outputs": {}}},
        "executionUnit": {"type": "docker", "image": "docker.io/library/busybox:1.36"},
    }
    return json.dumps(body | members).encode()


def sent(iut: Iut, body: bytes, kind: str = CWL, query: str = "") -> requests.Response:
    return iut.request("POST", f"/processes{query}", data=body, headers={"Content-Type": kind})


def put(iut: Iut, id: str, body: bytes, kind: str = CWL) -> requests.Response:
    return iut.request("PUT", f"/processes/{id}", data=body, headers={"Content-Type": kind})


def deployed(iut: Iut, body: bytes, kind: str = CWL) -> Mapping[str, Any]:
    answer = sent(iut, body, kind)
    assert answer.status_code == 201, answer.text
    found: Mapping[str, Any] = answer.json()
    return found


def test_req_deploy_replace_undeploy_deploy_post_op(iut: Iut) -> None:
    assert sent(iut, cwl("post-op")).status_code == 201


def test_req_deploy_replace_undeploy_deploy_body(iut: Iut) -> None:
    deployed(iut, cwl("body"))
    assert iut.json("/processes/body")["inputs"]["text"]["title"] == "Text"


def test_req_deploy_replace_undeploy_deploy_content_type(iut: Iut) -> None:
    body = cwl("content-type")
    assert sent(iut, body, PACKAGE).status_code == 400  # it is no JSON, and that is what the header says
    assert sent(iut, body, "application/cwl+yaml").status_code == 201


def test_req_deploy_replace_undeploy_deploy_unsupported_media_type(iut: Iut) -> None:
    problem(sent(iut, cwl("unsupported"), "text/plain"), 415, PART2 + "unsupported-media-type")
    problem(put(iut, "nothing", b"", "text/plain"), 415, PART2 + "unsupported-media-type")


def test_req_deploy_replace_undeploy_deploy_response_success(iut: Iut) -> None:
    answer = sent(iut, cwl("success"))
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{iut.url}/processes/success"


def test_req_deploy_replace_undeploy_deploy_response_body(iut: Iut) -> None:
    validate(deployed(iut, cwl("response-body")), "processSummary")


def test_req_deploy_replace_undeploy_deploy_response_pid(iut: Iut) -> None:
    assert deployed(iut, cwl("given-id"))["id"] == "given-id"
    assert iut.json("/processes/given-id")["id"] == "given-id"


def test_req_deploy_replace_undeploy_deploy_response_duplicate(iut: Iut) -> None:
    deployed(iut, cwl("twice"))
    problem(sent(iut, cwl("twice")), 409, PART2 + "duplicated-process")


def test_req_deploy_replace_undeploy_deploy_response_immutable(iut: Iut) -> None:
    problem(sent(iut, cwl("echo")), 403, PART2 + "immutable-process")


def test_req_deploy_replace_undeploy_static_indicator(iut: Iut) -> None:
    deployed(iut, cwl("indicated"))
    found = {one["id"]: one["mutable"] for one in iut.json("/processes?limit=1000")["processes"]}
    assert found["echo"] is False
    assert found["indicated"] is True
    for method in ("PUT", "DELETE"):
        headers = {"Content-Type": CWL}
        answer = iut.request(method, "/processes/echo", data=cwl("echo"), headers=headers)
        problem(answer, 403, PART2 + "immutable-process")


def test_req_deploy_replace_undeploy_package_get_op(iut: Iut) -> None:
    deployed(iut, cwl("get-op"))
    assert iut.get("/processes/get-op/package").status_code == 200


def test_req_deploy_replace_undeploy_package_response_success(iut: Iut) -> None:
    deployed(iut, cwl("package-success"))
    answer = iut.get("/processes/package-success/package")
    assert (answer.status_code, answer.headers["content-type"]) == (200, CWL)


def test_req_deploy_replace_undeploy_package_response_body(iut: Iut) -> None:
    first, second = cwl("package-body"), cwl("package-body", "Another.")
    deployed(iut, first)
    assert iut.get("/processes/package-body/package").content == first
    put(iut, "package-body", second)
    assert iut.get("/processes/package-body/package").content == second


def test_req_deploy_replace_undeploy_replace_put_op(iut: Iut) -> None:
    deployed(iut, cwl("put-op"))
    assert put(iut, "put-op", cwl("put-op", "Another.")).status_code == 204


def test_req_deploy_replace_undeploy_replace_body(iut: Iut) -> None:
    deployed(iut, cwl("replaced"))
    put(iut, "replaced", cwl("replaced", "Another."))
    assert iut.json("/processes/replaced")["description"] == "Another."


def test_req_deploy_replace_undeploy_replace_content_type(iut: Iut) -> None:
    deployed(iut, cwl("replaced-as"))
    assert put(iut, "replaced-as", cwl("replaced-as"), PACKAGE).status_code == 400
    assert put(iut, "replaced-as", unit("replaced-as"), PACKAGE).status_code == 204


def test_req_deploy_replace_undeploy_replace_response(iut: Iut) -> None:
    deployed(iut, cwl("replace-response"))
    answer = put(iut, "replace-response", cwl("replace-response", "Another."))
    assert (answer.status_code, answer.content) == (204, b"")


def test_req_deploy_replace_undeploy_undeploy_delete_op(iut: Iut) -> None:
    deployed(iut, cwl("deleted"))
    iut.request("DELETE", "/processes/deleted")
    assert iut.get("/processes/deleted").status_code == 404


def test_req_deploy_replace_undeploy_undeploy_response(iut: Iut) -> None:
    deployed(iut, cwl("delete-response"))
    assert iut.request("DELETE", "/processes/delete-response").status_code == 204


def test_req_cwl_body(iut: Iut) -> None:
    deployed(iut, cwl("cwl-body"), CWL)


def test_req_cwl_deploy_body(iut: Iut) -> None:
    for kind in ("application/cwl", "application/cwl+yaml"):
        deployed(iut, cwl(f"cwl-deploy-{len(kind)}"), kind)
    deployed(iut, json.dumps(TOOL | {"id": "cwl-deploy-json"}).encode(), "application/cwl+json")


def test_req_cwl_replace_body(iut: Iut) -> None:
    deployed(iut, cwl("cwl-replace"))
    assert put(iut, "cwl-replace", cwl("cwl-replace", "Another."), CWL).status_code == 204


def test_req_cwl_execution_unit(iut: Iut) -> None:
    address = iut.web.serve("/unit.cwl", cwl("unit-by-link"), media_type=CWL)
    by_link = json.dumps({"executionUnit": {"href": address, "type": CWL}}).encode()
    assert deployed(iut, by_link, PACKAGE)["id"] == "unit-by-link"
    assert deployed(iut, unit("unit-by-value"), PACKAGE)["id"] == "unit-by-value"


def test_req_cwl_deploy_w_param(iut: Iut) -> None:
    body = GRAPH.format("w").encode()
    assert sent(iut, body, query="?w=w-two").json()["id"] == "w-two"
    assert sent(iut, body).json()["id"] == "w-one"


def test_req_cwl_deploy_exception_workflow_not_found(iut: Iut) -> None:
    body = GRAPH.format("missing").encode()
    problem(sent(iut, body, query="?w=three"), 400, PART2 + "workflow-not-found")


def test_req_cwl_package_response_body(iut: Iut) -> None:
    for body, kind in ((cwl("kept-cwl"), CWL), (unit("kept-unit"), PACKAGE)):
        answer = iut.get(f"/processes/{deployed(iut, body, kind)['id']}/package")
        assert (answer.content, answer.headers["content-type"]) == (body, kind)


def test_req_ogcapppkg_body(iut: Iut) -> None:
    deployed(iut, unit("ogcapppkg-body"), PACKAGE)


def test_req_ogcapppkg_deploy_body(iut: Iut) -> None:
    assert iut.json(f"/processes/{deployed(iut, unit('ogcapppkg-deploy'), PACKAGE)['id']}")["inputs"].keys() == {"text"}


def test_req_ogcapppkg_replace_body(iut: Iut) -> None:
    deployed(iut, unit("ogcapppkg-replace"), PACKAGE)
    assert put(iut, "ogcapppkg-replace", unit("ogcapppkg-replace"), PACKAGE).status_code == 204


def test_req_ogcapppkg_package_response_body(iut: Iut) -> None:
    body = unit("ogcapppkg-package")
    deployed(iut, body, PACKAGE)
    assert iut.json("/processes/ogcapppkg-package/package") == json.loads(body)


@pytest.mark.parametrize(
    "body", [{}, {"executionUnit": 1}, {"executionUnit": {"type": "docker"}}, {"executionUnit": []}]
)
def test_req_ogcapppkg_schema(iut: Iut, body: Mapping[str, Any]) -> None:
    answer = sent(iut, json.dumps(body).encode(), PACKAGE)
    assert answer.status_code in (400, 422)  # a list of no units is well-formed
    validate(answer.json(), "exception")


@pytest.mark.parametrize("wrapped", [True, False])
def test_req_ogcapppkg_process_description(iut: Iut, wrapped: bool) -> None:
    id = f"ogcapppkg-described-{wrapped}".lower()
    process = {"id": id, "version": "2.0.0", "title": "Given", "inputs": {"text": {"title": "Words"}}, "outputs": {}}
    deployed(iut, unit(id, processDescription={"process": process} if wrapped else process), PACKAGE)
    found = iut.json(f"/processes/{id}", "process")
    assert (found["id"], found["title"], found["version"]) == (id, "Given", "2.0.0")
    assert found["inputs"]["text"]["title"] == "Words"


def test_req_ogcapppkg_profile_docker(iut: Iut) -> None:
    deployed(iut, docker("docker-profile", deploymentProfile=DOCKER), PACKAGE)


def test_req_docker_execution_unit(iut: Iut) -> None:
    deployed(iut, docker("docker-unit"), PACKAGE)
    assert "docker.io/library/busybox:1.36" in str(iut.json("/processes/docker-unit"))


def test_req_docker_schema(iut: Iut) -> None:
    config = {"cpuMin": 1, "cpuMax": 2, "memoryMin": 1, "memoryMax": 2, "jobTimeout": 60}
    whole = {"type": "docker", "image": "docker.io/library/busybox:1.36", "config": config}
    deployed(iut, docker("docker-config", executionUnit=whole), PACKAGE)
    for wrong in ({"image": "busybox"} | {"type": "docker", "config": 1}, {"type": "docker", "image": 1}):
        assert sent(iut, docker("docker-wrong", executionUnit=wrong), PACKAGE).status_code == 400
