"""Results in every packaging, and output files with ranges."""

from __future__ import annotations

import base64
import email
import hashlib
import json
from typing import Any

import pytest

from tests.api.schemas import valid_problem, validate
from tests.api.server import Server

FILE = {
    "class": "File",
    "location": "said.txt",
    "basename": "said.txt",
    "size": 3,
    "checksum": "sha1$c22b5f9178342609428d6f51b2c5af4c0bde6a42",
}
PLACES = {"class": "Directory", "location": "places", "basename": "places"}
CONTENT = {
    "said.txt": b"hi\n",
    "places/catalog.json": b'{"type": "Catalog"}',
    "places/ä b/item.json": b"{}",
    "raw.bin": bytes(range(256)) * 4,
}
ALL = {"said": FILE, "number": 4, "places": PLACES}
CWL = "application/vnd.commonwl.output+json"


def finished(api: Server, made: dict[str, Any] | None = None, **body: Any) -> str:
    """A successful job's path."""
    if api.get("/processes/say").status_code == 404:
        api.ready()
    job = api.execute(**body)
    api.succeed(job, ALL if made is None else made, CONTENT)
    return f"/jobs/{job}"


def parts_of(answer: Any) -> dict[str, Any]:
    message = email.message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    payload: Any = message.get_payload()
    return {part["Content-ID"].strip("<>"): part for part in payload}


def test_document(api: Server) -> None:
    job = finished(api, response="document")
    answer = api.get(f"{job}/results")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    validate(document, "results")
    files = f"{api.url}{job}/files"
    assert document == {
        "said": {"href": f"{files}/said.txt", "type": "text/plain", "title": "said.txt"},
        "number": 4,
        "places": {
            "href": f"{files}/places/catalog.json",
            "type": "application/json",
            "rel": "item",
            "title": "places",
        },
    }
    assert api.get(document["places"]["href"]).json() == {"type": "Catalog"}


def test_document_by_value(lone: Server) -> None:
    value = {"transmissionMode": "value"}
    job = finished(
        lone,
        {
            "said": FILE,
            "number": {"class": "File", "location": "raw.bin"},
            "places": {"class": "File", "location": "places/catalog.json"},
        },
        response="document",
        outputs={"said": value, "number": value, "places": value},
    )
    document = lone.get(f"{job}/results").json()
    validate(document, "results")
    assert document == {
        "said": {"value": "hi\n", "mediaType": "text/plain"},
        "number": {
            "value": base64.b64encode(CONTENT["raw.bin"]).decode(),
            "encoding": "base64",
            "mediaType": "application/octet-stream",
        },
        "places": {"value": {"type": "Catalog"}, "mediaType": "application/json"},
    }


VALUES: list[tuple[Any, Any]] = [
    ("text", "text"),
    (True, True),
    (1.5, 1.5),
    ([1, 2], [1, 2]),
    ({"name": "depth"}, {"value": {"name": "depth"}, "mediaType": "application/json"}),
    ({"bbox": [1.0, 2.0, 3.0, 4.0]}, {"bbox": [1.0, 2.0, 3.0, 4.0]}),
    (
        {"type": "Point", "coordinates": [1, 2]},
        {"value": {"type": "Point", "coordinates": [1, 2]}, "mediaType": "application/geo+json"},
    ),
]


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_literals_in_a_document(still_finished: Server, value: Any, shown: Any) -> None:
    document = still_finished.get(f"{finished(still_finished, {'number': value}, response='document')}/results").json()
    validate(document, "results")
    assert document == {"number": shown}


@pytest.fixture(scope="session")
def still_finished(sqlite_migrated: Any, tmp_path_factory: pytest.TempPathFactory, around: Any) -> Any:
    """One API for many finished jobs."""
    state = tmp_path_factory.mktemp("finished")
    file = state / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    with around.server(f"sqlite:///{file}", state) as server:
        server.ready()
        yield server


def test_arrays_and_records_of_files(still_finished: Server) -> None:
    job = finished(still_finished, {"number": [FILE, FILE], "places": {"inner": FILE}}, response="document")
    document = still_finished.get(f"{job}/results").json()
    validate(document, "results")
    href = f"{still_finished.url}{job}/files/said.txt"
    assert [one["href"] for one in document["number"]] == [href, href]
    assert document["places"]["value"]["inner"]["href"] == href


