"""Part 1, core: the list of processes and their descriptions."""

from __future__ import annotations

from tests.conformance.ogc.iut import PART1, Iut, problem


def test_req_core_process_list(iut: Iut) -> None:
    assert iut.get("/processes").status_code == 200


def test_req_core_process_list_success(iut: Iut) -> None:
    document = iut.json("/processes", "processList")
    assert {"echo", "outputs"} <= {one["id"] for one in document["processes"]}


def test_req_core_pl_limit_definition(iut: Iut) -> None:
    limit = iut.parameters("/processes")["limit"]
    assert (limit["in"], limit.get("required", False)) == ("query", False)
    assert limit["schema"]["type"] == "integer"
    assert limit["schema"]["minimum"] == 1
    assert iut.get("/processes?limit=0").status_code == 400


def test_req_core_pl_limit_response(iut: Iut) -> None:
    assert len(iut.json("/processes?limit=1")["processes"]) == 1
    maximum = iut.parameters("/processes")["limit"]["schema"].get("maximum")
    assert maximum is None or len(iut.json("/processes")["processes"]) <= maximum


def test_req_core_pl_links(iut: Iut) -> None:
    links = iut.links(iut.json("/processes"))
    (here,) = links["self"]
    assert iut.json(here, "processList")
    for other in links["alternate"]:
        answer = iut.get(other)
        assert answer.status_code == 200
        assert not answer.headers["content-type"].startswith("application/json")


def test_req_core_process(iut: Iut) -> None:
    for one in iut.json("/processes")["processes"]:
        assert iut.get(f"/processes/{one['id']}").status_code == 200


def test_req_core_process_success(iut: Iut) -> None:
    assert iut.json("/processes/echo", "process")["id"] == "echo"


def test_req_core_process_exception_no_such_process(iut: Iut) -> None:
    problem(iut.get("/processes/nothing"), 404, PART1 + "no-such-process")


def test_req_core_test_process(iut: Iut) -> None:
    found = iut.json("/processes/echo")
    first = next(iter(found["inputs"].items()))
    assert first[1]["schema"]["type"] == "string"
    assert first[0] in found["outputs"]
