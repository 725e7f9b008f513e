"""What an openEO back-end does to its clients, each with a real back-end behind the fault: no job is lost, failed or
started twice for it. The numbers are those of the list in the adapter's reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import Limits, Needs, Reason, StageItem
from broker.jobs.observation import Observation, State
from broker.packages.bundle import build
from broker.platform import Attempt
from tests.peers.broker import wait_for
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, openeo_peer, submitted
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")
JOBS, JOB, RESULTS = r"/jobs$", r"/jobs/[^/]+$", r"/jobs/[^/]+/results$"
START = RESULTS  # by POST
ASSET = r"/results/assets/"
JWT = "https://api.openeo.org/1.3.0/authentication/jwt"
LOAD = {"id": "SCENE", "spatial_extent": None, "temporal_extent": None}
NDVI: dict[str, Any] = {
    "id": "ndvi",
    "process_graph": {
        "load": {"process_id": "load_collection", "arguments": LOAD},
        "ndvi": {"process_id": "ndvi", "arguments": {"data": {"from_node": "load"}}, "result": True},
    },
}


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenEoPeer]:
    with openeo_peer(tmp_path_factory.mktemp("openeo")) as peer:
        yield peer


@pytest.fixture
def faults(back_end: OpenEoPeer) -> Iterator[Faults]:
    with Faults(back_end.url) as proxy:
        yield proxy


@pytest.fixture
def platform(back_end: OpenEoPeer, faults: Faults) -> OpenEoPlatform:
    return back_end.platform(faults.url)


def look(platform: OpenEoPlatform, attempt: Attempt) -> Observation:
    [seen] = platform.observe([attempt])
    return seen


def ended(platform: OpenEoPlatform, attempt: Attempt) -> Observation:
    going = (State.QUEUED, State.RUNNING)
    wait_for(lambda: look(platform, attempt).state not in going, 30, lambda: str(look(platform, attempt)))
    return look(platform, attempt)


# ---- 1: the answer to POST /jobs is lost


@pytest.mark.parametrize("happens", ["lost", "refused"])
def test_a_job_whose_making_is_in_doubt_is_made_once(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, happens: str
) -> None:
    spec = back_end.spec(one("say", "once"))
    if happens == "lost":
        faults.lose("POST", JOBS)
    else:
        faults.answer("POST", JOBS, 502)
    with pytest.raises(PlatformUnavailable):
        list(platform.submit(spec))
    assert faults.count("POST", JOBS) == 1  # never again by itself
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED
    [job_id] = back_end.ids(spec)
    assert back_end.starts(job_id) == 1
    assert faults.count("POST", JOBS) == (1 if happens == "lost" else 2)


def test_a_job_is_found_on_later_pages_of_the_list(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    spec = back_end.spec(one("say", "later"))
    first = submitted(platform, spec)

    def paged(page: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [], "links": [{"rel": "next", "href": f"{faults.url}/openeo/1.2/jobs?limit=200"}]}

    faults.change("GET", JOBS, paged)
    assert submitted(platform, spec).handle == first.handle
    assert len(back_end.ids(spec)) == 1


# ---- 2: start


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_start_that_did_not_get_through_is_made_later(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    spec = back_end.spec(one("say", "start"))
    faults.answer("POST", START, status)
    with pytest.raises(PlatformUnavailable) as told:
        list(platform.submit(spec))
    assert told.value.retry_after  # a while, in which a start that is late is seen
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED
    assert back_end.starts(back_end.ids(spec)[0]) == 1


def test_a_start_whose_answer_is_lost_is_not_made_again(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    spec = back_end.spec(one("say", "start"))
    faults.lose("POST", START)
    attempt = submitted(platform, spec)  # the job itself says that it was started
    assert ended(platform, attempt).state == State.SUCCEEDED
    assert faults.count("POST", START) == 1


def test_a_state_that_lags_behind_is_waited_for(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "lag")))
    faults.change("GET", JOB, lambda job: job | {"status": "created"})
    assert look(platform, attempt).state == State.QUEUED
    assert ended(platform, attempt).state == State.SUCCEEDED
    faults.change("GET", JOB, lambda job: job | {"status": "created"})
    impatient = back_end.platform(faults.url, visible_seconds=0)
    assert look(impatient, attempt).state == State.LOST


def test_a_new_job_may_be_out_of_sight(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    faults.answer("GET", JOB, 404, "JobNotFound", times=2)
    spec = back_end.spec(one("wait", 600))
    attempt = submitted(platform, spec)
    faults.change("GET", JOBS, lambda page: {"jobs": [], "links": []})
    assert look(platform, attempt).state == State.QUEUED
    assert look(platform, attempt).state in (State.QUEUED, State.RUNNING)
    platform.release(attempt)


# ---- 3: limits


@pytest.mark.parametrize(
    ("status", "code", "headers", "wait"),
    [
        (400, "ConcurrentJobLimit", {}, 30.0),
        (429, "", {"Retry-After": "7"}, 7.0),
        (503, "InfrastructureBusy", {}, None),
    ],
)
def test_a_limit_keeps_the_job(
    back_end: OpenEoPeer,
    faults: Faults,
    platform: OpenEoPlatform,
    status: int,
    code: str,
    headers: dict[str, str],
    wait: float | None,
) -> None:
    spec = back_end.spec(one("say", "limit"))
    faults.answer("POST", JOBS, status, code, headers=headers)
    with pytest.raises(PlatformUnavailable) as told:
        list(platform.submit(spec))
    assert told.value.retry_after == wait
    assert ended(platform, submitted(platform, spec)).state == State.SUCCEEDED


def test_many_jobs_are_one_request(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempts = [submitted(platform, back_end.spec(one("wait", 600))) for _ in range(10)]
    before = len(faults.requests)
    assert {seen.state for seen in platform.observe(attempts)} <= {State.QUEUED, State.RUNNING}
    assert len(faults.requests) == before + 1
    faults.change("GET", JOBS, lambda page: {"jobs": page["jobs"][:0], "links": []})
    assert State.LOST not in {seen.state for seen in platform.observe(attempts)}  # a list may lack some
    for attempt in attempts:
        platform.release(attempt)


# ---- 4: tokens


def test_a_token_that_is_refused_is_renewed_once(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "token")))
    faults.answer("GET", JOB, 403, "TokenInvalid")
    assert look(platform, attempt).state != State.LOST
    assert faults.count("GET", "/credentials/basic") == 2


@pytest.mark.parametrize(("status", "code"), [(403, "TokenInvalid"), (401, "AuthenticationRequired"), (401, "")])
def test_an_account_that_is_not_taken_fails_no_job(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int, code: str
) -> None:
    """It may be that the identity provider is down."""
    attempt = submitted(platform, back_end.spec(one("wait", 600)))
    faults.answer("GET", "/jobs", status, code, times=2)
    with pytest.raises(PlatformUnavailable, match="does not take the account"):
        look(platform, attempt)
    assert look(platform, attempt).state in (State.QUEUED, State.RUNNING)
    platform.release(attempt)


def test_oidc_by_client_credentials_and_renewed_before_its_end(tmp_path: Path) -> None:
    with WebPeer() as issuer:
        url = issuer.url("").rstrip("/")
        issuer.serve(
            "/.well-known/openid-configuration",
            {"issuer": url, "token_endpoint": f"{url}/token", "userinfo_endpoint": f"{url}/userinfo"},
        )
        issuer.serve("/userinfo", {"sub": "service"})
        issuer.serve("/token", {"access_token": "first", "expires_in": 600})
        with openeo_peer(tmp_path, issuer=url) as peer, Faults(peer.url) as faults:
            peer.account = {"client_id": "broker", "client_secret": "whisper"}
            platform = peer.platform(faults.url)
            assert ended(platform, submitted(platform, peer.spec(one("say", "oidc")))).state == State.SUCCEEDED
            [asked] = [one for one in issuer.requests if one.path == "/token"]
            assert b"grant_type=client_credentials" in asked.body
            assert b"client_secret=whisper" in asked.body
            assert all("whisper" not in str(one.headers) + str(one.body) for one in faults.requests)
            assert {one.headers["authorization"] for one in faults.requests if "/jobs" in one.path} == {
                "Bearer oidc/test/first"
            }
            faults.change("GET", "/openeo/1.2/$", lambda page: page | {"conformsTo": [*page["conformsTo"], JWT]})
            faults.requests.clear()
            assert not peer.platform(faults.url).check().available  # openeo-driver takes prefixed tokens only
            assert {one.headers["authorization"] for one in faults.requests if "/jobs" in one.path} == {"Bearer first"}
            issuer.serve("/token", {"access_token": "brief", "expires_in": 0})
            peer.account = {"client_id": "broker", "refresh_token": "again"}
            brief = peer.platform(faults.url)
            assert brief.check().available
            assert brief.check().available
            renewed = [one for one in issuer.requests if b"refresh_token=again" in one.body]
            assert len(renewed) > 1


# ---- 5 to 8: what polls meet


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_poll_that_fails_is_not_a_job_that_failed(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "poll")))
    faults.answer("GET", JOB, status)
    with pytest.raises(PlatformUnavailable):
        look(platform, attempt)
    assert ended(platform, attempt).state == State.SUCCEEDED


@pytest.mark.parametrize("answer", [[], None, "text", 1])
def test_an_answer_that_is_no_object_harms_nothing(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, answer: Any
) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "odd")))
    faults.change("GET", JOB, lambda job: answer)
    with pytest.raises(PlatformUnavailable, match="without a JSON object"):
        look(platform, attempt)
    assert ended(platform, attempt).state == State.SUCCEEDED


def test_a_job_that_runs_for_ever_is_cancelled(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    spec = back_end.spec(one("wait", 600), limits=Limits(time=0.0))
    attempt = submitted(platform, spec)
    seen: list[Observation] = []

    def over() -> bool:
        seen.append(look(platform, attempt))
        return seen[-1].state == State.FAILED

    wait_for(over, 20, lambda: str(seen[-1]))
    assert seen[-1].failure is not None
    assert seen[-1].failure.reason == Reason.TIME_LIMIT
    assert look(platform, attempt).state == State.CANCELLED


def test_an_error_without_a_log_gets_a_reason(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("fail", "out of sight")))
    faults.change("GET", "/logs$", lambda page: {"logs": [], "links": []}, times=100)
    seen = ended(platform, attempt)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert "out of memory" in seen.failure.message


def test_results_that_are_said_not_to_be_ready(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(one("say", "ready")))
    ended(platform, attempt)
    faults.answer("GET", RESULTS, 400, "JobNotFinished")
    with pytest.raises(PlatformUnavailable):
        platform.collect(attempt)
    assert platform.collect(attempt).files


# ---- 9: downloads


@pytest.fixture
def computed(back_end: OpenEoPeer, platform: OpenEoPlatform) -> Attempt:
    attempt = submitted(platform, back_end.spec(NDVI))
    assert ended(platform, attempt).state == State.SUCCEEDED
    return attempt


def read(platform: OpenEoPlatform, attempt: Attempt, path: str = "stac/openEO.tif", offset: int = 0) -> bytes:
    with platform.open(attempt, path, offset) as stream:
        return stream.read()


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_link_that_expired_is_asked_for_again(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, computed: Attempt, status: int
) -> None:
    platform.collect(computed)
    before = faults.count("GET", RESULTS)
    faults.answer("GET", ASSET, status)
    assert read(platform, computed)[:4] in (b"II*\0", b"MM\0*")
    assert faults.count("GET", RESULTS) == before + 1


def test_links_that_expire_at_once_are_those_of_now(tmp_path: Path) -> None:
    with openeo_peer(tmp_path, expiration=3) as peer:
        platform = peer.platform()
        attempt = submitted(platform, peer.spec(NDVI))
        ended(platform, attempt)
        platform.collect(attempt)
        [href] = [part.href for part in platform.batch._fresh(str((attempt.handle or {})["id"])).parts if part.href]
        wait_for(lambda: _status(platform, href) >= 400, 10, lambda: "the link lives on")
        assert read(platform, attempt)[:4] in (b"II*\0", b"MM\0*")


def _status(platform: OpenEoPlatform, href: str) -> int:
    with platform.api.egress.request("GET", href, trusted=True) as answer:
        return answer.status


def test_a_download_that_breaks_off_goes_on(faults: Faults, platform: OpenEoPlatform, computed: Attempt) -> None:
    whole = read(platform, computed)
    faults.cut("GET", ASSET, after=100_000)
    assert read(platform, computed) == whole
    assert [one.headers["range"] for one in faults.requests if "range" in one.headers] == ["bytes=100000-"]
    faults.cut("GET", ASSET, after=1000, times=10)
    with pytest.raises(PlatformUnavailable, match="broke off after"):
        read(platform, computed)


def test_a_download_from_the_middle(platform: OpenEoPlatform, computed: Attempt) -> None:
    assert read(platform, computed, offset=200_000) == read(platform, computed)[200_000:]


def elsewhere(faults: Faults, href: str, times: int = 1) -> None:
    """The next results say that the assets lie at another address."""

    def change(results: dict[str, Any]) -> dict[str, Any]:
        assets = {key: asset | {"href": href} for key, asset in results["assets"].items()}
        return results | {"assets": assets, "links": []}

    faults.change("GET", RESULTS, change, times=times)


def test_a_file_that_is_shorter_than_it_should_be_is_not_taken(
    faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    with WebPeer() as web:
        elsewhere(faults, web.serve("/openEO.tif", b"too short"), times=10)
        platform.collect(computed)
        with pytest.raises(PlatformUnavailable, match="answered 416"):
            read(platform, computed)


def test_a_file_that_is_empty_once_is_asked_for_again(
    faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    def sizeless(results: dict[str, Any]) -> dict[str, Any]:
        asset = {key: value for key, value in results["assets"]["openEO.tif"].items() if key != "file:size"}
        return results | {"assets": {"openEO.tif": asset | {"href": href}}, "links": []}

    with WebPeer() as web:
        href = web.serve("/openEO.tif", b"")
        faults.change("GET", RESULTS, sizeless, times=1)
        platform.collect(computed)
        assert read(platform, computed)[:4] in (b"II*\0", b"MM\0*")
        faults.change("GET", RESULTS, sizeless, times=10)
        platform.collect(computed)
        with pytest.raises(PlatformRefused, match="is empty"):
            read(platform, computed)


def test_other_hosts_get_no_token_and_must_be_allowed(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    whole = read(platform, computed)
    with WebPeer() as web:
        elsewhere(faults, web.serve("/openEO.tif", whole))
        platform.collect(computed)
        assert read(platform, computed) == whole
        assert web.requests
        assert not any("authorization" in one.headers for one in web.requests)
        closed = back_end.platform(faults.url, egress={"schemes": ["http"]})
        elsewhere(faults, web.url("/openEO.tif"))
        closed.collect(computed)
        with pytest.raises(PlatformRefused, match="not a public address"):
            read(closed, computed)


# ---- 10: cancel, and never a second start


def test_a_cancelled_job_that_falls_back_to_created_stays_cancelled(
    back_end: OpenEoPeer, platform: OpenEoPlatform
) -> None:
    busy = [submitted(platform, back_end.spec(one("wait", 600))) for _ in range(4)]
    wait_for(lambda: all(look(platform, one).state == State.RUNNING for one in busy), 20, lambda: "never busy")
    spec = back_end.spec(one("say", "never"))
    queued = submitted(platform, spec)
    assert look(platform, queued).state == State.QUEUED
    platform.cancel(queued)
    assert look(platform, queued).state == State.CANCELLED
    assert look(platform, submitted(platform, spec)).state == State.CANCELLED
    for attempt in (*busy, queued):
        platform.release(attempt)
    assert back_end.ids(spec) == []


def test_a_finished_job_is_not_started_again(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    spec = back_end.spec(one("say", "done"))
    ended(platform, submitted(platform, spec))
    attempt = submitted(platform, spec)
    platform.cancel(attempt)
    assert look(platform, attempt).state == State.SUCCEEDED
    assert faults.count("POST", START) == 1
    assert faults.count("DELETE", START) == 0


# ---- 11: costs


def test_the_budget_goes_along_and_the_costs_come_back(back_end: OpenEoPeer, faults: Faults) -> None:
    assert "no budget" in back_end.platform().check().message
    platform = back_end.platform(faults.url, budget=12.5, plan="free", job_options={"driver-memory": "2g"})
    assert platform.check().message == ""
    attempt = submitted(platform, back_end.spec(one("say", "costs") | {"default_job_options": {"driver-memory": "4g"}}))
    ended(platform, attempt)
    [made] = [one for one in faults.requests if one.method == "POST" and one.path.endswith("/jobs")]
    assert b'"budget": 12.5' in made.body
    assert b'"plan": "free"' in made.body
    assert b'"driver-memory": "4g"' in made.body
    facts = platform.collect(attempt).facts
    assert facts["costs"] == {"amount": 1.5, "currency": "credits"}
    assert facts["delegated"]["jobId"] == (attempt.handle or {})["id"]
    assert facts["delegated"]["process"]["process_graph"]["say"]["arguments"] == {"value": "costs"}
    assert facts["delegated"]["version"] == "1.2.3-test"


def test_an_estimate_leaves_nothing_there(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    """The peer gives none by itself: the answer is scripted, what is around it is real."""
    spec = back_end.spec(one("say", "how much"))
    assert platform.estimate(spec).costs is None
    listed = {"path": "/jobs/{id}/estimate", "methods": ["GET"]}
    faults.change("GET", "/openeo/1.2/$", lambda page: page | {"endpoints": [*page["endpoints"], listed]})
    told = {"costs": 3.5, "duration": "P1DT2H3M4.5S", "size": 1024, "expires": "2026-12-01T00:00:00Z"}
    faults.answer("GET", "/estimate$", 200, body=told)
    estimating = back_end.platform(faults.url)
    found = estimating.estimate(spec)
    assert (found.costs, found.currency, found.duration, found.size) == (3.5, "credits", 93784.5, 1024)
    assert "2026-12-01" in found.text
    assert back_end.ids(spec) == []
    faults.answer("GET", "/estimate$", 500, "EstimateComplexity")
    with pytest.raises(PlatformUnavailable):
        estimating.estimate(spec)
    assert back_end.ids(spec) == []


def test_what_tries_the_platform_runs_there(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    attempt = submitted(platform, back_end.spec(json.loads(platform.trial().package)))
    assert ended(platform, attempt).state == State.SUCCEEDED
    [asset] = platform.collect(attempt).outputs["assets"]
    assert read(platform, attempt, asset["location"]) == b"3"


@pytest.mark.parametrize("status", [402, 400])
def test_an_account_without_credits_ends_the_job(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, status: int
) -> None:
    faults.answer("POST", START, status, "PaymentRequired")
    with pytest.raises(PlatformRefused, match="credits") as told:
        list(platform.submit(back_end.spec(one("say", "poor"))))
    assert told.value.fault_of == "limit"


def test_a_graph_that_the_back_end_refuses_is_never_made_a_job(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    """A back-end takes any graph when a job is made: it is asked before."""
    with pytest.raises(PlatformRefused, match="nonesuch") as told:
        list(platform.submit(back_end.spec(one("nonesuch", 1))))
    assert told.value.fault_of == "package"
    assert faults.count("POST", JOBS) == 0


@pytest.mark.parametrize(
    "versions",
    [
        [],
        [{"url": "http://127.0.0.1/0.4", "api_version": "0.4.2"}],
        [{"url": "http://127.0.0.1/1.0", "api_version": "1.0.1"}],
    ],
)
def test_versions_that_nobody_speaks(
    faults: Faults, platform: OpenEoPlatform, versions: list[dict[str, Any]], back_end: OpenEoPeer
) -> None:
    faults.change("GET", "/.well-known/openeo", lambda page: {"versions": versions})
    health = platform.check()
    assert not health.available
    assert "1.1 to 1.3" in health.message
    assert platform.check().available
    assert platform.api.base.endswith("/openeo/1.2")
    assert back_end.platform(platform.api.base).check().available  # the address of a version


@pytest.mark.parametrize("change", [lambda graph: graph, None], ids=["as it is", "not json"])
def test_what_is_no_openeo_is_not_available(change: Callable[[Any], Any] | None) -> None:
    with WebPeer() as web:
        web.serve("/", b"<html>" if change is None else b'{"hello": 1}')
        platform = OpenEoPlatform("x", OpenEoPlatform.Settings(url=web.url("")))
        assert not platform.check().available


# ---- synchronous requests


@pytest.fixture
def synchronous(back_end: OpenEoPeer, faults: Faults) -> OpenEoPlatform:
    return back_end.platform(faults.url, mode="sync", sync_seconds=5)


def test_a_synchronous_request_is_made_when_its_result_is_read(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, synchronous: OpenEoPlatform, computed: Attempt
) -> None:
    attempt = submitted(synchronous, back_end.spec(NDVI))
    assert look(synchronous, attempt).state == State.SUCCEEDED
    collected = synchronous.collect(attempt)
    assert faults.count("POST", "/result$") == 0
    [asset] = collected.outputs["assets"]
    assert asset["location"] == "stac/result.tif"
    assert read(synchronous, attempt, asset["location"]) == read(platform, computed)  # the same pixels as by batch job
    item = json.loads(read(synchronous, attempt, "stac/result.json"))
    assert item["assets"]["result"]["href"] == "./result.tif"
    synchronous.cancel(attempt)
    synchronous.release(attempt)
    assert faults.count("POST", "/result$") == 1


def test_a_back_end_without_jobs_is_used_synchronously(back_end: OpenEoPeer, faults: Faults) -> None:
    def without(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"endpoints": [one for one in page["endpoints"] if not one["path"].startswith("/jobs")]}

    faults.change("GET", "/openeo/1.2/$", without)
    platform = back_end.platform(faults.url)
    attempt = submitted(platform, back_end.spec(one("say", "at once")))
    assert platform.check().available
    assert read(platform, attempt, "stac/result.tif") == b"at once\n"


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (408, "RequestTimeout", "time-limit"),
        (400, "ProcessGraphComplexity", "invalid-package"),
        (500, "Internal", "tool-failed"),
        (503, "InfrastructureBusy", None),
        (429, "", None),
    ],
)
def test_what_a_synchronous_request_may_be_answered(
    back_end: OpenEoPeer, faults: Faults, synchronous: OpenEoPlatform, status: int, code: str, refused: str | None
) -> None:
    attempt = submitted(synchronous, back_end.spec(one("say", "answer")))
    faults.answer("POST", "/result$", status, code)
    with pytest.raises(PlatformRefused if refused else PlatformUnavailable) as told:
        read(synchronous, attempt, "stac/result.tif")
    assert getattr(told.value, "code", None) == refused
    assert read(synchronous, attempt, "stac/result.tif") == b"answer\n"


def test_a_synchronous_request_ends_in_time(back_end: OpenEoPeer, faults: Faults) -> None:
    impatient = back_end.platform(faults.url, mode="sync", sync_seconds=0.5)
    attempt = submitted(impatient, back_end.spec(one("slow", 3)))
    with pytest.raises(PlatformRefused, match=r"longer than 0\.5 s") as told:
        read(impatient, attempt, "stac/result.tif")
    assert told.value.code == "time-limit"


# ---- CWL

PACKAGE = """cwlVersion: v1.2
class: CommandLineTool
id: main
baseCommand: [sh, -c, 'mkdir out; cp "$0" out/copy.txt; echo "{}" > out/catalog.json']
inputs:
  text: {type: File, inputBinding: {}}
