"""Where bytes live: the Storage protocol. Keys are `owner/job/attempt/path`; the committed row decides what exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

Progress = Callable[[int], None]
"""Told the number of bytes kept so far, after each chunk. What it raises ends the transfer: nothing is kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One object: its key, size in bytes, sha256 in hex, and media type where it was given."""

    key: str
    size: int
    sha256: str
    media_type: str | None = None


@runtime_checkable
class Storage(Protocol):
    """Objects by key. All methods raise StorageError where the store does not work, StorageFull where it is full,
    and StorageError for a key that is no relative path (empty parts, `.`, `..`, NUL)."""

    def keep(
        self, key: str, source: BinaryIO, *, media_type: str | None = None, progress: Progress | None = None
    ) -> Kept:
        """Stream `source` into the object; it appears whole or not at all, in place of an older one.
        What `source` and `progress` raise comes through unchanged."""
        ...

    def adopt(
        self,
        key: str,
        path: Path,
        *,
        sha256: str | None = None,
        size: int | None = None,
        media_type: str | None = None,
    ) -> Kept:
        """The same from a local regular file (never through a symbolic link), without copying where possible: nobody
        may write to the file any more. `sha256` is believed; a `size` that is not the file's is a StorageError."""
        ...

    def copy(self, source: str, key: str) -> None:
        """A second object with the bytes of `source`, which may go without it. Raises NoSuchFile."""
        ...

    def open(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes from `start`, `length` of them (None: to the end). Raises NoSuchFile at once."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes, or None where there is no such object."""
        ...

    def sweep(self, older_than: float = 24 * 3600.0) -> int:
        """Remove what killed processes left half written (seconds without a write); how many files."""
        ...

    def delete(self, key: str) -> None:
        """Idempotent."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects below `prefix`, a whole number of key parts (`owner/job` leaves `owner/job2` alone)."""
        ...

    def free(self) -> int | None:
        """Bytes that may still be kept; None where unknown."""
        ...

    def link(self, key: str, seconds: float) -> str:
        """Where a platform's staging reads the object, for so long: a signed URL, or `file:///…`."""
        ...

    def public_link(
        self, key: str, seconds: float, filename: str | None = None, media_type: str | None = None
    ) -> str | None:
        """A signed URL for a user's download, as an attachment; None: serve it through the API."""
        ...
