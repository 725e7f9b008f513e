"""What servers do otherwise than the standard says, and what goes wrong on the way: each ends well, or says why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.ogcapi.health import CORE, PART2
from adapters.ogcapi.platform import GRACE, OgcApiPlatform
from adapters.ogcapi.settings import OgcApiSettings
from broker.errors import PlatformError, PlatformRefused, PlatformUnavailable
from broker.jobs.model import Attempt, JobSpec
from broker.jobs.observation import Observation, State
from broker.packages.bundle import build
from broker.platform import Proving
from broker.runner import loading
from tests.peers.web import WebPeer

DESCRIPTION = {
    "id": "p",
    "version": "1",
    "jobControlOptions": ["async-execute"],
    "inputs": {"a": {"schema": {"type": "number"}}},
    "outputs": {"said": {"schema": {"type": "string"}}},
}
DONE = {"jobID": "7", "type": "process", "status": "successful", "created": "2026-01-01T00:00:00Z"}


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        peer.serve("/conformance", {"conformsTo": [CORE.format("1.0")]})
        peer.serve("/processes/p", DESCRIPTION)
        yield peer


def platform(web: WebPeer, **settings: Any) -> OgcApiPlatform:
    return OgcApiPlatform("there", OgcApiSettings(url=web.url("/"), **settings))


def spec(web: WebPeer, **order: Any) -> JobSpec:
    bundle = build(json.dumps(DESCRIPTION), base=web.url("/processes/p")).to_json()
    return JobSpec("j", 1, "eb-j-1", "me", "mine", "p@1", bundle, order or {"a": 1})


def submitted(web: WebPeer, answer: Any, status: int = 201, headers: Mapping[str, str] | None = None) -> Attempt:
    """Submit to a server that answers so."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    web.serve("/processes/p/execution", body, status=status, media_type="application/json", headers=headers)
    handle = list(platform(web).submit(spec(web)))[-1]
    return Attempt("j", 1, "eb-j-1", handle)


def see(web: WebPeer, attempt: Attempt) -> Observation:
    [seen] = platform(web).observe([attempt])
    return seen


@pytest.mark.parametrize(
    ("answer", "headers"),
    [
        ({"jobID": "7", "status": "accepted"}, {}),
        ({"id": "7", "status": "accepted"}, {}),
        (None, {"Location": "/jobs/7"}),
        (None, {"Location": "http://internal.example:5000/ogc/jobs/7?f=json"}),
        ({"said": "hello"}, {"Link": '</jobs/7>; rel="monitor"'}),
        (b"", {"Location": "/jobs/7"}),
    ],
    ids=["jobID", "id", "null", "another host", "at once, with a job", "no body"],
)
def test_the_job_is_found_however_it_is_named(web: WebPeer, answer: Any, headers: dict[str, str]) -> None:
    attempt = submitted(web, answer, headers=headers)
    web.serve("/jobs/7", DONE)
    assert see(web, attempt).state is State.SUCCEEDED


def test_a_process_that_runs_at_once_and_leaves_no_job(web: WebPeer) -> None:
    attempt = submitted(web, {"said": "hello"}, 200)
    assert see(web, attempt).state is State.SUCCEEDED
    collected = platform(web).collect(attempt)
    assert collected.outputs == {"said": "hello"}
    platform(web).cancel(attempt)
    platform(web).release(attempt)


def test_an_answer_without_job_that_is_too_large_is_refused(web: WebPeer) -> None:
    with pytest.raises(PlatformRefused, match="asynchronous"):
        submitted(web, {"said": "x" * 300_000}, 200)


def test_only_a_process_that_runs_at_once_is_not_asked_for_later(web: WebPeer) -> None:
    submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/processes/p", {**DESCRIPTION, "jobControlOptions": ["sync-execute"]})
    submitted(web, {"said": "hello"}, 200)
    first, second = (one for one in web.requests if one.method == "POST")
    # alone: pygeoapi compares the whole header
    assert first.headers["prefer"] == "respond-async"
    assert "prefer" not in second.headers
    assert first.headers["idempotency-key"] == "eb-j-1"


