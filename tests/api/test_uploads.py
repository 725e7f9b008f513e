"""Uploads: whole, resumable, bounded, and used as inputs."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.store import uploads
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.peers.broker import wait_for

DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


def stored(api: Server, upload_id: str) -> bytes:
    with api.database.read() as tx:
        return b"".join(api.site.broker.storage.open(uploads.key(uploads.get(tx, upload_id))))


def test_whole(api: Server) -> None:
    answer = api.post("/uploads?name=scene.tif", data=DATA, headers={"Content-Type": "image/tiff"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == made["href"] == f"{api.url}/uploads/{made['id']}"
    assert (made["complete"], made["size"], made["sha256"]) == (True, len(DATA), SHA)
    assert (made["name"], made["type"]) == ("scene.tif", "image/tiff")
    assert stored(api, made["id"]) == DATA
    assert api.get(made["href"]).json() == made
    assert [one["id"] for one in api.get("/uploads").json()["uploads"]] == [made["id"]]
    assert api.delete(made["href"]).status_code == 204
    valid_problem(api.get(made["href"]), 404)
    assert not list(Path(api.site.settings.files).rglob("content*"))


def test_chunked_and_empty_bodies(lone: Server) -> None:
    pieces = (DATA[i : i + 1000] for i in range(0, len(DATA), 1000))
    assert lone.post("/uploads", data=pieces, headers={"Content-Type": "a/b"}).json()["sha256"] == SHA
    empty = lone.post("/uploads", data=b"", headers={"Content-Type": "a/b"}).json()
    assert (empty["complete"], empty["size"]) == (True, 0)
    empty = lone.post("/uploads", headers={"Upload-Length": "0"}).json()
    assert (empty["complete"], empty["size"]) == (True, 0)


def test_resumable(api: Server) -> None:
    made = api.post("/uploads?name=a.bin", headers={"Upload-Length": str(len(DATA))})
    assert made.status_code == 201
    assert made.headers["upload-offset"] == "0"
    url = made.headers["location"]
    for start, end in ((0, 100_000), (100_000, 100_001), (100_001, len(DATA))):
        head = api.request("HEAD", url)
        assert (head.headers["upload-offset"], head.headers["upload-complete"]) == (str(start), "?0")
        answer = api.request("PATCH", url, data=DATA[start:end], headers={"Upload-Offset": str(start)})
        assert answer.status_code == 200, answer.text
        assert answer.headers["upload-offset"] == str(end)
    assert answer.json()["sha256"] == SHA
    assert stored(api, made.json()["id"]) == DATA
    assert len(list(Path(api.site.settings.files).rglob("content*"))) == 1, "the slices are gone"
    valid_problem(api.request("PATCH", url, data=b"x", headers={"Upload-Offset": str(len(DATA))}), 409)


def test_the_length_may_be_told_by_the_last_slice(lone: Server) -> None:
    url = lone.post("/uploads").headers["location"]
    lone.request("PATCH", url, data=b"abc", headers={"Upload-Offset": "0"})
    done = lone.request("PATCH", url, data=b"def", headers={"Upload-Offset": "3", "Upload-Complete": "?1"})
    assert done.json()["sha256"] == hashlib.sha256(b"abcdef").hexdigest()


def test_a_wrong_offset(lone: Server) -> None:
    url = lone.post("/uploads", headers={"Upload-Length": "10"}).headers["location"]
    problem = valid_problem(lone.request("PATCH", url, data=b"x", headers={"Upload-Offset": "5"}), 409)
    assert "Upload-Offset: 0" in problem["hint"]
    valid_problem(lone.request("PATCH", url, data=b"x"), 400)
    valid_problem(lone.request("PATCH", url, data=b"x", headers={"Upload-Offset": "-1"}), 400)
    valid_problem(lone.request("PATCH", url, data=b"x", headers={"Upload-Offset": "9" * 30}), 400)
    valid_problem(lone.request("PATCH", url, data=b"x" * 11, headers={"Upload-Offset": "0"}), 413)


def test_one_writer_at_a_time(api: Server) -> None:
    url = api.post("/uploads", headers={"Upload-Length": "1000"}).headers["location"]

    def send(byte: bytes) -> int:
        return api.request("PATCH", url, data=byte * 1000, headers={"Upload-Offset": "0"}).status_code

    with ThreadPoolExecutor(6) as pool:
        codes = sorted(pool.map(send, [b"a", b"b", b"c", b"d", b"e", b"f"]))
    assert codes == [200, 409, 409, 409, 409, 409]
    content = stored(api, url.rpartition("/")[2])
    assert content == content[:1] * 1000


def test_a_broken_connection_keeps_what_arrived(lone: Server) -> None:
    url = lone.post("/uploads", headers={"Upload-Length": "1000"}).headers["location"]
    path = url.removeprefix(lone.url)
    with socket.create_connection(("127.0.0.1", int(lone.url.rpartition(":")[2]))) as connection:
        head = f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nUpload-Offset: 0\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 600)
        kept = Path(lone.site.settings.files)
        wait_for(lambda: any(one.is_file() for one in kept.rglob("*")), 10, lambda: "no byte was taken")
    wait_for(
        lambda: lone.request("HEAD", url).headers["upload-offset"] == "600", 10, lambda: "nothing was kept of the slice"
    )

    def rest() -> bool:
        return lone.request("PATCH", url, data=b"y" * 400, headers={"Upload-Offset": "600"}).status_code == 200

    wait_for(rest, 10, lambda: "the upload cannot go on")
    assert stored(lone, url.rpartition("/")[2]) == b"x" * 600 + b"y" * 400


def test_bounds_and_quota(with_settings: MakeServer) -> None:
    server = with_settings(uploads={"max_bytes": 1000, "quota_bytes": 1500, "ttl_hours": 1.0})
    valid_problem(server.post("/uploads", data=b"x" * 1001, headers={"Content-Type": "a/b"}), 413)
    pieces = (b"x" * 100 for _ in range(20))
    valid_problem(server.post("/uploads", data=pieces, headers={"Content-Type": "a/b"}), 413)
    valid_problem(server.post("/uploads", headers={"Upload-Length": "1001"}), 413)
    assert server.get("/uploads").json()["uploads"] == []
    assert server.post("/uploads", data=b"x" * 1000, headers={"Content-Type": "a/b"}).status_code == 201
    valid_problem(server.post("/uploads", data=b"x" * 501, headers={"Content-Type": "a/b"}), 429)
    valid_problem(server.post("/uploads", headers={"Upload-Length": "501"}), 429)
    url = server.post("/uploads").headers["location"]
    valid_problem(server.request("PATCH", url, data=b"x" * 501, headers={"Upload-Offset": "0"}), 413)


@pytest.mark.parametrize("name", ["..", "a\nb", "x" * 300, "dir/"])
def test_names_that_are_none(still: Server, name: str) -> None:
    valid_problem(still.post("/uploads", params={"name": name}, headers={"Upload-Length": "1"}), 400)


def test_an_upload_as_an_input(api: Server) -> None:
    api.ready()
    made = api.post("/uploads?name=s.tif", data=DATA, headers={"Content-Type": "image/tiff"}).json()
    job = api.execute(inputs={"text": "x", "scene": {"href": made["href"], "type": "image/tiff"}})
    row = api.job_row(job)
    assert row.stage[0].url == f"upload:{made['id']}"
    assert row.stage[0].sha256 == SHA
    assert row.job_order["scene"]["location"].endswith("/s.tif")
    begun = api.post("/uploads", headers={"Upload-Length": "5"}).headers["location"]
    body = {"inputs": {"text": "x", "scene": {"href": begun}}}
    problem = valid_problem(api.post("/processes/say/execution", json=body), 400)
    assert "not complete" in problem["detail"]
    body = {"inputs": {"text": "x", "scene": {"href": f"{api.url}/uploads/00000000-0000-0000-0000-000000000000"}}}
    valid_problem(api.post("/processes/say/execution", json=body), 404)
