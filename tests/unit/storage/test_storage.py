"""One suite over every storage: a local directory, moto and nanio."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from broker.errors import NoSuchFile, StorageError
from broker.storage import Storage, s3
from broker.storage.local import LocalStorage
from broker.storage.s3 import PART, S3Storage
from broker.storage.signing import S3Account
from tests.peers.s3 import S3Peer, moto_peer, nanio_peer

KEYS = [
    "owner/job/1/result.tif",
    "owner/job/1/sub dir/scene #1 100%.tif",
    "owner/job/1/100%25.tif",
    "owner/job/1/Übersicht/日本.json",
    "owner/job/1/a+b&c=d?e;f'(g)[h]{i}!j.txt",
    "owner/job/1/line\nbreak",
    "owner/job/1/not-utf8-\udcff",
    "owner/job/1/" + "long" * 75,
    "auth0|12 3/job/1/x",
]


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Peer]:
    with moto_peer() as peer:
        yield peer


@pytest.fixture(scope="module")
def nanio() -> Iterator[S3Peer]:
    with nanio_peer() as peer:
        yield peer


@pytest.fixture(params=["local", "moto", "nanio"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "storage")
    peer: S3Peer = request.getfixturevalue(request.param)
    return S3Storage(peer.account, peer.bucket, f"tests/{tmp_path.name}")


def content(storage: Storage, key: str) -> bytes:
    return b"".join(storage.open(key))


class TestEvery:
    def test_is_a_storage(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)

    @pytest.mark.parametrize("key", KEYS)
    def test_keeps_any_path(self, storage: Storage, key: str) -> None:
        kept = storage.keep(key, io.BytesIO(b"some bytes"), media_type="image/tiff")
        assert (kept.key, kept.size, kept.media_type) == (key, 10, "image/tiff")
        assert kept.sha256 == hashlib.sha256(b"some bytes").hexdigest()
        assert content(storage, key) == b"some bytes"
        assert storage.size(key) == 10

    def test_keys_that_look_alike_stay_apart(self, storage: Storage) -> None:
        names = ["%", "%25", "!25", "!2125", "a b", "a+b", "a%20b", "x" * 300, "x" * 301]
        for name in names:
            storage.keep(f"o/j/1/{name}", io.BytesIO(name.encode()))
        assert [content(storage, f"o/j/1/{name}") for name in names] == [name.encode() for name in names]

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\0b", "\ud800"])
    def test_refuses_keys_that_are_no_paths(self, storage: Storage, key: str) -> None:
        with pytest.raises(StorageError):
            storage.keep(key, io.BytesIO(b"x"))
        with pytest.raises(StorageError):
            storage.open(key)
        with pytest.raises(StorageError):
            storage.size(key)

    def test_empty_prefix_deletes_nothing(self, storage: Storage) -> None:
        storage.keep("o/j/1/x", io.BytesIO(b"x"))
        for prefix in ("", "/", "..", "o/.."):
            with pytest.raises(StorageError):
                storage.delete_prefix(prefix)
        assert storage.size("o/j/1/x") == 1

    def test_ranges(self, storage: Storage) -> None:
        storage.keep("o/j/1/x", io.BytesIO(b"0123456789"))
        assert b"".join(storage.open("o/j/1/x", 4)) == b"456789"
        assert b"".join(storage.open("o/j/1/x", 4, 3)) == b"456"
        assert b"".join(storage.open("o/j/1/x", 8, 100)) == b"89"
        assert b"".join(storage.open("o/j/1/x", 10)) == b""
        assert b"".join(storage.open("o/j/1/x", 3, 0)) == b""

    def test_empty_object(self, storage: Storage) -> None:
        assert storage.keep("o/j/1/empty", io.BytesIO(b"")).size == 0
        assert content(storage, "o/j/1/empty") == b""
        assert storage.size("o/j/1/empty") == 0

    def test_what_is_missing(self, storage: Storage) -> None:
        assert storage.size("o/j/1/no") is None
        storage.keep("o/j/2/x", io.BytesIO(b"x"))
        for key in ("o/j/1/no", "o/j/2"):
            with pytest.raises(NoSuchFile):
                storage.open(key)
            assert storage.size(key) is None
        storage.delete("o/j/1/no")
        storage.delete_prefix("o/j/none")

    def test_replaces(self, storage: Storage) -> None:
        storage.keep("o/j/1/x", io.BytesIO(b"old and long"))
        storage.keep("o/j/1/x", io.BytesIO(b"new"))
        assert content(storage, "o/j/1/x") == b"new"

    def test_delete_prefix_takes_whole_parts(self, storage: Storage) -> None:
        for key in ("o/j/1/a", "o/j/1/b/c", "o/j/10/a", "o/j2/1/a"):
            storage.keep(key, io.BytesIO(b"x"))
        storage.delete_prefix("o/j/1/")
        assert [storage.size(key) for key in ("o/j/1/a", "o/j/1/b/c", "o/j/10/a", "o/j2/1/a")] == [None, None, 1, 1]
        storage.delete_prefix("o/j")
        assert [storage.size(key) for key in ("o/j/10/a", "o/j2/1/a")] == [None, 1]

    def test_large_object_in_parts(self, storage: Storage) -> None:
        body = os.urandom(1024) * ((2 * PART + PART // 2) // 1024)
        seen: list[int] = []
        kept = storage.keep("o/j/1/large", io.BytesIO(body), progress=seen.append)
        assert kept.sha256 == hashlib.sha256(body).hexdigest()
        assert seen[-1] == len(body)
        assert len(seen) > 10
        assert seen == sorted(seen)
        assert b"".join(storage.open("o/j/1/large", PART - 10, 20)) == body[PART - 10 : PART + 10]
        assert hashlib.sha256(content(storage, "o/j/1/large")).hexdigest() == kept.sha256

    @pytest.mark.parametrize("size", [10, PART + 10])
    @pytest.mark.parametrize("error", [KeyError("broken"), ValueError("broken"), FileNotFoundError("broken")])
    def test_a_broken_source_leaves_the_old_object(self, storage: Storage, size: int, error: Exception) -> None:
        storage.keep("o/j/1/x", io.BytesIO(b"old"))
        with pytest.raises(type(error), match="broken"):
            storage.keep("o/j/1/x", Broken(size, error))
        assert content(storage, "o/j/1/x") == b"old"

    def test_adopts_a_file(self, storage: Storage, tmp_path: Path) -> None:
        file = tmp_path / "result.tif"
        file.write_bytes(b"adopted")
        digest = hashlib.sha256(b"adopted").hexdigest()
        kept = storage.adopt("o/j/1/r.tif", file, sha256=digest, size=7, media_type="image/tiff")
        assert (kept.size, kept.sha256) == (7, digest)
        assert content(storage, "o/j/1/r.tif") == b"adopted"
        assert storage.adopt("o/j/1/s.tif", file).sha256 == digest

    @pytest.mark.parametrize("key", KEYS[1:5])
    def test_a_copy_does_without_its_source(self, storage: Storage, key: str) -> None:
        storage.keep("o/1/a", io.BytesIO(b"before"))
        storage.keep(key, io.BytesIO(b"hello"))
        storage.copy(key, "o/1/a")
        storage.copy(key, f"{key}.again")
        storage.delete(key)
        storage.keep("o/1/a", io.BytesIO(b"changed"))
        assert content(storage, f"{key}.again") == b"hello"

    def test_copies_nothing_that_is_not_there(self, storage: Storage) -> None:
        storage.keep("o/1/a/b", io.BytesIO(b"x"))
        for missing in ("o/1/a", "o/1/none", "o/1/a/b/c"):
            with pytest.raises(NoSuchFile):
                storage.copy(missing, "o/1/copy")
        assert storage.size("o/1/copy") is None

    def test_adopts_no_link_and_no_pipe(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/etc/passwd")
        os.mkfifo(tmp_path / "pipe")
        for name in ("link", "pipe", "missing", "."):
            with pytest.raises(StorageError):
                storage.adopt("o/j/1/x", tmp_path / name)
        assert storage.size("o/j/1/x") is None

    def test_adopt_checks_the_size(self, storage: Storage, tmp_path: Path) -> None:
        file = tmp_path / "short"
        file.write_bytes(b"half")
        with pytest.raises(StorageError):
            storage.adopt("o/j/1/x", file, sha256="0" * 64, size=8)
        assert storage.size("o/j/1/x") is None


class Broken(io.BytesIO):
    """A source that ends with an error after `size` bytes."""

    def __init__(self, size: int, error: Exception) -> None:
        super().__init__()
        self._left = size
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        if self._left <= 0:
            raise self._error
        given = min(self._left, size or 0)
        self._left -= given
        return b"x" * given


@pytest.mark.parametrize("name", ["moto", "nanio"])
class TestLinks:
    @pytest.mark.parametrize("key", KEYS)
    def test_signed_links(self, name: str, key: str, request: pytest.FixtureRequest) -> None:
        peer: S3Peer = request.getfixturevalue(name)
        storage = S3Storage(peer.account, peer.bucket, "links", public=peer.account)
        storage.keep(key, io.BytesIO(b"linked"))
        with urllib.request.urlopen(storage.link(key, 60), timeout=10) as answer:
            assert answer.read() == b"linked"
        url = storage.public_link(key, 60, "Übersicht 1.tif", "image/tiff")
        assert url is not None
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == b"linked"

    def test_no_public_address(self, name: str, request: pytest.FixtureRequest) -> None:
        peer: S3Peer = request.getfixturevalue(name)
        assert S3Storage(peer.account, peer.bucket).public_link("a/b", 60) is None


def test_what_s3_copies_in_no_one_request_is_streamed(moto: S3Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_LARGEST_COPY", 10)
    storage = S3Storage(moto.account, moto.bucket, "large")
    storage.keep("o/1/a", io.BytesIO(b"0123456789x" * (PART // 10)))
    storage.copy("o/1/a", "o/1/b")
    assert hashlib.sha256(content(storage, "o/1/b")).digest() == hashlib.sha256(b"0123456789x" * (PART // 10)).digest()


def test_public_link_is_an_attachment(moto: S3Peer) -> None:
    storage = S3Storage(moto.account, moto.bucket, public=moto.account)
    storage.keep("o/j/1/page.html", io.BytesIO(b"<script>"), media_type="text/html")
    with urllib.request.urlopen(str(storage.public_link("o/j/1/page.html", 60)), timeout=10) as answer:
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
        assert answer.headers["Content-Type"].startswith("text/html")


def test_links_are_for_one_object(nanio: S3Peer) -> None:
    storage = S3Storage(nanio.account, nanio.bucket, public=nanio.account)
    for key in ("o/j/1/mine", "o/j/1/other"):
        storage.keep(key, io.BytesIO(b"x"))
    for url in (storage.link("o/j/1/mine", 60), storage.public_link("o/j/1/mine", 60)):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(str(url).replace("mine", "other"), timeout=10)


def test_wrong_key_is_refused(nanio: S3Peer) -> None:
    wrong = S3Account(nanio.endpoint, "us-east-1", nanio.account.access_key, "another-secret")
    storage = S3Storage(wrong, nanio.bucket)
    with pytest.raises(StorageError, match="Check the keys") as caught:
        storage.keep("o/j/1/x", io.BytesIO(b"x"))
    assert "another-secret" not in f"{caught.value}{caught.value.__cause__}{storage!r}{wrong!r}"
    with pytest.raises(StorageError):
        storage.size("o/j/1/x")


def test_unreachable_and_missing_bucket(moto: S3Peer) -> None:
    with pytest.raises(StorageError, match="bucket"):
        S3Storage(moto.account, "no-such-bucket").keep("o/x", io.BytesIO(b"x"))


def test_use_after_a_fork_is_an_error(moto: S3Peer) -> None:
    """obstore would wait for ever there."""
    storage = S3Storage(moto.account, moto.bucket)
    storage.size("o/x")
    child = os.fork()
    if child == 0:
        try:
            storage.size("o/x")
        except StorageError as problem:
            os._exit(7 if "forked" in str(problem) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_local_link_is_a_file_url(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "sto rage")
    storage.keep("o/j/1/a #%.txt", io.BytesIO(b"there"))
    link = urlsplit(storage.link("o/j/1/a #%.txt", 60))
    assert link.scheme == "file"
    assert Path(unquote(link.path)).read_bytes() == b"there"
    assert storage.public_link("o/j/1/a #%.txt", 60) is None
