"""Part 1, job-list, and dismiss."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.api.schemas import validate
from tests.conformance.ogc.iut import MESSAGE, Iut


def listed(iut: Iut, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = iut.json(f"/jobs?{query}", "jobList")["jobs"]
    return found


def array_of(iut: Iut, name: str) -> dict[str, Any]:
    """The items of a parameter that is an optional array in the query."""
    parameter = iut.parameters("/jobs")[name]
    assert (parameter["in"], parameter.get("required", False)) == ("query", False)
    assert parameter["schema"]["type"] == "array"
    items: dict[str, Any] = parameter["schema"]["items"]
    assert items["type"] == "string"
    return items


def test_req_job_list_job_list_op(iut: Iut) -> None:
    assert iut.get("/jobs").status_code == 200


def test_req_job_list_job_list_success(iut: Iut) -> None:
    job = iut.ended("echo", MESSAGE)
    document = iut.json("/jobs", "jobList")
    assert job["jobID"] in {one["jobID"] for one in document["jobs"]}


def test_req_job_list_processid_mandatory(iut: Iut) -> None:
    job = iut.ended("echo", MESSAGE)
    assert job["processID"] == "echo"
    assert all(one["processID"] for one in listed(iut))


def test_req_job_list_type_definition(iut: Iut) -> None:
    assert array_of(iut, "type")["enum"] == ["process"]


def test_req_job_list_type_response(iut: Iut) -> None:
    iut.ended("echo", MESSAGE)
    found = listed(iut, "type=process&limit=1000")
    assert found == listed(iut, "limit=1000")
    assert all(one["type"] == "process" for one in found)
    assert iut.get("/jobs?type=wps").status_code == 400


def test_req_job_list_processid_definition(iut: Iut) -> None:
    array_of(iut, "processID")


def test_req_job_list_processid_response(iut: Iut) -> None:
    iut.ended("echo", MESSAGE)
    iut.ended("outputs", {"text": "x"})
    assert {one["processID"] for one in listed(iut, "processID=outputs")} == {"outputs"}
    assert {one["processID"] for one in listed(iut, "processID=outputs&processID=echo")} == {"outputs", "echo"}
    assert listed(iut, "processID=nothing") == []


def test_req_job_list_status_definition(iut: Iut) -> None:
    known = {"accepted", "running", "successful", "failed", "dismissed"}
    assert set(array_of(iut, "status")["enum"]) == known


def test_req_job_list_status_response(iut: Iut) -> None:
    good, bad = iut.ended("echo", MESSAGE)["jobID"], iut.ended("failing", {})["jobID"]
    failed = {one["jobID"]: one["status"] for one in listed(iut, "status=failed")}
    assert bad in failed
    assert set(failed.values()) == {"failed"}
    both = {one["jobID"] for one in listed(iut, "status=failed&status=successful")}
    assert {good, bad} <= both


def test_req_job_list_datetime_definition(iut: Iut) -> None:
    parameter = iut.parameters("/jobs")["datetime"]
    assert (parameter["in"], parameter.get("required", False)) == ("query", False)
    assert parameter["schema"]["type"] == "string"
    for value in (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z/..",
        "../2026-01-01T00:00:00Z",
        "2026-01-01/2026-02-01",
    ):
        assert iut.get("/jobs", params={"datetime": value}).status_code == 200
    assert iut.get("/jobs?datetime=a/b/c").status_code == 400


def test_req_job_list_datetime_response(iut: Iut) -> None:
    job = iut.ended("echo", MESSAGE)
    created = datetime.fromisoformat(job["created"])
    before, after = (created + timedelta(seconds=delta) for delta in (-1, 1))
    stamps = [moment.isoformat().replace("+00:00", "Z") for moment in (before, after)]

    def has(interval: str) -> bool:
        answer = iut.get("/jobs", params={"datetime": interval, "limit": "1000"})
        return job["jobID"] in {one["jobID"] for one in answer.json()["jobs"]}

    assert has("/".join(stamps))
    assert has(f"{stamps[0]}/..")
    assert not has(f"{stamps[1]}/..")
    assert not has(f"../{stamps[0]}")
    assert has(job["created"])


def test_req_job_list_duration_definition(iut: Iut) -> None:
    parameters = iut.parameters("/jobs")
    for name in ("minDuration", "maxDuration"):
        assert parameters[name]["in"] == "query"
        assert parameters[name]["schema"]["type"] in ("number", "integer")
        assert iut.get(f"/jobs?{name}=1").status_code == 200
    short, long = iut.ended("echo", MESSAGE)["jobID"], iut.ended("echo", MESSAGE | {"pause": 3})["jobID"]
    lasting = {one["jobID"] for one in listed(iut, "minDuration=3&limit=1000")}
    assert long in lasting
    assert short not in lasting
    assert long not in {one["jobID"] for one in listed(iut, "maxDuration=2&limit=1000")}


def test_req_job_list_limit_definition(iut: Iut) -> None:
    limit = iut.parameters("/jobs")["limit"]
    assert (limit["in"], limit.get("required", False)) == ("query", False)
    assert (limit["schema"]["type"], limit["schema"]["minimum"]) == ("integer", 1)
    assert iut.get("/jobs?limit=0").status_code == 400


def test_req_job_list_limit_response(iut: Iut) -> None:
    iut.ended("echo", MESSAGE)
    iut.ended("echo", MESSAGE)
    assert len(listed(iut, "limit=1")) == 1


def test_req_job_list_links(iut: Iut) -> None:
    links = iut.links(iut.json("/jobs"))
    validate(iut.get(links["self"][0]).json(), "jobList")
    for other in links["alternate"]:
        assert not iut.get(other).headers["content-type"].startswith("application/json")


def test_req_dismiss_job_dismiss_op(iut: Iut) -> None:
    assert iut.request("DELETE", f"/jobs/{iut.running()}").status_code == 200


def test_req_dismiss_job_dismiss_success(iut: Iut) -> None:
    answer = iut.request("DELETE", f"/jobs/{iut.running()}")
    assert answer.status_code == 200
    validate(answer.json(), "statusInfo")
    assert answer.json()["status"] == "dismissed"
