"""Tokens that are refused, end, or cannot be had fail no job (4 of the list in the reference)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformUnavailable
from broker.jobs.observation import State
from broker.platform import Attempt
from tests.faults.openeo.looking import JOB, JWT, ended, look
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