def test_null_outputs_are_left_out(still_finished: Server) -> None:
    job = finished(still_finished, {"said": None, "number": 1}, response="document")
    assert still_finished.get(f"{job}/results").json() == {"number": 1}
    answer = still_finished.get(f"{job}/results/said")
    assert (answer.status_code, answer.content) == (204, b"")


def test_raw_with_one_output_is_that_output(still_finished: Server) -> None:
    job = finished(still_finished, response="raw", outputs={"said": {}})
    answer = still_finished.get(f"{job}/results")
    assert (answer.status_code, answer.text) == (200, "hi\n")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ("text", b"text", "text/plain; charset=utf-8"),
        (4, b"4", "application/json"),
        ({"a": 1}, b'{"a":1}', "application/json"),
        ([1], b"[1]", "application/json"),
    ],
)
def test_raw_literals(still_finished: Server, value: Any, body: bytes, kind: str) -> None:
    job = finished(still_finished, {"number": value}, outputs={"number": {}})
    for path in ("results", "results/number"):
        answer = still_finished.get(f"{job}/{path}")
        assert (answer.content, answer.headers["content-type"]) == (body, kind)


def test_raw_by_reference_is_links_only(still_finished: Server) -> None:
    by = {"transmissionMode": "reference"}
    job = finished(still_finished, response="raw", outputs={"said": by, "places": by, "number": by})
    answer = still_finished.get(f"{job}/results")
    assert (answer.status_code, answer.content) == (204, b"")
    links = answer.headers["link"]
    assert f'<{still_finished.url}{job}/files/said.txt>; rel="item"; type="text/plain"; title="said"' in links
    assert f"<{still_finished.url}{job}/results/number>" in links
    assert len(answer.links) >= 1


def test_raw_with_many_outputs_is_multipart(still_finished: Server) -> None:
    job = finished(still_finished)
    answer = still_finished.get(f"{job}/results")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("multipart/related; boundary=")
    parts = parts_of(answer)
    assert list(parts) == ["said", "number", "places"]
    assert parts["said"].get_payload(decode=True) == b"hi\n"
    assert parts["said"]["Content-Type"] == "text/plain"
    assert parts["number"].get_payload(decode=True) == b"4"
    assert parts["places"]["Content-Location"] == f"{still_finished.url}{job}/files/places/catalog.json"
    assert parts["places"].get_payload(decode=True) == b""


def test_what_the_client_accepts_decides_where_the_request_did_not(still_finished: Server) -> None:
    job = finished(still_finished)
    as_json = still_finished.get(f"{job}/results", headers={"Accept": "application/json"})
    assert set(as_json.json()) == {"said", "number", "places"}
    for path in ("results?f=json", "results?response=document"):
        assert still_finished.get(f"{job}/{path}").json() == as_json.json()


@pytest.mark.parametrize("how", [{"headers": {"Accept": CWL}}, {"params": {"f": "cwl"}}])
def test_the_cwl_output_object(still_finished: Server, how: dict[str, Any]) -> None:
    second = {**FILE, "secondaryFiles": [{"class": "File", "location": "raw.bin", "basename": "raw.bin"}]}
    job = finished(still_finished, {"said": second, "number": None, "places": PLACES})
    answer = still_finished.get(f"{job}/results", **how)
    assert answer.headers["content-type"] == CWL
    outputs = answer.json()
    files = f"{still_finished.url}{job}/files"
    assert outputs["number"] is None
    assert outputs["said"]["location"] == f"{files}/said.txt"
    assert outputs["said"]["checksum"] == FILE["checksum"]
    assert outputs["said"]["secondaryFiles"][0]["location"] == f"{files}/raw.bin"
    assert outputs["said"]["secondaryFiles"][0]["size"] == 1024
    listing = {one["basename"]: one for one in outputs["places"]["listing"]}
    assert listing["catalog.json"]["location"] == f"{files}/places/catalog.json"
    assert listing["ä b"]["class"] == "Directory"
    inner = listing["ä b"]["listing"][0]
    assert still_finished.get(inner["location"]).content == b"{}"


