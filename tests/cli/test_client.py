"""The client itself: who gets the token, what is repeated, what other servers' answers are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.cli.client import Client
from broker.cli.problems import Unreachable
from broker.errors import NoSuchJob, PlatformUnavailable
from tests.peers.web import WebPeer


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as web:
        yield web


def test_the_token_goes_to_its_server_and_to_nobody_else(web: WebPeer) -> None:
    with WebPeer() as storage:
        storage.serve("/bytes", b"x")
        web.redirect("/away", storage.url("/bytes"), 307)
        web.serve("/jobs/1", {"status": "running"})
        with Client(web.url(""), "eb_secret") as client:
            client.job("1")
            assert client.request("GET", "/away").content == b"x"
            assert client.request("GET", storage.url("/bytes")).content == b"x"
    assert [request.headers.get("authorization") for request in web.requests] == ["Bearer eb_secret"] * 2
    assert [request.headers.get("authorization") for request in storage.requests] == [None, None]


def test_lists_are_followed_to_their_end_or_limit(web: WebPeer) -> None:
    following = [{"rel": "next", "href": web.url("/page2")}]
    web.serve("/jobs", {"jobs": [{"n": 1}, {"n": 2}], "links": following})
    web.serve("/page2", {"jobs": [{"n": 3}], "links": []})
    with Client(web.url("")) as client:
        assert [one["n"] for one in client.jobs()] == [1, 2, 3]
        assert [one["n"] for one in client.jobs(limit=2)] == [1, 2]
        assert [one["n"] for one in client.jobs(limit=3, status="failed")] == [1, 2, 3]
    assert "status=failed" in web.requests[-2].query


def test_a_busy_server_is_asked_again_while_patience_lasts(web: WebPeer) -> None:
    web.serve("/jobs/1", {"status": "running"})
    web.fail("/jobs/1", times=2)
    with Client(web.url(""), patience=10) as client:
        assert client.job("1")["status"] == "running"
    assert len(web.requests) == 3
    web.fail("/jobs/1")
    with Client(web.url("")) as client, pytest.raises(PlatformUnavailable):
        client.job("1")


def test_what_is_not_safe_is_sent_once(web: WebPeer) -> None:
    web.serve("/processes", {})
    web.fail("/processes")
    with Client(web.url(""), patience=10) as client, pytest.raises(PlatformUnavailable):
        client.deploy({})
    assert len(web.requests) == 1


def test_an_execution_is_repeated_under_one_key(web: WebPeer) -> None:
    web.serve("/processes/p/execution", {"jobID": "1"})
    web.fail("/processes/p/execution", times=2)
    with Client(web.url(""), patience=10) as client:
        client.execute("p", {}, key="k")
    assert [request.headers["idempotency-key"] for request in web.requests] == ["k"] * 3


def test_a_server_that_is_no_broker_is_told_apart(web: WebPeer) -> None:
    web.serve("/jobs/1", "<html>", media_type="text/html")
    web.serve("/jobs/2", "<html>no such page", media_type="text/html", status=502)
    with Client(web.url("")) as client:
        with pytest.raises(Unreachable, match="not as a broker"):
            client.job("1")
        with pytest.raises(Exception, match="502"):
            client.job("2")


def test_names_are_quoted(web: WebPeer) -> None:
    web.serve("/jobs/a/b c", {"type": "urn:earthcode-broker:problem:no-such-job", "detail": "No."}, status=404)
    with Client(web.url("")) as client, pytest.raises(NoSuchJob):
        client.job("a/b c")