outputs:
  results: {type: Directory, outputBinding: {glob: out}}
"""


def test_a_back_end_that_runs_cwl_takes_packages(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    capabilities = platform.check().capabilities
    assert capabilities.kinds == {"cwl", "openeo"}
    assert "DockerRequirement" in capabilities.features
    with WebPeer() as web:
        link = web.serve("/hello.txt", b"hello")
        order = {"text": {"class": "File", "location": "inputs/text/hello.txt", "basename": "hello.txt"}}
        stage = (StageItem(path="text/hello.txt", url=link),)
        bundle = build(PACKAGE).to_json()
        attempt = submitted(platform, back_end.spec(NDVI, order, bundle=bundle, stage=stage, needs=Needs("cwl")))
        seen = ended(platform, attempt)
    assert seen.state == State.SUCCEEDED, seen
    collected = platform.collect(attempt)
    assert collected.outputs["results"]["class"] == "Directory"
    assert read(platform, attempt, "stac/copy.txt") == b"hello"


@pytest.mark.parametrize(
    ("listed", "runtimes", "found"),
    [
        (["add", "run_cwl_to_stac"], {}, "run_cwl_to_stac"),
        (["add"], {"EOAP-CWL": {}}, "run_udf"),
        (["add"], {"Python": {}}, None),
    ],
)
def test_by_which_process_a_back_end_runs_cwl(
    back_end: OpenEoPeer, faults: Faults, listed: list[str], runtimes: dict[str, Any], found: str | None
) -> None:
    faults.answer("GET", "/processes$", 200, body={"processes": [{"id": name} for name in listed]})
    faults.answer("GET", "/udf_runtimes$", 200, body=runtimes)
    platform = back_end.platform(faults.url)
    assert platform.api.runs_cwl() == found
    assert ("cwl" in platform.check().capabilities.kinds) == (found is not None)
    assert faults.count("GET", "/processes$") == 1  # it is long
    assert back_end.platform(cwl="none").check().capabilities.kinds == {"openeo"}
