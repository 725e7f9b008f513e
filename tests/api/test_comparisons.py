"""Comparisons through the API: asked for, made, read as JSON and as pages; who sees those with other people's jobs."""

from __future__ import annotations

from typing import Any

import pytest

from broker.queue.comparer import Comparer
from broker.results.verdict import Tolerance
from tests.api.accounts import account
from tests.api.server import TOOL, Server

HTML = {"Accept": "text/html"}


@pytest.fixture
def server(lone: Server) -> Server:
    lone.ready()
    return lone


def job(server: Server, content: bytes, **options: Any) -> str:
    found = server.execute(**options)
    server.succeed(found, {"said": {"class": "File", "location": "a.json"}}, {"a.json": content})
    return found


def made(server: Server) -> None:
    assert Comparer(server.site.broker).step(), "nothing was due"


def test_a_job_is_compared_with_another(server: Server) -> None:
    first, second = job(server, b'{"n": 1.0}'), job(server, b'{"n": 1.1}')
    asked = server.post(f"/jobs/{second}/comparisons", json={"with": first, "tolerance": {"relative": 0.2}})
    assert asked.status_code == 201
    waiting = server.get(asked.headers["Location"]).json()
    assert (waiting["state"], waiting["with"]) == ("waiting", {"kind": "job", "id": first})
    made(server)
    found = server.get(f"/jobs/{second}/comparison?with={first}").json()
    assert (found["state"], found["verdict"], found["id"]) == ("done", "equivalent", asked.json()["id"])
    assert found["tolerance"] == Tolerance(relative=0.2).to_json()
    assert [one["path"] for one in found["report"]["outputs"]] == ["a.json"]
    assert server.post(f"/jobs/{second}/comparisons", json={"with": first}).status_code == 201
    made(server)
    listed = server.get(f"/jobs/{second}/comparisons").json()["comparisons"]
    assert [one["verdict"] for one in listed] == ["different", "equivalent"]
    assert "report" not in listed[0]
    assert server.get(f"/jobs/{second}/comparison").json()["id"] == listed[0]["id"]
    assert server.get(f"/jobs/{first}/comparison").json()["reason"] == "no-such-comparison"


def test_with_what_a_record_tells_of(server: Server) -> None:
    mine = job(server, b"{}")
    told = {"a.json": {"sha256": "0" * 64, "size": 2, "href": "http://user:secret@127.0.0.1/a.json"}}
    href = "https://example.org/record.json?signature=secret"
    body = {"with": {"name": "Lakes", "href": href, "outputs": told}}
    assert server.post(f"/jobs/{mine}/comparisons", json=body).status_code == 201
    made(server)
    found = server.get(f"/jobs/{mine}/comparison")
    assert found.json()["with"] == {
        "kind": "experiment",
        "name": "Lakes",
        "href": "https://example.org/record.json?…",
    }
    assert "with a user name or password" in found.text
    assert "secret" not in found.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/with"),
        ({"with": 7}, "/with"),
        ({"with": {"outputs": {"a": {"sha256": "short"}}}}, "/with/outputs/a"),
        ({"with": {"outputs": {"a": {"size": -1}}}}, "/with/outputs/a"),
        ({"with": {"outputs": {"a": {"href": ["x"]}}}}, "/with/outputs/a"),
        ({"with": {"outputs": {}, "name": 1}}, "/with"),
        ({"with": {"outputs": {}}, "tolerance": {"share": 2}}, "/tolerance"),
        ({"with": {"outputs": {}}, "tolerance": {"relative": "1"}}, "/tolerance/relative"),
        ({"with": {"outputs": {}}, "tolerance": {"distance": 1}}, "/tolerance"),
    ],
)
def test_what_cannot_be_asked_for(still: Server, body: dict[str, Any], pointer: str) -> None:
    answer = still.post("/jobs/none/comparisons", json=body)
    assert answer.status_code == 400, answer.text
    assert pointer in answer.text


