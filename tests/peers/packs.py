"""Packs as a git server sends them, made by hand: also those that no git server would send."""

from __future__ import annotations

import hashlib
import zlib

COMMIT, TREE, BLOB, DELTA = 1, 2, 3, 7


def number(value: int) -> bytes:
    """Seven bits a byte, lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def entry(kind: int, content: bytes, *, size: int | None = None, base: bytes = b"") -> bytes:
    length = len(content) if size is None else size
    first = kind << 4 | length & 15
    rest = number(length >> 4) if length >> 4 else b""
    return bytes([first | (0x80 if rest else 0)]) + rest + base + zlib.compress(content)


def packed(*entries: bytes, count: int | None = None) -> bytes:
    whole = b"PACK" + (2).to_bytes(4) + (len(entries) if count is None else count).to_bytes(4) + b"".join(entries)
    return whole + hashlib.sha1(whole).digest()


def name(kind: str, content: bytes) -> bytes:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).digest()


def line(payload: bytes) -> bytes:
    return b"%04x%s" % (len(payload) + 4, payload)


def answer(data: bytes) -> bytes:
    bands = [line(b"\x01" + data[at : at + 60_000]) for at in range(0, len(data), 60_000)]
    return line(b"packfile\n") + line(b"\x02counting") + b"".join(bands) + b"0000"
