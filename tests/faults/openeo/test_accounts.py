"""Tokens that are refused, end, or cannot be had fail no job; a job belongs to the account that made it (4 and 12 of
the list in the reference)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformUnavailable
from broker.jobs.observation import State
from broker.platform import Attempt
from tests.faults.openeo.looking import JOB, JWT, ended, job_of, look
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one, openeo_peer, submitted
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")


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


def test_many_that_need_a_token_get_one_together(back_end: OpenEoPeer, faults: Faults) -> None:
    platform = back_end.platform(faults.url)
    with ThreadPoolExecutor(8) as threads:
        found = {tuple(one.items()) for one in threads.map(lambda _: platform.api.authorization(), range(8))}
    assert len(found) == 1
    assert faults.count("GET", "/credentials/basic") == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b'{"error": "invalid_grant"}'), (503, b""), (200, b"{}"), (200, b"<html>")],
    ids=["refresh token over", "down", "no token", "not json"],
)
def test_an_identity_provider_that_gives_no_token_fails_no_job(back_end: OpenEoPeer, status: int, body: bytes) -> None:
    with WebPeer() as issuer, Faults(back_end.url) as faults:
        url = issuer.url("").rstrip("/")
        issuer.serve("/.well-known/openid-configuration", {"token_endpoint": f"{url}/token"})
        issuer.serve("/token", body, status=status)
        provider = {"id": "test", "issuer": url, "title": "Test", "scopes": ["openid"]}
        faults.answer("GET", "/credentials/oidc$", 200, body={"providers": [provider]}, times=10)
        account = {"username": None, "password": None, "client_id": "broker", "refresh_token": "over"}
        platform = back_end.platform(faults.url, **account)
        job = Attempt("j", 1, "eb-j-1", {"id": "somebody's", "began": time.time()})
        with pytest.raises(PlatformUnavailable) as told:
            look(platform, job)
        assert "over" not in str(told.value).split()
        with pytest.raises(PlatformUnavailable) as told:
            list(platform.submit(back_end.spec(one("say", "later"))))
        assert not told.value.sent


class Kept:
    """Accounts of people: what a credential opens to, by its id."""

    def __init__(self, **fields: Mapping[str, str]) -> None:
        self.fields = fields
        self.at: set[str] = set()

    def opened(self, account: str, at: str) -> tuple[float, Mapping[str, str]] | None:
        self.at.add(at)
        return (1.0, self.fields[account]) if account in self.fields else None

    @contextmanager
    def renewing(self, account: str, at: str) -> Iterator[tuple[str, Callable[[str], None]]]:
        def keep(token: str) -> None:
            self.fields[account] = {**self.fields[account], "refreshToken": token}

        yield self.fields[account]["refreshToken"], keep


JANE = {"username": "jane", "password": "jane123"}


def test_a_job_is_looked_at_and_ended_with_the_account_that_made_it(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    """What has one id for one account is unknown to another (12 of the list in the reference)."""
    platform.accounts = accounts = Kept(jane=JANE)
    mine = submitted(platform, back_end.spec(one("say", "of the platform")))
    hers = replace(submitted(platform, back_end.spec(one("say", "of jane"), account="jane")), account="jane")
    waits = replace(submitted(platform, back_end.spec(one("wait", 600), account="jane")), account="jane")
    for own in (mine, hers):
        assert ended(platform, own).state == State.SUCCEEDED
        assert platform.collect(own).files
    assert look(platform, replace(hers, handle=None)).state == State.SUCCEEDED  # between intent and handle
    listed = {str(job["id"]) for job in platform.api.jobs()}
    assert job_of(mine) in listed
    assert not {job_of(hers), job_of(waits)} & listed
    assert job_of(hers) in {str(job["id"]) for job in back_end.platform(**JANE).api.jobs()}
    platform.cancel(waits)
    assert look(platform, waits).state == State.CANCELLED
    platform.release(hers)
    assert job_of(hers) not in {str(job["id"]) for job in back_end.platform(**JANE).api.jobs()}
    assert accounts.at == {faults.url}


def test_an_account_that_is_gone_fails_its_jobs_and_no_others(back_end: OpenEoPeer, platform: OpenEoPlatform) -> None:
    platform.accounts = accounts = Kept(jane=JANE)
    mine = submitted(platform, back_end.spec(one("wait", 600)))
    hers = replace(submitted(platform, back_end.spec(one("wait", 600), account="jane")), account="jane")
    theirs = replace(mine, name="eb-other-1", account="gone")
    seen = {found.name: found for found in platform.observe([theirs, mine, hers])}
    assert "no longer kept here" in seen[theirs.name].message
    assert [seen[job.name].state == State.FAILED for job in (theirs, mine, hers)] == [True, False, False]
    platform.cancel(theirs)
    platform.release(theirs)
    assert look(platform, mine).state in (State.QUEUED, State.RUNNING)  # nobody ended it with the platform's account
    accounts.fields["jane"] = {"username": "jane", "password": "changed there"}
    fresh = back_end.platform()
    fresh.accounts = accounts
    with pytest.raises(PlatformUnavailable) as refused:
        look(fresh, hers)
    assert refused.value.personal
    platform.release(hers)
    platform.release(mine)


def test_a_refresh_token_that_is_used_once_is_followed_by_the_next(tmp_path: Path) -> None:
    with WebPeer() as issuer:
        url = issuer.url("").rstrip("/")
        places = {"token_endpoint": f"{url}/token", "userinfo_endpoint": f"{url}/userinfo"}
        issuer.serve("/.well-known/openid-configuration", {"issuer": url, **places})
        issuer.serve("/userinfo", {"sub": "jane"})
        issuer.serve("/token", {"access_token": "brief", "expires_in": 0, "refresh_token": "second"})
        with openeo_peer(tmp_path, issuer=url) as peer:
            platform = peer.platform()
            platform.accounts = accounts = Kept(jane={"clientId": "broker", "refreshToken": "first"})
            hers = replace(submitted(platform, peer.spec(one("say", "oidc"), account="jane")), account="jane")
            assert ended(platform, hers).state == State.SUCCEEDED
    asked = [found.body for found in issuer.requests if found.path == "/token"]
    assert b"refresh_token=first" in asked[0]
    assert all(b"refresh_token=second" in body for body in asked[1:])
    assert len(asked) > 1
    assert accounts.fields["jane"]["refreshToken"] == "second"
