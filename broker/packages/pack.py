"""Reads what a git server sends for one commit: pkt-lines around a pack, within limits, in memory only.

Formats: gitprotocol-v2(5) and gitformat-pack(5) of git. Deltas come against objects of the same pack (neither
`thin-pack` nor `ofs-delta` is asked for). Every object's name is computed from its bytes, so that a commit's tree is
what the commit says whatever the server sends.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import NoReturn

from broker.errors import LimitError, PackageError

MAX_ANSWER = 32 * 2**20  # bytes that a git server may send
MAX_OBJECTS = 100_000
MAX_INFLATED = 128 * 2**20  # bytes of all objects together
MAX_OBJECT = 32 * 2**20
_SMALLER = "Put the package into a repository of its own."
_PIECE = 16 * 1024
_KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_REF_DELTA = 7

Objects = dict[bytes, tuple[bytes, bytes]]
"""Name (20 bytes) -> kind (commit, tree, blob, tag) and content."""


def received(answer: bytes) -> Objects:
    """The objects in a server's answer to `fetch`. Raises PackageError, LimitError."""
    return unpacked(b"".join(_pack_of(answer)))


def _pack_of(answer: bytes) -> Iterator[bytes]:
    """The pieces of the pack: what the first side band carries in the section `packfile`."""
    section, inside = b"", False
    for line in _lines(answer):
        if line is None:
            inside = False
        elif not inside:
            section, inside = line.rstrip(b"\n"), True
            if section.startswith(b"ERR "):
                _refused(section[4:])
        elif section == b"packfile":
            if line[:1] == b"\x03":
                _refused(line[1:])
            if line[:1] == b"\x01":
                yield line[1:]


def _refused(words: bytes) -> NoReturn:
    text = " ".join(words.decode("utf-8", "replace").split())[:200]
    if "not our ref" in text:
        raise PackageError("The repository has no such commit.", hint="Push it first; a commit has 40 hex digits.")
    raise PackageError(f"The git server refuses: {text}")


def _lines(answer: bytes) -> Iterator[bytes | None]:
    """The payloads of pkt-lines; None for a flush or a delimiter."""
    at = 0
    while at < len(answer):
        head = answer[at : at + 4]
        try:
            length = int(head, 16)
        except ValueError:
            raise PackageError("The git server's answer is not in git's protocol.") from None
        if length in (0, 1, 2):
            yield None
            at += 4
            continue
        if length < 4 or at + length > len(answer):
            raise PackageError("The git server's answer breaks off.")
        yield answer[at + 4 : at + length]
        at += length


def unpacked(pack: bytes) -> Objects:
    """All objects of a pack. Raises PackageError, LimitError."""
    if len(pack) < 32 or pack[:4] != b"PACK" or int.from_bytes(pack[4:8]) != 2:
        raise PackageError("The git server sent no pack.")
    if hashlib.sha1(pack[:-20], usedforsecurity=False).digest() != pack[-20:]:
        raise PackageError("The git server's pack is damaged.")
    count = int.from_bytes(pack[8:12])
    if count > MAX_OBJECTS:
        raise LimitError(f"The commit has more than {MAX_OBJECTS} files.", hint=_SMALLER)
    return _Unpacking(pack, count).objects


class _Unpacking:
    """One pass over a pack; deltas wait for the object that they change."""

    def __init__(self, pack: bytes, count: int) -> None:
        self.pack = memoryview(pack)[:-20]
        self.at = 12
        self.room = MAX_INFLATED
        self.objects: Objects = {}
        self.waiting: dict[bytes, list[bytes]] = {}
        for _ in range(count):
            self.entry()
        if self.waiting or self.at != len(self.pack):
            raise PackageError("The git server's pack is not complete.")

    def entry(self) -> None:
        kind, size = self.head()
        if kind == _REF_DELTA:
            base = bytes(self.pack[self.at : self.at + 20])
            self.at += 20
            self.change(base, self.inflated(size))
        elif kind in _KINDS:
            self.keep(_KINDS[kind], self.inflated(size))
        else:
            raise PackageError("The git server's pack has an object of an unknown kind.")

    def byte(self) -> int:
        if self.at >= len(self.pack):
            raise PackageError("The git server's pack breaks off.")
        self.at += 1
        return self.pack[self.at - 1]

    def head(self) -> tuple[int, int]:
        """Kind and inflated size of the next object."""
        byte = self.byte()
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80 and shift < 64:
            byte = self.byte()
            size |= (byte & 0x7F) << shift
            shift += 7
        return kind, size

    def spend(self, size: int) -> None:
        self.room -= size
        if size > MAX_OBJECT or self.room < 0:
            raise LimitError(
                f"The commit has more than {MAX_INFLATED // 2**20} MiB of files, or one of {MAX_OBJECT // 2**20} MiB.",
                hint=_SMALLER,
            )

    def inflated(self, size: int) -> bytes:
        self.spend(size)
        stream, found = zlib.decompressobj(), bytearray()
        try:
            while not stream.eof:
                piece = self.pack[self.at : self.at + _PIECE]
                if not piece:
                    raise PackageError("The git server's pack breaks off.")
                # one byte more than announced shows what lies about its size, and no bomb goes off
                found += stream.decompress(piece, size + 1 - len(found))
                self.at += len(piece) - len(stream.unused_data) - len(stream.unconsumed_tail)
                if len(found) > size:
                    break
        except zlib.error:
            found.clear()
        if len(found) != size or not stream.eof:
            raise PackageError("The git server's pack is damaged.")
        return bytes(found)

    def keep(self, kind: bytes, content: bytes) -> None:
        """Take an object in, and those that are changes of it."""
        ready = [(kind, content)]
        while ready:
            kind, content = ready.pop()
            name = hashlib.sha1(b"%s %d\0%s" % (kind, len(content), content), usedforsecurity=False).digest()
            if name in self.objects:
                continue
            self.objects[name] = kind, content
            for delta in self.waiting.pop(name, ()):
                ready.append((kind, self.changed(content, delta)))

    def change(self, base: bytes, delta: bytes) -> None:
        if base in self.objects:
            kind, content = self.objects[base]
            self.keep(kind, self.changed(content, delta))
        else:
            self.waiting.setdefault(base, []).append(delta)

    def changed(self, base: bytes, delta: bytes) -> bytes:
        try:
            return self.applied(base, delta)
        except IndexError:
            raise PackageError("The git server's pack is damaged.") from None

    def applied(self, base: bytes, delta: bytes) -> bytes:
        """The object that a delta makes of its base: parts copied from there, and new bytes."""
        base_size, at = _number(delta, 0)
        size, at = _number(delta, at)
        self.spend(size)
        found = bytearray()
        while at < len(delta) and len(found) <= size:
            order = delta[at]
            at += 1
            if order & 0x80:
                offset = length = 0
                for bit in range(4):
                    if order & (1 << bit):
                        offset |= delta[at] << (8 * bit)
                        at += 1
                for bit in range(3):
                    if order & (0x10 << bit):
                        length |= delta[at] << (8 * bit)
                        at += 1
                length = length or 0x10000
                if length > size:
                    raise IndexError
                found += base[offset : offset + length]
            else:
                if order == 0:
                    raise IndexError
                found += delta[at : at + order]
                at += order
        if len(found) != size or base_size != len(base):
            raise IndexError
        return bytes(found)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise IndexError
