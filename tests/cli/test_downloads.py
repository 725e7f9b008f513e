"""Downloads are resumed and verified, and stay inside the directory that was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.client import Client
from broker.cli.downloads import Downloader
from broker.errors import StorageError
from tests.peers.web import WebPeer

JOB = "j-1"
BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as web:
        yield web


def keep(web: WebPeer, files: dict[str, bytes], *, wrong: bool = False, ranges: bool = True) -> None:
    """Serve these as the files of the job."""
    listed = []
    for path, body in files.items():
        web.serve(f"/jobs/{JOB}/files/{path}", body, ranges=ranges)
        digest = hashlib.sha256(b"other" if wrong else body).hexdigest()
        listed.append({"path": path, "size": len(body), "sha256": digest})
    web.serve(f"/jobs/{JOB}/files", {"files": listed})


_clients: list[Client] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().session.close()


def downloader(web: WebPeer, directory: Path, **more: Any) -> Downloader:
    _clients.append(Client(web.url("")))
    found = Downloader(_clients[-1], JOB, directory, pause=0.0, **more)
    found.learn()
    return found


def ranges(web: WebPeer) -> list[str | None]:
    return [request.headers.get("range") for request in web.requests if "/files/" in request.path]


def test_a_broken_download_goes_on_where_it_was(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"out/a b.bin": BODY})
    web.cut(f"/jobs/{JOB}/files/out/a b.bin", after=300_000, times=2)
    told: list[int] = []
    found = downloader(web, tmp_path, progress=lambda path, done, total: told.append(done)).file("out/a b.bin")
    assert found == tmp_path / "out" / "a b.bin"
    assert found.read_bytes() == BODY
    first, second, third = ranges(web)
    assert first is None
    assert second is not None
    assert third is not None
    assert int(third[6:-1]) > int(second[6:-1]) > 0
    assert told == sorted(told)
    assert list(tmp_path.rglob(".*")) == []


def test_an_unfinished_file_of_an_earlier_call_is_taken_up(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY})
    (tmp_path / ".a.bin.part").write_bytes(BODY[:1000])
    assert downloader(web, tmp_path).file("a.bin").read_bytes() == BODY
    assert ranges(web) == ["bytes=1000-"]


def test_a_whole_unfinished_file_is_not_brought_again(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY})
    (tmp_path / ".a.bin.part").write_bytes(BODY)
    assert downloader(web, tmp_path).file("a.bin").read_bytes() == BODY
    assert ranges(web) == []


def test_a_server_without_ranges_sends_all_again(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY}, ranges=False)
    (tmp_path / ".a.bin.part").write_bytes(b"rubbish")
    assert downloader(web, tmp_path).file("a.bin").read_bytes() == BODY


def test_rubbish_before_the_rest_is_found_out(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY})
    (tmp_path / ".a.bin.part").write_bytes(b"rubbish")
    with pytest.raises(StorageError, match="sha256"):
        downloader(web, tmp_path).file("a.bin")
    assert downloader(web, tmp_path).file("a.bin").read_bytes() == BODY


def test_bytes_that_differ_are_never_left_as_the_file(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY}, wrong=True)
    with pytest.raises(StorageError, match="sha256"):
        downloader(web, tmp_path).file("a.bin")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_here_already_is_not_brought_again(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"a.bin": BODY, "empty": b""})
    for _ in range(2):
        one = downloader(web, tmp_path)
        assert one.file("a.bin").read_bytes() == BODY
        assert one.file("empty").read_bytes() == b""
    assert len(ranges(web)) == 2


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "", "a\0b", "a\\b", ".."])
def test_a_server_cannot_write_elsewhere(web: WebPeer, tmp_path: Path, path: str) -> None:
    keep(web, {})
    with pytest.raises(StorageError, match="outside"):
        downloader(web, tmp_path / "d").file(path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_lies_in_the_way_is_not_followed(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"out/a": b"new", "b": b"new"})
    (tmp_path / "d").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "d" / "out").symlink_to(tmp_path / "away")
    (tmp_path / "precious").write_text("old")
    (tmp_path / "d" / "b").symlink_to(tmp_path / "precious")
    one = downloader(web, tmp_path / "d")
    with pytest.raises(StorageError, match="outside"):
        one.file("out/a")
    assert one.file("b").read_text() == "new"
    assert (tmp_path / "precious").read_text() == "old"


def test_an_output_object_gets_local_paths(web: WebPeer, tmp_path: Path) -> None:
    keep(web, {"out/a.txt": b"a", "out/a.txt.idx": b"i", "d/e/f.txt": b"f"})
    at = f"https://another.name.example/broker/jobs/{JOB}/files"
    value = {
        "file": {
            "class": "File",
            "location": f"{at}/out/a.txt",
            "secondaryFiles": [{"class": "File", "location": f"{at}/out/a.txt.idx"}],
        },
        "folder": {
            "class": "Directory",
            "location": f"{at}/d/",
            "listing": [{"class": "File", "location": f"{at}/d/e/f.txt"}],
        },
        "empty": [{"class": "Directory", "location": f"{at}/none/", "listing": []}],
        "elsewhere": {"class": "File", "location": "s3://bucket/key"},
        "literal": {"class": "File", "basename": "x", "contents": "hi"},
        "record": {"n": 1.5, "text": None},
    }
    found = downloader(web, tmp_path).localize(value)
    assert found["file"]["path"] == str(tmp_path / "out" / "a.txt")
    assert found["file"]["location"] == (tmp_path / "out" / "a.txt").as_uri()
    assert Path(found["file"]["secondaryFiles"][0]["path"]).read_text() == "i"
    assert Path(found["folder"]["path"], "e", "f.txt").read_text() == "f"
    assert Path(found["empty"][0]["path"]).is_dir()
    assert found["elsewhere"] == value["elsewhere"]
    assert found["literal"] == value["literal"]
    assert found["record"] == value["record"]
