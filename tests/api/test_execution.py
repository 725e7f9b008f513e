"""Executions: the mode the client prefers, what it says, and what is refused before there is a job."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem, validate
from tests.api.server import Server
from tests.peers.broker import wait_for

ASYNC = {"Prefer": "respond-async"}
NO_PROCESS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/no-such-process"


@pytest.mark.parametrize(
    "prefer", ["respond-async", "respond-async ", "respond-async; foo=bar", "RESPOND-ASYNC", 'x="a, b", respond-async']
)
def test_async_gives_201_with_a_status_and_where_it_is(api: Server, prefer: str) -> None:
    api.ready()
    answer = api.post("/processes/say/execution", json={"inputs": {"text": "hi"}}, headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "respond-async"
    status = answer.json()
    validate(status, "statusInfo")
    assert answer.headers["location"] == f"{api.url}/jobs/{status['jobID']}"
    assert status["status"] == "accepted"
    assert status["type"] == "process"
    assert api.get(answer.headers["location"]).json()["jobID"] == status["jobID"]


def when_accepted(api: Server, then: Any) -> threading.Thread:
    """Run `then(job_id)` as soon as there is a job."""

    def work() -> None:
        wait_for(lambda: bool(api.get("/jobs").json()["jobs"]), 10, lambda: "no job")
        then(api.get("/jobs").json()["jobs"][0]["jobID"])

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_sync_waits_for_the_results(api: Server) -> None:
    api.ready()
    thread = when_accepted(api, lambda job: api.succeed(job, {"said": None, "number": 4, "places": None}))
    body = {"inputs": {"text": "hi"}, "response": "document"}
    answer = api.post("/processes/say/execution", json=body, headers={"Prefer": "respond-sync"})
    thread.join()
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"number": 4}
    job = api.get("/jobs").json()["jobs"][0]["jobID"]
    assert answer.headers["link"] == f'<{api.url}/jobs/{job}>; rel="monitor"'


def test_sync_without_the_link(with_settings: MakeServer) -> None:
    server = with_settings(monitor_link=False)
    server.ready()
    thread = when_accepted(server, lambda job: server.succeed(job, {"number": 4}))
    answer = server.post("/processes/say/execution", json={"inputs": {"text": "hi"}})
    thread.join()
    assert answer.status_code == 200
    assert "link" not in answer.headers


def test_sync_of_a_long_job_goes_on_async(lone: Server) -> None:
    lone.ready()
    answer = lone.post("/processes/say/execution", json={"inputs": {"text": "x"}}, headers={"Prefer": "wait=0"})
    assert answer.status_code == 201
    validate(answer.json(), "statusInfo")
    assert answer.headers["location"].endswith(answer.json()["jobID"])
    assert answer.headers["preference-applied"] == "wait=0"


def test_async_after_a_wait(lone: Server) -> None:
    """Both preferences: the results where they are there in time, else the job goes on (RFC 7240 4.3)."""
    lone.ready()
    body = {"inputs": {"text": "x"}, "response": "document"}
    late = lone.post("/processes/say/execution", json=body, headers={"Prefer": "respond-async, wait=1"})
    assert late.status_code == 201
    assert late.headers["preference-applied"] == "respond-async, wait=1"
    at_once = lone.post("/processes/say/execution", json=body, headers={"Prefer": "wait=0, respond-async"})
    assert at_once.status_code == 201
    assert at_once.headers["preference-applied"] == "respond-async, wait=0"
    for job in lone.get("/jobs").json()["jobs"]:
        lone.delete(f"/jobs/{job['jobID']}")
    thread = threading.Thread(target=succeed_new, args=(lone,))
    thread.start()
    soon = lone.post("/processes/say/execution", json=body, headers={"Prefer": "respond-async, wait=20"})
    thread.join()
    assert (soon.status_code, soon.json()) == (200, {"number": 4})
    assert soon.headers["preference-applied"] == "wait=20"
    assert 'rel="monitor"' in soon.headers["link"]


def succeed_new(server: Server) -> None:
    """The next job that is accepted ends well."""

    def waiting() -> list[str]:
        return [job["jobID"] for job in server.get("/jobs?status=accepted").json()["jobs"]]

    wait_for(lambda: bool(waiting()), 10, lambda: "no job")
    server.succeed(waiting()[0], {"number": 4})


@pytest.mark.parametrize(
    "prefer",
    [
        "",
        "respond-sync",
        "handling=strict",
        'x="respond-async"',
        'x="a, respond-async, b"',
        "wait=-1",
        "wait=x",
        ",;=,",
    ],
)
def test_what_prefer_does_not_say(with_settings: MakeServer, prefer: str) -> None:
    """Nothing that asks for async: it waits, as long as the server does, and says nothing of what it ignored."""
    server = with_settings(sync_seconds=0.2)
    server.ready()
    answer = server.post("/processes/say/execution", json={"inputs": {"text": "x"}}, headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert "preference-applied" not in answer.headers


def test_the_first_of_two_waits_counts_and_the_server_has_the_last_word(with_settings: MakeServer) -> None:
    server = with_settings(sync_seconds=0.2)
    server.ready()
    for prefer, applied in (
        ("wait=0, wait=9", "wait=0"),
        ("wait=9, wait=0", None),
        ("respond-async, wait=9", "respond-async"),
    ):
        answer = server.post("/processes/say/execution", json={"inputs": {"text": "x"}}, headers={"Prefer": prefer})
        assert answer.status_code == 201
        assert answer.headers.get("preference-applied") == applied, prefer


def test_sync_that_fails_says_why(lone: Server) -> None:
    from broker.jobs.model import Failure, Fault, Reason

    lone.ready()
    failure = Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "The step say failed.", "say", 1, "boom")
    thread = when_accepted(lone, lambda job: lone.fail(job, failure))
    answer = lone.post("/processes/say/execution", json={"inputs": {"text": "x"}})
    thread.join()
    problem = valid_problem(answer, 422)
    assert problem["fault"] == "package"
    assert problem["failure"]["logTail"] == "boom"
    assert 'rel="monitor"' in answer.headers["link"]


def test_unknown_process(still: Server) -> None:
    valid_problem(still.post("/processes/none/execution", json={"inputs": {}}, headers=ASYNC), 404, NO_PROCESS)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"invalid-execute-request": {"a": 1}}, "/invalid-execute-request"),
        ({"inputs": []}, "/inputs"),
        ({"inputs": {}}, "/inputs/text"),
        ({}, "/inputs/text"),
        ({"inputs": {"text": 5}}, "/inputs/text"),
        ({"inputs": {"text": "x", "count": "many"}}, "/inputs/count"),
        ({"inputs": {"text": "x", "count": 2**70}}, "/inputs/count"),
        ({"inputs": {"text": "x", "cuont": 2}}, "/inputs/cuont"),
        ({"inputs": {"text": "x", "scene": {"href": "file:///etc/passwd"}}}, "/inputs/scene"),
        ({"inputs": {"text": "x"}, "outputs": []}, "/outputs"),
        ({"inputs": {"text": "x"}, "outputs": {"nothing": {}}}, "/outputs/nothing"),
        (
            {"inputs": {"text": "x"}, "outputs": {"said": {"transmissionMode": "pigeon"}}},
            "/outputs/said/transmissionMode",
        ),
        ({"inputs": {"text": "x"}, "response": "xml"}, "/response"),
        ({"inputs": {"text": "x"}, "subscriber": {"successUri": "ftp://x.example"}}, "/subscriber/successUri"),
        ({"inputs": {"text": "x"}, "tags": ["<script>"]}, "/tags/0"),
        ({"inputs": {"text": "x"}, "tags": "a"}, "/tags"),
        ({"inputs": {"text": "x"}, "title": "a\u0000b"}, "/title"),
        ({"inputs": {"text": "x"}, "title": 5}, "/title"),
        ({"inputs": {"text": "x"}, "platform": "moon"}, "/platform"),
        ({"inputs": {"text": "x"}, "reuse": "yes"}, "/reuse"),
    ],
)
def test_what_does_not_fit_is_named(still: Server, body: dict[str, Any], pointer: str) -> None:
    problem = valid_problem(still.post("/processes/say/execution", json=body, headers=ASYNC), 400)
    assert any(error["pointer"].startswith(pointer) for error in problem["errors"]), problem
    assert still.get("/jobs").json()["jobs"] == []


def test_a_misspelt_input_is_recognised(still: Server) -> None:
    body = {"inputs": {"txt": "x"}}
    problem = valid_problem(still.post("/processes/say/execution", json=body, headers=ASYNC), 400)
    assert "did you mean 'text'" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1, 2]",
        b'"text"',
        b"null-ish",
        b"[" * 200_000,
        b'{"inputs":' * 50_000,
        b'{"inputs": {"text": "\xff\xfe"}}',
        b'{"inputs": {"text": "\\ud800"}}',
        b'{"inputs": {"count": 1e999}}',
        b'{"inputs": NaN}',
        b"\x00\x01\x02",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_json_object(still: Server, body: bytes) -> None:
    answer = still.post("/processes/say/execution", data=body, headers={**ASYNC, "Content-Type": "application/json"})
    valid_problem(answer, 400)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data", "application/json; charset=latin1"]
)
def test_other_content_types(still: Server, kind: str) -> None:
    answer = still.post("/processes/say/execution", data=b'{"inputs": {"text": "x"}}', headers={"Content-Type": kind})
    valid_problem(answer, 415)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=UTF-8", 'application/json;charset="utf-8"', None]
)
def test_content_types_of_json(lone: Server, kind: str | None) -> None:
    lone.ready()
    headers = {**ASYNC, "Content-Type": kind}
    answer = lone.post("/processes/say/execution", data=b'\xef\xbb\xbf{"inputs": {"text": "x"}}', headers=headers)
    assert answer.status_code == 201, answer.text


def test_no_platform_yet_and_none_that_fits(lone: Server) -> None:
    assert lone.deploy().status_code == 201
    body = {"inputs": {"text": "x"}}
    unavailable = lone.post("/processes/say/execution", json=body, headers=ASYNC)
    valid_problem(unavailable, 503)
    assert int(unavailable.headers["retry-after"]) > 0
    lone.platform(cores=0.1)
    problem = valid_problem(lone.post("/processes/say/execution", json=body, headers=ASYNC), 422)
    assert problem["fault"] == "limit"


def test_the_same_key_makes_one_job(api: Server) -> None:
    api.ready()

    def send(body: dict[str, Any], key: str = "k1") -> Any:
        return api.post("/processes/say/execution", json=body, headers={**ASYNC, "Idempotency-Key": key})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send({"inputs": {"text": "x"}}), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["jobID"] for answer in answers}) == 1
    assert len(api.get("/jobs").json()["jobs"]) == 1
    problem = valid_problem(send({"inputs": {"text": "other"}}), 422)
    assert problem["reason"] == "idempotency-key-reused"
    valid_problem(send({"inputs": {"text": "x"}}, key="ü".encode().decode("latin1")), 400)
    valid_problem(send({"inputs": {"text": "x"}}, key="k" * 300), 400)


def test_title_tags_and_platform_are_kept(lone: Server) -> None:
    lone.ready()
    lone.platform("second")
    job = lone.execute(title="Lake Constance", tags=["lake", "demo"], platform="second")
    status = lone.get(f"/jobs/{job}").json()
    assert (status["title"], status["tags"], status["platform"]) == ("Lake Constance", ["lake", "demo"], "second")


def test_a_pinned_revision_runs(lone: Server) -> None:
    lone.ready()
    from tests.api.server import TOOL

    lone.put("/processes/say", data=TOOL.format(id="say"), headers={"Content-Type": "application/cwl"})
    answer = lone.post("/processes/say/execution?revision=1", json={"inputs": {"text": "x"}}, headers=ASYNC)
    assert answer.json()["revision"] == 1
    assert lone.get(f"/jobs/{lone.execute()}").json()["revision"] == 2


def test_check_makes_no_job(still: Server) -> None:
    body = {"inputs": {"text": "x", "scene": {"href": "https://127.0.0.1:1/none.tif", "type": "image/tiff"}}}
    for answer in (
        still.post("/processes/say/check", json=body),
        still.post("/processes/say/execution?dryRun=true", json=body),
    ):
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert report["platform"] == "scripted"
        assert report["jobOrder"]["scene"]["class"] == "File"
        assert report["links"][0]["reachable"] is False
        assert report["ok"] is False
        assert report["warnings"] == []
    assert still.get("/jobs").json()["jobs"] == []
    valid_problem(still.post("/processes/say/check", json={"inputs": {}}), 400)