def test_the_draft_is_spoken_to_in_its_words(web: WebPeer) -> None:
    web.serve("/conformance", {"conformsTo": [CORE.format("2.0")]})
    submitted(web, {"id": "7", "status": "accepted"})
    [sent] = (one for one in web.requests if one.method == "POST")
    assert sent.headers["prefer"] == "respond-async, return=minimal"
    assert b'"response"' not in sent.body


def test_a_new_job_may_be_unknown_for_a_moment(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    assert see(web, attempt).state is State.QUEUED
    old = Attempt("j", 1, "eb-j-1", {**(attempt.handle or {}), "created": time.time() - GRACE - 1})
    assert see(web, old).state is State.LOST


@pytest.mark.parametrize("status", [401, 429, 502, 503, 504])
def test_refusals_for_now_leave_the_job_unharmed(web: WebPeer, status: int) -> None:
    web.fail("/processes/p", status=status, headers={"Retry-After": "17"})
    with pytest.raises(PlatformUnavailable) as away:
        list(platform(web).submit(spec(web)))
    assert away.value.retry_after == 17
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/jobs/7", DONE)
    web.fail("/jobs/7", status=status)
    with pytest.raises(PlatformUnavailable):
        see(web, attempt)
    assert see(web, attempt).state is State.SUCCEEDED


def test_a_server_error_at_a_status_is_passed_over(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/jobs/7", DONE)
    web.fail("/jobs/7", status=500)
    with pytest.raises(PlatformUnavailable):
        see(web, attempt)


@pytest.mark.parametrize(("status", "fault"), [(400, "input"), (422, "input"), (403, "platform"), (500, "platform")])
def test_an_execution_that_is_not_taken_fails_with_the_servers_words(web: WebPeer, status: int, fault: str) -> None:
    problem = {"title": "Bad band", "detail": "There is no band 99, see https://x/?token=geheim", "type": "x"}
    with pytest.raises(PlatformRefused, match="no band 99") as refused:
        submitted(web, problem, status)
    assert refused.value.fault_of == fault
    assert "geheim" not in str(refused.value)


def test_a_process_that_has_changed_is_not_run(web: WebPeer) -> None:
    other = spec(web)
    web.serve("/processes/p", {**DESCRIPTION, "inputs": {"a": {"schema": {"type": "string"}}, "b": {"schema": {}}}})
    with pytest.raises(PlatformRefused, match=r"has changed .*: input a, input b\."):
        list(platform(web).submit(other))
    web.serve("/processes/p", {**DESCRIPTION, "version": "2", "title": "Another word"})
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    assert (attempt.handle or {})["version"] == "2"
    web.serve("/processes/p", b"", status=404)
    with pytest.raises(PlatformRefused, match="no longer there"):
        list(platform(web).submit(other))


def test_the_account_goes_to_the_server_and_to_nobody_else(web: WebPeer) -> None:
    with WebPeer() as stranger:
        web.guard = "Bearer s3cret"
        there = platform(web, token="s3cret", egress={"schemes": ["http"], "allowHosts": ["127.0.0.1"]})
        links = {
            "said": {"href": stranger.serve("/out.txt", b"theirs")},
            "own": {"href": web.serve("/jobs/7/f.txt", b"own")},
        }
        web.serve("/processes/p/execution", {"jobID": "7", "status": "accepted"}, status=201)
        web.serve("/jobs/7", DONE)
        web.serve("/jobs/7/results", links)
        attempt = Attempt("j", 1, "eb-j-1", list(there.submit(spec(web)))[-1])
        [theirs, own] = there.collect(attempt).files
        with there.open(attempt, theirs.ref) as stream:
            assert stream.read() == b"theirs"
        with there.open(attempt, own.ref, 1) as stream:
            assert stream.read() == b"wn"
        [asked] = stranger.requests
        assert "authorization" not in asked.headers


@pytest.mark.parametrize("path", ["/jobs/8/results", "/jobs/7/../8/results", "/jobs/7/%2e%2e/8/results", "/jobs/77"])
def test_no_tool_reads_somebody_elses_results(web: WebPeer, path: str) -> None:
    """What it wrote is a link to another job of the account that all share: it is asked for without the account."""
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/jobs/8/results", b"secret")
    web.guard = "Bearer s3cret"
    there = platform(web, token="s3cret", egress={"schemes": ["http"], "allowHosts": ["127.0.0.1"]})
    with pytest.raises(PlatformError, match=r"40[14]"):
        there.open(attempt, web.url("/").rstrip("/") + path)
    assert all("authorization" not in one.headers for one in web.requests if one.path.startswith("/jobs"))


def test_results_beside_the_jobs_where_the_operator_says_so(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    url = web.serve("/outputs/7/f.txt", b"own")
    web.guard = "Bearer s3cret"
    there = platform(web, token="s3cret", outputs=[web.url("/outputs")])
    with there.open(attempt, url) as stream:
        assert stream.read() == b"own"


def test_results_in_a_bucket(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    with WebPeer() as s3:
        s3.serve("/results/7/a b.tif", b"tiff")
        s3.serve("/private/x.tif", b"secret")
        account = {"endpoint": s3.url("/").rstrip("/"), "accessKey": "AK", "secretKey": "SK"}
        there = platform(web, token="s3cret", outputs=["s3://results/"], s3={"*": account})
        with there.open(attempt, "s3://results/7/a%20b.tif", 1) as stream:
            assert stream.read() == b"iff"
        [asked] = s3.requests
        assert "X-Amz-Signature=" in asked.query
        assert "authorization" not in asked.headers
        for other in ("s3://private/x.tif", "s3://results/../private/x.tif", "s3://results/%2e%2e/private/x.tif"):
            with pytest.raises(PlatformRefused, match="operator can open"):
                there.open(attempt, other)
        assert len(s3.requests) == 1


@pytest.mark.parametrize("path", ["p/../../jobs/8/results", "..", "p/execution", "%2e%2e", "p?limit=1", ""])
def test_the_account_reads_descriptions_only(web: WebPeer, path: str) -> None:
    """Whoever deploys names the address."""
    assert platform(web).describe(web.url("/processes/p")) is not None
    before = len(web.requests)
    assert platform(web).describe(f"{web.url('/processes/')}{path}") is None
    assert len(web.requests) == before


def test_a_bundle_names_a_process_only(web: WebPeer) -> None:
    """Whoever deploys may write the bundle by hand."""
    crafted = spec(web)
    entry = web.url("/processes/p") + "/../../jobs/8"
    bundle = {**crafted.bundle, "entry": entry, "documents": {entry: json.dumps(DESCRIPTION)}}
    with pytest.raises(PlatformRefused, match="no address of a process"):
        list(platform(web, token="s3cret").submit(replace(crafted, bundle=bundle)))
    assert web.requests == []


def test_a_process_that_runs_at_once_for_too_long_is_not_run_again(web: WebPeer) -> None:
    web.serve("/processes/p", {**DESCRIPTION, "jobControlOptions": ["sync-execute"]})
    web.serve("/processes/p/execution", {"said": "late"})
    gate = web.stall("/processes/p/execution", after=0)
    try:
        with pytest.raises(PlatformRefused, match="at once only"):
            list(platform(web, seconds=0.5).submit(spec(web)))
    finally:
        gate.set()


def test_results_lead_to_no_closed_address(web: WebPeer) -> None:
    with WebPeer() as inner:
        attempt = submitted(web, {"jobID": "7", "status": "accepted"})
        with pytest.raises(PlatformRefused):
            platform(web, egress={"schemes": ["http"]}).open(attempt, inner.serve("/metadata", b"secret"))
        assert inner.requests == []


def test_a_result_goes_on_where_its_connection_broke(web: WebPeer) -> None:
    data = bytes(range(256)) * 4096
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    url = web.serve("/jobs/7/f.tif", data)
    web.cut("/jobs/7/f.tif", after=300_000, times=2)
    with platform(web).open(attempt, url, 1000) as stream:
        assert stream.read() == data[1000:]
    ranges = [one.headers["range"] for one in web.requests if one.path == "/jobs/7/f.tif"]
    assert len(ranges) == 3
    assert ranges[0] == "bytes=1000-"


def test_a_result_whose_server_knows_no_ranges(web: WebPeer) -> None:
    data = bytes(range(256)) * 2000
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    url = web.serve("/jobs/7/f.tif", data, ranges=False)
    with platform(web).open(attempt, url, 300_001) as stream:
        assert stream.read() == data[300_001:]


def test_a_result_that_breaks_off_for_good_is_an_error(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    url = web.serve("/jobs/7/f.tif", b"x" * 100_000)
    web.cut("/jobs/7/f.tif", after=0, times=9)
    with pytest.raises(OSError, match="broke off"), platform(web).open(attempt, url) as stream:
        stream.read()


def test_of_many_only_the_status_is_asked_for(web: WebPeer) -> None:
    """Why one failed is asked of that one, afterwards: the ends of all are known by one request each."""
    attempt = submitted(web, DONE)
    web.serve("/jobs/7", DONE | {"status": "failed"})
    web.serve("/jobs/7/results", {"title": "Wrong band."}, status=500)
    before = len(web.requests)
    seen = list(platform(web).observe([attempt] * 5))
    assert [one.state for one in seen] == [State.FAILED] * 5
    assert [one.path for one in web.requests[before:]] == ["/jobs/7"] * 5
    failed = see(web, attempt)
    assert failed.failure is not None
    assert "Wrong band." in failed.failure.message


def test_the_reason_of_a_failure_may_be_at_its_results(web: WebPeer) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/jobs/7", {"jobID": "7", "status": "failed"})
    web.serve("/jobs/7/results", {"title": "x", "detail": "wrong band"}, status=500)
    failure = see(web, attempt).failure
    assert failure is not None
    assert "wrong band" in failure.message


@pytest.mark.parametrize(
    ("classes", "available", "kinds"),
    [
        ([CORE.format("1.0")], True, {"ogcapi"}),
        ([CORE.format("2.0").replace("/conf/", "/req/")], True, {"ogcapi"}),
        ([CORE.format("1.0"), PART2 + "deploy-replace-undeploy", PART2 + "cwl"], True, {"ogcapi", "cwl"}),
        (["http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core"], False, {"ogcapi"}),
    ],
)
def test_what_it_can_do_is_read_from_its_classes(
    web: WebPeer, classes: list[str], available: bool, kinds: set[str]
) -> None:
    web.serve("/conformance", {"conformsTo": classes})
    health = platform(web).check()
    assert health.available is available
    assert health.capabilities.kinds == kinds
    assert web.url("/").rstrip("/") in health.capabilities.features


def test_a_trial_is_a_package_where_packages_are_taken(web: WebPeer) -> None:
    assert platform(web).trial() is None
    web.serve("/conformance", {"conformsTo": [CORE.format("1.0"), PART2 + "deploy-replace-undeploy", PART2 + "cwl"]})
    trial = platform(web).trial()
    assert isinstance(platform(web), Proving)
    assert trial is not None
    assert {*trial.inputs} == {one["id"] for one in loading.inspect(build(trial.package), Path()).process["inputs"]}


def described(name: str, *, example: Any = None, **inputs: Any) -> dict[str, Any]:
    return DESCRIPTION | {"id": name, "inputs": inputs} | ({} if example is None else {"example": example})


SCHEMA = {"type": "number"}
REQUIRED, OPTIONAL = {"schema": SCHEMA}, {"schema": SCHEMA, "minOccurs": 0}


@pytest.mark.parametrize(
    ("offered", "process", "inputs"),
    [
        ([described("p", a=REQUIRED), described("q", a={"schema": SCHEMA | {"example": 2}})], "q", {"a": 2}),
        ([described("p", a={"schema": SCHEMA | {"default": 3}}, b=OPTIONAL)], "p", {"a": 3}),
        ([described("p", a={"schema": SCHEMA | {"examples": [4, 5]}, "minOccurs": "1"})], "p", {"a": 4}),
        ([described("p", a=REQUIRED, b=OPTIONAL, example={"inputs": {"a": 6}})], "p", {"a": 6}),
        ([described("p", a=REQUIRED, example={"inputs": {"z": 6}})], None, {}),
        ([described("sum", a={"schema": SCHEMA | {"default": 3}}), described("EchoProcess")], "EchoProcess", {}),
        ([described("delete-everything"), described("p", a=OPTIONAL)], None, {}),
    ],
)
def test_a_trial_is_a_process_that_says_with_what_it_runs(
    web: WebPeer, offered: list[dict[str, Any]], process: str | None, inputs: dict[str, Any]
) -> None:
    """One that runs with nothing may do anything: it is run only where its name says that it is harmless."""
    web.serve("/processes", {"processes": [{"id": one["id"], "version": "1"} for one in offered]})
    for one in offered:
        web.serve(f"/processes/{one['id']}", one)
    trial = platform(web).trial()
    if process is None:
        assert trial is None
        return
    assert trial is not None
    unit = json.loads(trial.package)["executionUnit"]
    assert (unit["href"], dict(trial.inputs)) == (web.url(f"/processes/{process}"), inputs)


def test_a_trial_is_the_process_that_the_operator_names(web: WebPeer) -> None:
    web.serve("/conformance", {"conformsTo": [CORE.format("1.0"), PART2 + "deploy-replace-undeploy", PART2 + "cwl"]})
    for process in ("p", web.url("/processes/p")):
        trial = platform(web, trial={"process": process, "inputs": {"a": 1}}).trial()
        assert trial is not None
        assert json.loads(trial.package)["executionUnit"]["href"] == web.url("/processes/p")
        assert dict(trial.inputs) == {"a": 1}
    for process in ("q", "https://elsewhere.example/processes/p"):
        with pytest.raises(PlatformRefused, match="has no process"):
            platform(web, trial={"process": process}).trial()


def test_something_that_is_no_ogc_api(web: WebPeer) -> None:
    web.serve("/conformance", b"<html>", media_type="text/html")
    health = platform(web).check()
    assert not health.available
    assert "conformance" in health.message


LINE = "line of the log\n"


@pytest.mark.parametrize(
    ("body", "kind", "relation"),
    [
        (LINE.encode() * 3, "text/plain", "http://www.opengis.net/def/rel/ogc/1.0/log"),
        (b'["line of the log","line of the log","line of the log"]', "application/json", "logs"),
    ],
    ids=["text", "a list of lines"],
)
def test_logs_of_other_servers(web: WebPeer, body: bytes, kind: str, relation: str) -> None:
    attempt = submitted(web, {"jobID": "7", "status": "accepted"})
    web.serve("/jobs/7", {**DONE, "links": [{"rel": relation, "href": "/jobs/7/log.txt"}]})
    web.serve("/jobs/7/log.txt", body, media_type=kind)
    there = platform(web)
    page = there.logs(attempt, None)
    assert "".join(chunk.text for chunk in page.chunks) == LINE * 3
    assert there.logs(attempt, page.cursor).chunks == ()