def test_one_output_and_unknown_ones(still_finished: Server) -> None:
    job = finished(still_finished)
    assert still_finished.get(f"{job}/results/said").text == "hi\n"
    places = still_finished.get(f"{job}/results/places").json()
    assert places["href"].endswith("/places/catalog.json")
    problem = valid_problem(still_finished.get(f"{job}/results/nope"), 404)
    assert problem["type"].endswith("/no-such-output")


def test_listing_of_files(api: Server) -> None:
    job = finished(api)
    found = {one["path"]: one for one in api.get(f"{job}/files").json()["files"]}
    assert set(found) == set(CONTENT)
    assert found["said.txt"]["sha256"] == hashlib.sha256(b"hi\n").hexdigest()
    for one in found.values():
        assert api.get(one["href"]).content == CONTENT[one["path"]]
    for path in ("files/places/", "files?prefix=places", "files/places"):
        below = [one["path"] for one in api.get(f"{job}/{path}").json()["files"]]
        assert below == ["places/catalog.json", "places/ä b/item.json"]
    valid_problem(api.get(f"{job}/files/nothing"), 404)
    valid_problem(api.get(f"{job}/files/../../../etc/passwd".replace("..", "%2e%2e")), 404)


@pytest.mark.parametrize(
    ("given", "status", "body", "content_range"),
    [
        ("bytes=0-0", 206, CONTENT["raw.bin"][:1], "bytes 0-0/1024"),
        ("bytes=1000-", 206, CONTENT["raw.bin"][1000:], "bytes 1000-1023/1024"),
        ("bytes=-4", 206, CONTENT["raw.bin"][-4:], "bytes 1020-1023/1024"),
        ("bytes=10-5000", 206, CONTENT["raw.bin"][10:], "bytes 10-1023/1024"),
        ("bytes=-5000", 206, CONTENT["raw.bin"], "bytes 0-1023/1024"),
        ("bytes=5-1", 200, CONTENT["raw.bin"], None),
        ("bytes=0-1,4-5", 200, CONTENT["raw.bin"], None),
        ("lines=1-2", 200, CONTENT["raw.bin"], None),
        ("bytes=1024-", 416, None, "bytes */1024"),
        ("bytes=-0", 416, None, "bytes */1024"),
        ("bytes=99999999999999999-", 416, None, "bytes */1024"),
    ],
)
def test_ranges(
    still_finished: Server, one_job: str, given: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    answer = still_finished.get(f"{one_job}/files/raw.bin", headers={"Range": given})
    assert answer.status_code == status
    assert answer.headers.get("content-range") == content_range
    if body is not None:
        assert answer.content == body
        assert answer.headers["content-length"] == str(len(body))
    else:
        valid_problem(answer, 416)


@pytest.fixture(scope="module")
def one_job(still_finished: Server) -> str:
    return finished(still_finished)


def test_validators_of_a_file(still_finished: Server, one_job: str) -> None:
    path = f"{one_job}/files/raw.bin"
    whole = still_finished.get(path)
    etag = whole.headers["etag"]
    assert etag == f'"{hashlib.sha256(CONTENT["raw.bin"]).hexdigest()}"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert still_finished.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert still_finished.get(path, headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304
    assert still_finished.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    changed = still_finished.get(path, headers={"Range": "bytes=0-1", "If-Range": '"x"'})
    assert changed.status_code == 200
    same = still_finished.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})
    assert same.status_code == 206
    head = still_finished.request("HEAD", path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "1024", b"")


def test_a_link_to_storage_where_it_gives_one(
    still_finished: Server, one_job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def public_link(key: str, seconds: float, filename: str | None = None, media_type: str | None = None) -> str:
        return f"https://store.example/{key}?name={filename}"

    monkeypatch.setattr(still_finished.site.broker.storage, "public_link", public_link)
    answer = still_finished.get(f"{one_job}/files/raw.bin", allow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("https://store.example/local/")


def test_results_are_json_serialisable_whatever_cwl_gives(still_finished: Server) -> None:
    odd = {"number": {"nested": [None, {"class": "Directory", "listing": [FILE]}]}}
    job = finished(still_finished, odd, response="document")
    assert json.dumps(still_finished.get(f"{job}/results").json())
    assert still_finished.get(f"{job}/results?f=cwl").status_code == 200
