"""Part 1, core: results of synchronous and asynchronous executions, and the status of jobs."""

from __future__ import annotations

import email
import re
import uuid
from email.message import Message

import requests

from tests.api.schemas import validate
from tests.conformance.ogc.iut import MESSAGE, PART1, Iut, problem

ALL = ("said", "text", "either")


def related(answer: requests.Response) -> dict[str, Message]:
    """The parts of a multipart/related answer by output."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    assert kind.startswith("multipart/related")
    whole = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.content)
    return {str(part["Content-ID"]).strip("<>"): part for part in whole.walk() if not part.is_multipart()}


def linked(answer: requests.Response) -> set[str]:
    """The outputs to which the Link headers of a 204 lead."""
    assert (answer.status_code, answer.content) == (204, b"")
    return set(re.findall(r'rel="item"[^,]*title="(\w+)"', answer.headers["Link"]))


def values(parts: dict[str, Message]) -> dict[str, str]:
    return {name: str(part.get_payload()).strip() for name, part in parts.items()}


def results(iut: Iut, modes: dict[str, str | None], response: str = "raw") -> requests.Response:
    """The results of an asynchronous execution of `outputs`."""
    wanted = {name: {"transmissionMode": mode} for name, mode in modes.items()}
    job = iut.ended("outputs", {"text": "hello"}, outputs=wanted, response=response)
    return iut.get(f"/jobs/{job['jobID']}/results")


def one_value(answer: requests.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.strip() == "hello"


def all_values(answer: requests.Response) -> None:
    assert values(related(answer)) == {"said": "hello", "text": "hello", "either": "hello"}


def mixed(answer: requests.Response) -> None:
    parts = related(answer)
    assert parts["said"]["Content-Location"].startswith("http")
    assert values({"said": parts["said"], "text": parts["text"]}) == {"said": "", "text": "hello"}


def document(answer: requests.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    validate(answer.json(), "results")
    assert set(answer.json()) == set(ALL)
    assert answer.json()["text"] == "hello"


def test_req_core_process_execute_sync_raw_value_one(iut: Iut) -> None:
    one_value(iut.outputs({"said": "value"}))
    one_value(iut.outputs({"text": "value"}))


def test_req_core_process_execute_sync_raw_value_multi(iut: Iut) -> None:
    all_values(iut.outputs(dict.fromkeys(ALL, "value")))


def test_req_core_process_execute_sync_raw_ref(iut: Iut) -> None:
    assert linked(iut.outputs({"said": "reference"})) == {"said"}
    assert linked(iut.outputs(dict.fromkeys(ALL, "reference"))) == set(ALL)


def test_req_core_process_execute_sync_raw_mixed_multi(iut: Iut) -> None:
    mixed(iut.outputs({"said": "reference", "text": "value"}))


def test_req_core_process_execute_sync_document(iut: Iut) -> None:
    for mode in (None, "value", "reference"):
        document(iut.outputs(dict.fromkeys(ALL, mode), "document"))


def test_req_core_job_results(iut: Iut) -> None:
    job = iut.ended("echo", MESSAGE)
    assert iut.get(f"/jobs/{job['jobID']}/results").status_code == 200


def test_req_core_job_results_async_raw_value_one(iut: Iut) -> None:
    one_value(results(iut, {"said": "value"}))


def test_req_core_job_results_async_raw_value_multi(iut: Iut) -> None:
    all_values(results(iut, dict.fromkeys(ALL, "value")))


def test_req_core_job_results_async_raw_ref(iut: Iut) -> None:
    assert linked(results(iut, dict.fromkeys(ALL, "reference"))) == set(ALL)


def test_req_core_job_results_async_raw_mixed_multi(iut: Iut) -> None:
    mixed(results(iut, {"said": "reference", "text": "value"}))


def test_req_core_job_results_async_document(iut: Iut) -> None:
    document(results(iut, dict.fromkeys(ALL, "value"), "document"))


def test_req_core_job_results_success_sync(iut: Iut) -> None:
    answer = iut.execute("echo", {"inputs": MESSAGE})
    link = answer.links["monitor"]
    validate(iut.get(link["url"]).json(), "statusInfo")


def test_req_core_job_results_failed(iut: Iut) -> None:
    job = iut.ended("failing", {})
    assert job["status"] == "failed"
    answer = iut.get(f"/jobs/{job['jobID']}/results")
    assert 400 <= answer.status_code < 600
    validate(answer.json(), "exception")


def test_req_core_job_results_exception_no_such_job(iut: Iut) -> None:
    problem(iut.get(f"/jobs/{uuid.uuid4()}/results"), 404, PART1 + "no-such-job")


def test_req_core_job_results_exception_results_not_ready(iut: Iut) -> None:
    job = iut.running()
    problem(iut.get(f"/jobs/{job}/results"), 404, PART1 + "result-not-ready")
    iut.request("DELETE", f"/jobs/{job}")


def test_req_core_job(iut: Iut) -> None:
    assert iut.get(f"/jobs/{iut.ended('echo', MESSAGE)['jobID']}").status_code == 200


def test_req_core_job_success(iut: Iut) -> None:
    job = iut.ended("echo", MESSAGE)
    document = iut.json(f"/jobs/{job['jobID']}", "statusInfo")
    assert document["status"] == "successful"
    assert document["progress"] == 100


def test_req_core_job_exception_no_such_job(iut: Iut) -> None:
    problem(iut.get(f"/jobs/{uuid.uuid4()}"), 404, PART1 + "no-such-job")
