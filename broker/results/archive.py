"""A directory as a zip, made while it is read: members as they are, the same directory always the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from broker.results.target import File, Files

_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP64 = 2**30  # bytes of a member from which its sizes are written with 64 bits


class Bytes(io.RawIOBase):
    """Chunks as a file that is read from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def opened(file: File, files: Files) -> Iterator[bytes]:
    """The bytes that are published for a file: its own, or the zip of its members."""
    return packed(file.members, files) if file.members else files.open(file.source)


def packed(members: tuple[File, ...], files: Files) -> Iterator[bytes]:
    """The zip, without compression (Zarr's chunks are compressed already), in the order of paths."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(members, key=lambda one: one.path):
            info = zipfile.ZipInfo(member.path, _EPOCH)
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=(member.size or 0) >= _ZIP64) as entry:
                for chunk in files.open(member.source):
                    entry.write(chunk)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What was written and not yet taken away; it cannot go back, which zipfile sees."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def taken(self) -> bytes:
        out, self._held = bytes(self._held), bytearray()
        return out
