"""Slices of an upload: one storage object for each PATCH (`<key>.<offset>`), joined when the last one has come.

A lost connection or a killed server costs at most the slice under way.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

from broker.errors import UploadConflict
from broker.storage import Kept, Progress, Storage
from broker.store import uploads
from broker.store.uploads import Upload


def _key(upload: Upload, offset: int) -> str:
    return f"{uploads.key(upload)}.{offset}"


def keep(storage: Storage, upload: Upload, stream: BinaryIO) -> int:
    """Store the slice that follows what has been received; its size in bytes (0: nothing came, nothing is stored)."""
    first = stream.read(1)
    if not first:
        return 0
    return storage.keep(_key(upload, upload.received), _Chain(iter([first]), stream).buffered()).size


def of(storage: Storage, upload: Upload) -> list[str]:
    """The keys of the slices, in order. Raises UploadConflict when one is missing."""
    found = []
    offset = 0
    while offset < upload.received:
        where = _key(upload, offset)
        length = storage.size(where)
        if not length:
            raise UploadConflict("A part of the upload is gone.", hint="Make a new one with POST /uploads.")
        found.append(where)
        offset += length
    return found


def joined(storage: Storage, upload: Upload, keys: Sequence[str], progress: Progress) -> Kept:
    """Stream the slices into the upload's own object."""
    chunks = (chunk for where in keys for chunk in storage.open(where))
    source = _Chain(chunks).buffered()
    return storage.keep(uploads.key(upload), source, media_type=upload.media_type, progress=progress)


class _Chain(io.RawIOBase):
    """Chunks, then a stream, as one file to read."""

    def __init__(self, chunks: Iterator[bytes], stream: BinaryIO | None = None) -> None:
        self._chunks = chunks
        self._stream = stream
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = next(self._chunks, b"")
        if not self._left and self._stream is not None:
            self._left = cast(io.BufferedReader, self._stream).read1(len(buffer))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def buffered(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(self, 256 * 1024))
