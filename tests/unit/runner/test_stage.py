"""Staging from real servers: broken connections, S3, links, values, and the program's own face."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.egress import Egress, EgressPolicy, FetchError
from broker.errors import BrokerError, EgressRefused, StagingError
from broker.jobs.model import StageItem
from broker.runner.fetch import Rules
from broker.runner.stage import stage, write_spec
from broker.storage.local import LocalStorage
from broker.storage.s3 import S3Storage
from broker.storage.signing import S3Account
from tests.peers.s3 import S3Peer, moto_peer, nanio_peer
from tests.peers.web import WebPeer

POLICY = EgressPolicy(schemes=frozenset({"http", "https"}), allow_networks=("127.0.0.0/8",))
BODY = os.urandom(3_000_000)


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


@pytest.fixture(scope="module")
def nanio() -> Iterator[S3Peer]:
    with nanio_peer("inputs") as peer:
        yield peer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "inputs"


def run(root: Path, *items: StageItem, rules: Rules | None = None, policy: EgressPolicy = POLICY) -> list[str]:
    """Stage without pauses; gives the reported lines."""
    lines: list[str] = []
    with Egress(policy) as egress:
        stage(items, root, egress, lines.append, rules or Rules(pause=0))
    return lines


class TestWeb:
    def test_files_land_at_their_path_read_only(self, web: WebPeer, root: Path) -> None:
        url = web.serve("/x", BODY, headers={"Content-Disposition": 'attachment; filename="../../evil"'})
        lines = run(root, StageItem("scene/a b #%.tif", url, size=len(BODY)), StageItem("two/x", web.serve("/y", b"2")))
        assert (root / "scene/a b #%.tif").read_bytes() == BODY
        assert (root / "scene/a b #%.tif").stat().st_mode & 0o777 == 0o444
        assert sorted(path.name for path in root.rglob("*")) == ["a b #%.tif", "scene", "two", "x"]
        assert lines[-1].startswith(f"staged 2 inputs: {len(BODY) + 1} bytes")

    def test_goes_on_where_the_connection_broke(self, web: WebPeer, root: Path) -> None:
        url = web.serve("/x", BODY)
        web.cut("/x", after=1_000_000)
        web.cut("/x", after=500_000)
        lines = run(root, StageItem("x", url, sha256=hashlib.sha256(BODY).hexdigest()))
        assert (root / "x").read_bytes() == BODY
        ranges = [request.headers.get("range") for request in web.requests]
        assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
        assert web.requests[1].headers["if-range"].startswith('"')
        assert sum("broke off" in line for line in lines) == 2

    def test_starts_anew_where_ranges_are_ignored(self, web: WebPeer, root: Path) -> None:
        url = web.serve("/x", BODY, ranges=False)
        web.cut("/x", after=1_000_000)
        run(root, StageItem("x", url, sha256=hashlib.sha256(BODY).hexdigest()))
        assert (root / "x").read_bytes() == BODY

    @pytest.mark.parametrize("status", [412, 416])
    def test_starts_anew_where_the_range_is_refused(self, web: WebPeer, root: Path, status: int) -> None:
        url = web.serve("/x", BODY)
        web.cut("/x", after=1_000_000)
        web.fail("/x", status=status)
        if status == 416:
            run(root, StageItem("x", url))
            assert (root / "x").read_bytes() == BODY
            assert "range" not in web.requests[2].headers
        else:
            with pytest.raises(StagingError, match="412"):
                run(root, StageItem("x", url))

    def test_starts_anew_where_the_file_changed(self, web: WebPeer, root: Path) -> None:
        """The second half must not come from another version of the file."""
        url = web.serve("/x", BODY)
        web.cut("/x", after=1_000_000)
        changed = os.urandom(len(BODY))

        def swap(line: str) -> None:
            if "broke off" in line:
                web.serve("/x", changed)

        with Egress(POLICY) as egress:
            stage([StageItem("x", url)], root, egress, swap, Rules(pause=0))
        assert (root / "x").read_bytes() == changed

    def test_retries_are_bounded(self, web: WebPeer, root: Path) -> None:
        url = web.serve("/x", BODY)
        web.fail("/x", times=3)
        run(root, StageItem("x", url))
        assert len(web.requests) == 4
        web.fail("/x", times=10)
        with pytest.raises(StagingError, match="answered 503"):
            run(root, StageItem("x", url))
        assert len(web.requests) == 8

    def test_progress_does_not_count_as_failure(self, web: WebPeer, root: Path) -> None:
        body = os.urandom(8 * 2**20)
        url = web.serve("/x", body)
        web.cut("/x", after=2**20 + 100, times=7)
        run(root, StageItem("x", url))
        assert (root / "x").read_bytes() == body

    def test_errors_name_the_url_and_what_to_do(self, web: WebPeer, root: Path) -> None:
        with pytest.raises(StagingError, match=r"/no\?… answered 404.*check the link"):
            run(root, StageItem("x", web.url("/no") + "?token=secret"))
        assert len(web.requests) == 1
        assert not (root / "x").exists() or (root / "x").stat().st_size == 0

    def test_refused_addresses(self, web: WebPeer, root: Path) -> None:
        with pytest.raises(EgressRefused):
            run(root, StageItem("x", web.serve("/x", b"x")), policy=EgressPolicy(frozenset({"http"})))

    def test_size_and_digest_are_checked(self, web: WebPeer, root: Path) -> None:
        url = web.serve("/x", b"12345")
        with pytest.raises(StagingError, match="5 bytes where 6"):
            run(root, StageItem("x", url, size=6))
        with pytest.raises(StagingError, match="sha256"):
            run(root, StageItem("x", url, sha256="0" * 64))

    def test_all_files_together_are_bounded(self, web: WebPeer, root: Path) -> None:
        items = [StageItem(f"x{n}", web.serve(f"/x{n}", b"x" * 1000)) for n in range(5)]
        with pytest.raises(StagingError, match="larger than 3500 bytes together"):
            run(root, *items, rules=Rules(total_bytes=3500))
        with pytest.raises(FetchError, match="larger than the 999"):
            run(root, items[0], policy=EgressPolicy(POLICY.schemes, (), POLICY.allow_networks, max_bytes=999))

    def test_compressed_transfer_of_a_binary_file(self, web: WebPeer, root: Path) -> None:
        packed = gzip.compress(BODY)
        encoded = {"Content-Encoding": "gzip"}
        plain = StageItem("x.tif", web.serve("/x.tif", packed, headers=encoded, ranges=False))
        archive = StageItem("x.tar.gz", web.serve("/x.tar.gz", packed, headers=encoded))
        web.cut("/x.tif", after=1_000_000)
        run(root, plain, archive)
        assert (root / "x.tif").read_bytes() == BODY
        assert (root / "x.tar.gz").read_bytes() == packed

    def test_one_failure_ends_the_others(self, web: WebPeer, root: Path) -> None:
        web.serve("/x", BODY)
        items = [StageItem("no", web.url("/no")), *(StageItem(f"x{n}", web.url("/x")) for n in range(50))]
        with pytest.raises(StagingError, match="404"):
            run(root, *items, rules=Rules(parallel=2))
        assert len(web.requests) < 50


class TestPaths:
    @pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".", "a//b", "a/", "a\0b", "\ud800"])
    def test_stay_below_the_root(self, root: Path, path: str) -> None:
        with pytest.raises(StagingError, match="usable path"):
            run(root, StageItem(path, text="x"))

    @pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")])
    def test_do_not_overlap(self, root: Path, paths: tuple[str, str]) -> None:
        with pytest.raises(StagingError, match="would be written"):
            run(root, *(StageItem(path, text="x") for path in paths))

    def test_a_second_run_replaces(self, root: Path) -> None:
        run(root, StageItem("a/x", text="1"), StageItem("d", directory=True))
        (root / "d" / "left").write_text("over")
        run(root, StageItem("a/x", text="2"), StageItem("d", directory=True))
        assert (root / "a/x").read_text() == "2"
        assert list((root / "d").iterdir()) == []

    def test_a_directory_that_has_changed_is_refused(self, web: WebPeer, root: Path) -> None:
        item: dict[str, object] = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "a",
            "geometry": None,
            "properties": {},
            "links": [],
        }
        item["assets"] = {"x": {"href": web.serve("/x.tif", b"tiff"), "type": "image/tiff"}}
        url = web.serve("/a.json", json.dumps(item).encode(), headers={"Content-Type": "application/geo+json"})
        with Egress(POLICY) as egress:
            came = stage([StageItem("item", url, stac=True)], root, egress, lambda _: None, Rules(pause=0))
        known = {one["path"].removeprefix("item/"): one["sha256"] for one in came}
        assert list(known.values()) == [hashlib.sha256(b"tiff").hexdigest()]
        run(root, StageItem("item", url, stac=True, files=known))
        (name,) = known
        for path, why in ((name, "is not the expected file"), ("gone.tif", "is not there any more")):
            with pytest.raises(StagingError, match=f"item/{path} {why}"):
                run(root, StageItem("item", f"{url}?signature=secret", stac=True, files={path: "0" * 64}))
        item["assets"]["x"]["file:checksum"] = "1220" + "1" * 64  # type: ignore[index]
        web.serve("/a.json", json.dumps(item).encode(), headers={"Content-Type": "application/geo+json"})
        before = len(web.requests)
        with pytest.raises(StagingError, match=f"item/{name} is not the expected file: its sha256 is 1111"):
            run(root, StageItem("item", url, stac=True, files=known))
        assert [one.path for one in web.requests[before:]] == ["/a.json"], "nothing large was moved for that"

    def test_files_of_the_brokers_own_storage_are_looked_at_too(self, root: Path, tmp_path: Path) -> None:
        item: dict[str, object] = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "a",
            "geometry": None,
            "properties": {},
            "links": [],
            "assets": {"x": {"href": "./x.tif", "type": "image/tiff"}},
        }
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "x.tif").write_bytes(b"tiff")
        (tmp_path / "kept" / "a.json").write_text(json.dumps(item))
        url = (tmp_path / "kept" / "a.json").as_uri()
        with pytest.raises(StagingError, match=r"a/x\.tif is not the expected file"):
            run(root, StageItem("item", url, trusted=True, stac=True, files={"a/x.tif": "0" * 64}))

    def test_a_planted_link_is_not_written_through(self, root: Path, tmp_path: Path, web: WebPeer) -> None:
        root.mkdir()
        (tmp_path / "victim").write_text("safe")
        (root / "x").symlink_to(tmp_path / "victim")
        run(root, StageItem("x", web.serve("/x", b"new")))
        assert (tmp_path / "victim").read_text() == "safe"
        assert (root / "x").read_text() == "new"


class TestValues:
    def test_text_and_base64(self, root: Path) -> None:
        run(root, StageItem("t.txt", text="Grüße\n"), StageItem("b.bin", data=base64.b64encode(b"\0\1").decode()))
        assert (root / "t.txt").read_text() == "Grüße\n"
        assert (root / "b.bin").read_bytes() == b"\0\1"

    def test_empty_values(self, root: Path) -> None:
        run(root, StageItem("t.txt", text=""), StageItem("b.bin", data=""))
        assert (root / "t.txt").stat().st_size == (root / "b.bin").stat().st_size == 0

    @pytest.mark.parametrize("item", [StageItem("x", data="no base64!"), StageItem("x"), StageItem("x", "u:", "t")])
    def test_unusable(self, root: Path, item: StageItem) -> None:
        with pytest.raises(StagingError):
            run(root, item)


class TestOwnStorage:
    @pytest.mark.parametrize("name", ["a #1%20.tif", "ünï?.tif", "latin1-\udcfc.tif", "long" * 100])
    def test_copies(self, root: Path, tmp_path: Path, name: str) -> None:
        storage = LocalStorage(tmp_path / "storage")
        storage.keep(f"o/uploads/{name}", io.BytesIO(BODY))
        link = storage.link(f"o/uploads/{name}", 60)
        run(root, StageItem("x", link, trusted=True, size=len(BODY)))
        assert (root / "x").read_bytes() == BODY
        assert (root / "x").stat().st_nlink == 1

    def test_hard_links_on_request(self, root: Path, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path / "storage")
        storage.keep("o/u/a", io.BytesIO(BODY))
        run(root, StageItem("x", storage.link("o/u/a", 60), trusted=True), rules=Rules(hard_links=True))
        assert (root / "x").stat().st_nlink == 2
        assert (root / "x").stat().st_mode & 0o777 == 0o444

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "file:/etc/passwd", "FILE:///etc/passwd", "file://h/etc/x"])
    def test_files_of_the_server_are_refused(self, root: Path, url: str) -> None:
        for stac in (False, True):
            with pytest.raises(BrokerError) as caught:
                run(root, StageItem("x", url, stac=stac))
            assert caught.value.fault == "staging"

    def test_a_link_that_is_gone(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(StagingError, match="no longer in the broker's storage") as caught:
            run(root, StageItem("x", (tmp_path / "gone").as_uri(), trusted=True))
        assert str(tmp_path) not in str(caught.value)


class TestS3:
    def test_signed_links_of_our_own_storage(self, nanio: S3Peer, root: Path) -> None:
        storage = S3Storage(nanio.account, nanio.bucket)
        storage.keep("o/u/ä #1.tif", io.BytesIO(BODY))
        run(root, StageItem("x", storage.link("o/u/ä #1.tif", 60), trusted=True), policy=EgressPolicy())
        assert (root / "x").read_bytes() == BODY

    def test_a_signed_link_can_be_looked_at(self, nanio: S3Peer) -> None:
        storage = S3Storage(nanio.account, nanio.bucket)
        storage.keep("o/u/looked.tif", io.BytesIO(b"12345"))
        with Egress(POLICY) as egress:
            assert egress.head(storage.link("o/u/looked.tif", 60)).size == 5

    @pytest.mark.parametrize("bucket", ["inputs", "*"])
    def test_configured_buckets(self, nanio: S3Peer, root: Path, bucket: str) -> None:
        S3Storage(nanio.account, nanio.bucket).keep("data/ü #1?.tif", io.BytesIO(b"from s3"))
        item = StageItem("x", "s3://inputs/data/ü #1?.tif")
        run(root, item, rules=Rules(s3={bucket: nanio.account}), policy=EgressPolicy())
        assert (root / "x").read_bytes() == b"from s3"

    def test_other_buckets_are_not(self, nanio: S3Peer, root: Path) -> None:
        for rules in (Rules(), Rules(s3={"another": nanio.account})):
            with pytest.raises(StagingError, match=r"not set up for.*ask the operator"):
                run(root, StageItem("x", "s3://inputs/data/x.tif"), rules=rules)

    def test_wrong_keys(self, nanio: S3Peer, root: Path) -> None:
        wrong = S3Account(nanio.endpoint, "us-east-1", "test-access-key", "wrong-secret")
        with pytest.raises(StagingError, match=r"^s3://inputs/data/x answered 403"):
            run(root, StageItem("x", "s3://inputs/data/x"), rules=Rules(s3={"*": wrong}))
        with pytest.raises(StagingError, match=r"^scene.tif answered 403"):
            url = wrong.signed("inputs", "data/x", 60)
            run(root, StageItem("scene.tif", url, trusted=True))

    def test_public_buckets_need_no_keys(self, root: Path) -> None:
        with moto_peer("public") as moto:
            S3Storage(moto.account, "public").keep("a/b.tif", io.BytesIO(b"public"))
            url = moto.account.signed("public", "a/b.tif", 60, method="PUT", query={"acl": ""})
            access = urllib.request.Request(url, method="PUT", headers={"x-amz-acl": "public-read"})
            urllib.request.urlopen(access, timeout=10).close()
            run(root, StageItem("x", "s3://public/a/b.tif"), rules=Rules(s3={"public": S3Account(moto.endpoint)}))
        assert (root / "x").read_bytes() == b"public"

    @pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://evil.com:80@x/y", "s3://a/../b"])
    def test_unusable_addresses(self, root: Path, url: str) -> None:
        with pytest.raises(StagingError):
            run(root, StageItem("x", url), rules=Rules(s3={"*": S3Account("https://127.0.0.1:1")}))


class TestProgram:
    def program(self, spec: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "broker.runner.stage", str(spec)],
            capture_output=True,
            text=True,
            check=False,
            env={},
        )

    def test_success(self, nanio: S3Peer, web: WebPeer, root: Path, tmp_path: Path) -> None:
        S3Storage(nanio.account, nanio.bucket).keep("a.tif", io.BytesIO(b"from s3"))
        items = [StageItem("w", web.serve("/w", b"from web")), StageItem("s", "s3://inputs/a.tif")]
        spec = tmp_path / "spec.json"
        write_spec(spec, items, root, POLICY, s3={"inputs": nanio.account}, hard_links=True)
        assert spec.stat().st_mode & 0o777 == 0o600
        result = self.program(spec)
        assert (result.returncode, result.stderr) == (0, "")
        assert "staged 2 inputs" in result.stdout
        assert [(root / name).read_text() for name in "ws"] == ["from web", "from s3"]

    def test_failure(self, web: WebPeer, root: Path, tmp_path: Path) -> None:
        write_spec(tmp_path / "spec.json", [StageItem("w", web.url("/no"))], root, POLICY)
        result = self.program(tmp_path / "spec.json")
        assert result.returncode == 1
        told = json.loads(result.stderr.splitlines()[-1])
        assert (told["fault"], told["reason"]) == ("staging", "staging-failed")
        assert "answered 404" in told["detail"]

    def test_usage(self) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "broker.runner.stage"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 2
        assert "usage" in result.stderr
