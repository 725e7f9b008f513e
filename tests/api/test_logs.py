"""Logs: as text, as JSON by cursor, and followed."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from broker.api import connection
from tests.api.conftest import Around
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.peers.broker import wait_for


def test_text_and_json(api: Server) -> None:
    api.ready()
    job = api.execute()
    api.log(job, "one\n", "two\n")
    api.log(job, "from crop\n", stream="crop")
    text = api.get(f"/jobs/{job}/logs", headers={"Accept": "text/plain"})
    assert text.text == "one\ntwo\nfrom crop\n"
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    page = api.get(f"/jobs/{job}/logs").json()
    assert [(one["step"], one["text"]) for one in page["logs"]] == [
        ("engine", "one\n"),
        ("engine", "two\n"),
        ("crop", "from crop\n"),
    ]
    assert page["ended"] is False
    assert text.headers["log-cursor"] == str(page["cursor"])
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    assert api.get(following).json()["logs"] == []
    api.log(job, "three\n")
    assert [one["text"] for one in api.get(following).json()["logs"]] == ["three\n"]
    assert api.get(f"/jobs/{job}/logs?step=crop&f=text").text == "from crop\n"
    assert api.get(f"/jobs/{job}/logs?attempt=2&f=text").text == ""


def test_follow_to_the_end(api: Server) -> None:
    api.ready()
    job = api.execute()
    api.log(job, "first\n")
    events: list[tuple[str, dict[str, object]]] = []
    seen = threading.Event()

    def follow() -> None:
        with api.session.get(f"{api.url}/jobs/{job}/logs?f=sse", stream=True, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((name, json.loads(line.removeprefix("data: "))))
                    seen.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert seen.wait(10)
    api.log(job, "second\n")
    api.succeed(job, {})
    thread.join(20)
    assert {"phase": "accepted"} in [data for name, data in events if name == "status"]
    assert [(name, data.get("text")) for name, data in events if name != "status"] == [
        ("log", "first\n"),
        ("log", "second\n"),
        ("end", None),
    ]
    assert events[-1][1] == {"phase": "successful"}


def test_a_reconnecting_follower_goes_on_where_it_was(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.log(job, "first\n", "second\n")
    lone.succeed(job, {})
    cursor = lone.get(f"/jobs/{job}/logs").json()["logs"][0]["id"]
    answer = lone.get(f"/jobs/{job}/logs?f=sse", headers={"Last-Event-ID": str(cursor)})
    assert "first" not in answer.text
    assert "second" in answer.text
    valid_problem(lone.get(f"/jobs/{job}/logs?f=sse", headers={"Last-Event-ID": "x"}), 400)


def test_an_answer_may_take_longer_than_the_head_of_a_request(lone: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    lone.ready()
    job = lone.execute()
    with lone.session.get(f"{lone.url}/jobs/{job}/logs?f=sse", stream=True, timeout=30) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines) == "event: status"
        started = time.monotonic()
        wait_for(lambda: time.monotonic() - started > 0.5, 5, lambda: "the clock stands")
        lone.succeed(job, {})
        assert "event: end" in list(lines)


def test_who_follows_does_not_hold_up_the_end_of_the_server(sqlite_url: str, tmp_path: Path, around: Around) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(around.server(sqlite_url, tmp_path))
        server.ready()
        job = server.execute()
        answer = server.session.get(f"{server.url}/jobs/{job}/logs?f=sse", stream=True, timeout=30)
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines) == "event: status"
        started = time.monotonic()
    assert time.monotonic() - started < 2  # the grace that the fixture gives is 3 s
    assert "event: end" not in list(lines)  # the job has not ended: a browser comes back
