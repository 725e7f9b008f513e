"""Objects as plain files below one directory: whole or not there, durable, never outside."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from broker.errors import NoSuchFile, StorageError, StorageFull
from broker.storage import Kept, Progress, keys

CHUNK = 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalStorage:
    """Storage below `root` (absolute; made when missing). Objects are read-only files in `root/objects`.

    `reserve`: bytes to leave free on the file system, since the database often lives there too.
    """

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        self.root = root.absolute()
        self._reserve = reserve
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        with _storage_errors("The storage directory"):
            self._objects.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(exist_ok=True)

    def keep(
        self, key: str, source: BinaryIO, *, media_type: str | None = None, progress: Progress | None = None
    ) -> Kept:
        """See `Storage.keep`."""
        target = self._path(key)
        digest, size = hashlib.sha256(), 0
        with self._arriving() as (temporary, fd):
            while chunk := source.read(CHUNK):
                with _storage_errors(key):
                    self._check_room(len(chunk))
                    _write(fd, chunk)
                digest.update(chunk)
                size += len(chunk)
                if progress is not None:
                    progress(size)
            with _storage_errors(key):
                os.fchmod(fd, 0o444)
                os.fsync(fd)
                self._publish(temporary, target)
        return Kept(key, size, digest.hexdigest(), media_type)

    def adopt(
        self,
        key: str,
        path: Path,
        *,
        sha256: str | None = None,
        size: int | None = None,
        media_type: str | None = None,
    ) -> Kept:
        """See `Storage.adopt`: a hard link where the file system allows one, else a copy."""
        target = self._path(key)
        with _storage_errors(key), open_regular(path) as source:
            status = os.fstat(source.fileno())
            if size is not None and status.st_size != size:
                raise StorageError(f"{key} has {status.st_size} bytes where {size} were announced.")
            temporary = self._incoming / uuid4().hex
            # A file with other names could still be changed through them: that one is copied.
            if status.st_nlink != 1 or not link_open(source.fileno(), temporary):
                kept = self.keep(key, source, media_type=media_type)
                if sha256 is not None and kept.sha256 != sha256:
                    self.delete(key)
                    raise StorageError(f"{key} changed while it was kept: its sha256 is not the announced one.")
                return kept
            try:
                os.fchmod(source.fileno(), 0o444)
                os.fsync(source.fileno())
                checksum = sha256 or hashlib.file_digest(source, "sha256").hexdigest()
                self._publish(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
        return Kept(key, status.st_size, checksum, media_type)

    def copy(self, source: str, key: str) -> None:
        """See `Storage.copy`: a second name for the file, which nobody writes to."""
        target, temporary = self._path(key), self._incoming / uuid4().hex
        with _storage_errors(key):
            try:
                file = open_regular(self._path(source))
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NoSuchFile(f"There is no stored file {source}.") from None
            with file:
                if not link_open(file.fileno(), temporary):
                    self.keep(key, file)
                    return
            try:
                self._publish(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

    def open(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Storage.open`."""
        path = self._path(key)
        with _storage_errors(key):
            try:
                file = open_regular(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise NoSuchFile(f"There is no stored file {key}.") from None
        return _chunks(key, file, start, length)

    def size(self, key: str) -> int | None:
        """See `Storage.size`."""
        with _storage_errors(key):
            try:
                status = self._path(key).lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def delete(self, key: str) -> None:
        """See `Storage.delete`."""
        with _storage_errors(key), contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._path(key).unlink()

    def delete_prefix(self, prefix: str) -> None:
        """See `Storage.delete_prefix`."""
        path = self._path(prefix.rstrip("/"))
        with _storage_errors(prefix), contextlib.suppress(NotADirectoryError):
            while path.exists():
                with contextlib.suppress(FileNotFoundError):  # somebody else deletes it too: whatever is left goes
                    shutil.rmtree(path)

    def free(self) -> int:
        """See `Storage.free`; `reserve` is taken off."""
        with _storage_errors("The storage directory"):
            return max(0, shutil.disk_usage(self.root).free - self._reserve)

    def link(self, key: str, seconds: float) -> str:
        """`file:///…`, good for staging on this machine for as long as the object is there."""
        return self._path(key).as_uri()

    def public_link(
        self, key: str, seconds: float, filename: str | None = None, media_type: str | None = None
    ) -> str | None:
        """None: a directory has no address of its own."""
        return None

    def sweep(self, older_than: float = 24 * 3600.0) -> int:
        """Remove what a killed process left half written (seconds without a write); gives how many files."""
        count, limit = 0, time.time() - older_than
        with _storage_errors("The storage directory"):
            for path in self._incoming.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < limit:
                        path.unlink()
                        count += 1
        return count

    def _path(self, key: str) -> Path:
        return self._objects.joinpath(*keys.file_names(key))

    def _check_room(self, wanted: int) -> None:
        if self._reserve and self.free() < wanted:
            raise StorageFull(_FULL_TEXT, hint=_FULL_HINT)

    @contextmanager
    def _arriving(self) -> Iterator[tuple[Path, int]]:
        """A new temporary file, open for writing; removed if it is still there at the end."""
        path = self._incoming / uuid4().hex
        with _storage_errors("The storage directory"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield path, fd
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)

    def _publish(self, temporary: Path, target: Path) -> None:
        """Give the finished file its name, so that a power cut leaves the old object or the new one."""
        for _ in range(3):
            self._make_directories(target.parent)
            try:
                temporary.rename(target)
            except FileNotFoundError:
                continue  # `delete_prefix` took the directory away in between
            _sync(target.parent)
            return
        raise StorageError(f"{target.parent} is being deleted.")

    def _make_directories(self, directory: Path) -> None:
        if directory.is_dir():
            return
        self._make_directories(directory.parent)
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            _sync(directory.parent)


_FULL_TEXT = "The storage has no space left."
_FULL_HINT = "Delete results that are no longer needed, or ask the operator for more space."


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """OSError as StorageError, or as StorageFull where the disk or a quota is full."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise StorageFull(_FULL_TEXT, hint=_FULL_HINT) from problem
        raise StorageError(f"{what} cannot be stored or read: {problem.strerror or problem}.") from problem


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, never through a symbolic link, never waiting on a pipe. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"{path.name} is not a regular file")
    return os.fdopen(fd, "rb")


def link_open(fd: int, target: Path) -> bool:
    """Give the open file a second name; False where the file system or the kernel does not."""
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Through the descriptor, not the path: what was checked is what is linked.
        os.link(f"/proc/self/fd/{fd}", target.name, dst_dir_fd=directory, follow_symlinks=True)
    except OSError as problem:
        if problem.errno in _FULL:
            raise
        return False
    finally:
        os.close(directory)
    return True


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _chunks(key: str, file: BinaryIO, start: int, length: int | None) -> Iterator[bytes]:
    with file, _storage_errors(key):
        file.seek(start)
        left = length
        while left is None or left > 0:
            chunk = file.read(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
