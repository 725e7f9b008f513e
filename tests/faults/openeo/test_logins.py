"""Logins of people by device code, step by step; and what is said of the account of a platform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import GRANTS, OpenEoPeer
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")


@pytest.fixture
def issuer(faults: Faults) -> Iterator[WebPeer]:
    """An identity provider that says what a test wants, and which the back-end names."""
    with WebPeer() as web:
        url = web.url("").rstrip("/")
        found = {"token_endpoint": f"{url}/token", "device_authorization_endpoint": f"{url}/device"}
        web.serve("/.well-known/openid-configuration", {**found, "scopes_supported": ["openid", "offline_access"]})
        client = {"id": "people", "grant_types": GRANTS}
        one = {"id": "test", "issuer": url, "title": "T", "scopes": ["openid"], "default_clients": [client]}
        faults.answer("GET", "/credentials/oidc$", 200, body={"providers": [one]}, times=100)
        faults.answer("GET", "/me$", 200, body={"user_id": "mary", "budget": 12.5, "default_plan": "free"}, times=100)
        device = {
            "device_code": "secret-of-the-device",
            "user_code": "ABCD-EFGH",
            "verification_uri": "https://id.example/device",
            "interval": 1,
            "expires_in": 600,
        }
        web.serve("/device", device)
        yield web


def test_a_login_by_device_code_goes_on_when_it_is_due(
    faults: Faults, platform: OpenEoPlatform, issuer: WebPeer
) -> None:
    begun = platform.entered({})
    assert begun.login is not None
    assert (begun.login["code"], begun.login["address"]) == ("ABCD-EFGH", "https://id.example/device")
    assert "secret-of-the-device" not in begun.message + repr(begun)
    issuer.serve("/token", {"error": "authorization_pending"}, status=400)
    asked = len([one for one in issuer.requests if one.path == "/token"])
    assert platform.entered(begun.fields).fields == begun.fields  # too early: nobody is asked
    assert len([one for one in issuer.requests if one.path == "/token"]) == asked
    due = {**begun.fields, "due": "0"}
    again = platform.entered(due)
    assert again.login is not None
    assert float(again.fields["due"]) > time.time()
    issuer.serve("/token", {"error": "slow_down"}, status=400)
    slower = platform.entered(due).login
    assert slower is not None
    assert slower["interval"] == 6.0
    issuer.serve("/token", b"", status=503)
    with pytest.raises(PlatformUnavailable):
        platform.entered(due)
    issuer.serve("/token", {"error": "access_denied"}, status=400)
    with pytest.raises(PlatformRefused, match="access_denied"):
        platform.entered(due)
    issuer.serve("/token", {"access_token": "first", "expires_in": 600, "refresh_token": "next"})
    entered = platform.entered(due)
    assert entered.login is None
    assert entered.message == "Account mary, plan free, 12.5 credits left."
    assert entered.fields["refreshToken"] == "next"
    assert {*entered.fields} == {"clientId", "provider", "refreshToken"}
    assert [one.headers["authorization"] for one in faults.requests if one.path.endswith("/me")] == [
        "Bearer oidc/test/first"
    ]
    issuer.serve("/token", {"access_token": "first", "expires_in": 600})
    with pytest.raises(PlatformRefused, match="no refresh token"):
        platform.entered(due)
    asked_with = [one.body for one in issuer.requests if one.path == "/token"][-1]
    assert b"code_verifier=" in asked_with
    assert b"device_code=secret-of-the-device" in asked_with


@pytest.mark.parametrize("late", [{"expires": "1"}, {"due": "0"}], ids=["by its time", "as the provider says"])
def test_a_code_that_is_over_is_replaced(platform: OpenEoPlatform, issuer: WebPeer, late: dict[str, str]) -> None:
    begun = platform.entered({})
    issuer.serve("/token", {"error": "expired_token"}, status=400)
    issuer.serve("/device", {"device_code": "d", "user_code": "NEW", "verification_uri": "https://id.example/"})
    again = platform.entered({**begun.fields, **late}).login
    assert again is not None
    assert again["code"] == "NEW"


@pytest.mark.parametrize(
    ("me", "available", "words"),
    [
        ({"user_id": "john", "budget": 3.5}, True, "3.5 credits left"),
        (
            {"user_id": "john", "budget": None, "storage": {"free": 2_000_000_000, "quota": 1}},
            True,
            "2.0 GB of storage",
        ),
        ({"user_id": "john", "budget": 0}, False, "may spend no more"),
    ],
)
def test_what_is_left_of_the_account_is_part_of_its_health(
    faults: Faults, platform: OpenEoPlatform, me: dict[str, Any], available: bool, words: str
) -> None:
    faults.answer("GET", "/me$", 200, body=me)
    health = platform.check()
    assert health.available is available
    assert words in health.message


def test_job_options_that_the_back_end_does_not_have_are_told(back_end: OpenEoPeer, faults: Faults) -> None:
    listed = {"create_job_parameters": [{"name": "driver-memory"}], "create_synchronous_parameters": []}
    faults.answer("GET", "/processing_parameters$", 200, body=listed)
    platform = back_end.platform(faults.url, job_options={"driver-memory": "2g", "driver-mem": "2g"})
    assert "no job option driver-mem." in platform.check().message
