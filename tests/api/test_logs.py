"""Logs: as text, as JSON by cursor, and followed."""

from __future__ import annotations

import json
import threading

from tests.api.schemas import valid_problem
from tests.api.server import Server


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
    assert [(name, data.get("text")) for name, data in events] == [
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