def test_the_pages(server: Server) -> None:
    mine = job(server, b"{}")
    picture = "iVBORw0KGgo="
    output = {
        "path": "<b>.tif", "by": "GeoTIFF", "verdict": "different", "sentence": "Two pixels differ.",
        "notes": ["a note"], "numbers": {"bands": [1]}, "picture": picture, "left": {"sha256": "0", "size": 10},
    }  # fmt: skip
    made_id = server.compared(
        mine, {"verdict": "different", "sentence": "Of 1 output: 1 different.", "outputs": [output]}
    )
    shown = server.get(f"/jobs/{mine}/comparison", headers=HTML).text
    for part in (f"data:image/png;base64,{picture}", "&lt;b&gt;.tif", "Two pixels differ.", "a note", "water"):
        assert part in shown
    listed = server.get(f"/jobs/{mine}", headers=HTML).text
    assert f"/jobs/{mine}/comparison?id={made_id}&amp;f=html" in listed
    assert "Of 1 output: 1 different." in listed
    answer = server.get(f"/jobs/{mine}/comparisons", headers=HTML, allow_redirects=False)
    assert answer.headers["Location"].endswith(f"/jobs/{mine}?f=html#comparisons")


def test_the_form(server: Server) -> None:
    first, second = job(server, b"{}"), job(server, b"{ }")
    fields = {"with": f" {first} ", "relative": "", "absolute": "0.5"}
    answer = server.post(f"/jobs/{second}/comparisons", data=fields, allow_redirects=False)
    assert answer.status_code == 303
    assert "badge wait" in server.get(answer.headers["Location"], headers=HTML).text
    made(server)
    found = server.get(f"/jobs/{second}/comparison").json()
    assert (found["verdict"], found["tolerance"]["absolute"]) == ("equivalent", 0.5)


def test_one_is_withdrawn(server: Server) -> None:
    first, second = job(server, b"{}"), job(server, b"{ }")
    where = f"/jobs/{second}/comparison"
    assert server.delete(where).json()["reason"] == "no-such-comparison"
    for way in ("api", "page"):
        assert server.post(f"/jobs/{second}/comparisons", json={"with": first}).status_code == 201
        page = server.get(where, headers=HTML).text
        assert "Withdraw it" in page
        if way == "api":
            assert server.delete(f"{where}?with={first}").json()["state"] == "failed"
        else:
            fields = {"do": "withdraw", "id": server.get(where).json()["id"]}
            assert server.post(where, data=fields, allow_redirects=False).status_code == 303
        found = server.get(where).json()
        assert (found["state"], "withdrawn" in found["message"]) == ("failed", True)
        assert "Withdraw it" not in server.get(where, headers=HTML).text
        assert not Comparer(server.site.broker).step(), "nobody makes it"
    refused = server.delete(where)
    assert (refused.status_code, refused.json()["reason"]) == (409, "wrong-phase")
    assert server.post(where, data={"do": "something"}).status_code == 400


def test_one_with_a_job_that_one_does_not_see(server: Server) -> None:
    anna, bert = account(server, "anna"), account(server, "bert")
    headers = {"Content-Type": "application/cwl+yaml"}
    assert anna("POST", "/processes", data=TOOL.format(id="hers"), headers=headers).status_code == 201
    ids = []
    for shared in (True, False):
        path = "/processes/hers/execution"
        asked = anna("POST", path, json={"inputs": {"text": "x"}}, headers={"Prefer": "respond-async"})
        assert asked.status_code == 201, asked.text
        ids.append(asked.json()["jobID"])
        server.succeed(ids[-1], {}, {"a.txt": b"x"})
        if shared:
            anna("PUT", f"/jobs/{ids[-1]}/sharing", json={"shared": "public"})
    assert anna("POST", f"/jobs/{ids[0]}/comparisons", json={"with": ids[1]}).status_code == 201
    made(server)
    assert anna("GET", f"/jobs/{ids[0]}/comparison").json()["verdict"] == "identical"
    assert bert("GET", f"/jobs/{ids[0]}/comparisons").json()["comparisons"] == []
    assert bert("GET", f"/jobs/{ids[0]}/comparison").status_code == 404
    assert ids[1] not in bert("GET", f"/jobs/{ids[0]}?f=html").text
    assert bert("POST", f"/jobs/{ids[0]}/comparisons", json={"with": ids[0]}).status_code == 403
