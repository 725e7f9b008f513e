"""What only a directory can show: hard links, modes, a full disk, leftovers."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from broker.errors import StorageError, StorageFull
from broker.storage.local import LocalStorage

IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "storage")


def test_adopts_by_hard_link(storage: LocalStorage, tmp_path: Path) -> None:
    file = tmp_path / "out.tif"
    file.write_bytes(b"x" * 100)
    storage.adopt("o/j/1/out.tif", file, sha256="f" * 64)
    kept = storage.root / "objects/o/j/1/out.tif"
    assert kept.stat().st_ino == file.stat().st_ino
    assert kept.stat().st_mode & 0o777 == 0o444


def test_copies_a_file_with_other_names(storage: LocalStorage, tmp_path: Path) -> None:
    file = tmp_path / "out.tif"
    file.write_bytes(b"before")
    os.link(file, tmp_path / "another-name")
    storage.adopt("o/j/1/out.tif", file)
    (tmp_path / "another-name").write_bytes(b"after!")
    assert b"".join(storage.open("o/j/1/out.tif")) == b"before"
    with pytest.raises(StorageError, match="sha256"):
        storage.adopt("o/j/1/out.tif", file, sha256="0" * 64)


def test_nothing_is_left_behind(storage: LocalStorage, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(count: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        storage.keep("o/j/1/x", io.BytesIO(b"x"), progress=stop)
    (tmp_path / "f").write_bytes(b"x")
    storage.adopt("o/j/1/y", tmp_path / "f")
    assert list((storage.root / "incoming").iterdir()) == []
    assert storage.size("o/j/1/x") is None


def test_sweep_takes_only_old_leftovers(storage: LocalStorage) -> None:
    for name, age in (("old", 1000.0), ("new", 0.0)):
        path = storage.root / "incoming" / name
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert storage.sweep(500) == 1
    assert [path.name for path in (storage.root / "incoming").iterdir()] == ["new"]


def test_reads_through_no_link(storage: LocalStorage) -> None:
    storage.keep("o/j/1/x", io.BytesIO(b"x"))
    (storage.root / "objects/o/j/1/leak").symlink_to("/etc/passwd")
    with pytest.raises(StorageError):
        storage.open("o/j/1/leak")
    assert storage.size("o/j/1/leak") is None


def test_reserve_counts_as_full(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "storage", reserve=2**60)
    assert storage.free() == 0
    with pytest.raises(StorageFull):
        storage.keep("o/j/1/x", io.BytesIO(b"x"))


def test_a_key_below_a_file(storage: LocalStorage) -> None:
    storage.keep("o/j/1/x", io.BytesIO(b"x"))
    with pytest.raises(StorageError):
        storage.keep("o/j/1/x/y", io.BytesIO(b"x"))
    assert storage.size("o/j/1/x/y") is None


@pytest.mark.skipif(
    subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs user namespaces, to mount a small file system",
)
def test_a_full_disk(tmp_path: Path) -> None:
    """On a real file system of 1 MiB: StorageFull, nothing half kept, and room again after a delete."""
    program = dedent("""
        import io, pathlib, sys
        from broker.errors import StorageFull
        from broker.storage.local import LocalStorage
        storage = LocalStorage(pathlib.Path(sys.argv[1]))
        storage.keep("o/j/1/first", io.BytesIO(b"x" * 600_000))
        large = pathlib.Path("/dev/shm") / f"earthcode-{sys.argv[1].replace('/', '-')}"
        large.write_bytes(b"y" * 900_000)
        try:
            for attempt in (
                lambda: storage.keep("o/j/1/second", io.BytesIO(b"x" * 600_000)),
                lambda: storage.adopt("o/j/1/second", large, sha256="0" * 64),
            ):
                try:
                    attempt()
                except StorageFull as full:
                    print("full:", full)
        finally:
            large.unlink()
        assert storage.size("o/j/1/second") is None
        storage.delete_prefix("o/j")
        storage.keep("o/j/2/second", io.BytesIO(b"x" * 600_000))
        print("done")
    """)
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    result = subprocess.run(
        [*IN_NAMESPACE, "sh", "-c", mount, "sh", str(tmp_path), sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.count("full:") == 2, result.stdout + result.stderr
    assert result.stdout.endswith("done\n"), result.stdout + result.stderr
