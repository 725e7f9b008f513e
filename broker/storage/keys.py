"""Keys of objects: checked relative paths, and their spelling where a store cannot hold them as they are."""

from __future__ import annotations

import hashlib
import os

from broker.errors import StorageError

_LONGEST_NAME = 255  # bytes of one file name, on every file system in use
_LONGEST_S3_KEY = 1024
_LONGEST_S3_PART = 240  # MinIO and others keep each part as a file name, with a suffix of their own


def parts(key: str) -> list[str]:
    """The parts of a key. Raises StorageError where it is not a relative path in normal form."""
    found = key.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in found):
        raise StorageError(f"{key!r} is not a usable key for storage.")
    return found


def file_names(key: str) -> list[str]:
    """The key as names of directories and a file; a name that is too long is replaced by its digest."""
    names = []
    for part in parts(key):
        raw = _bytes(part)
        # A part that looks like a replaced name is replaced too, so that no two keys share a file.
        plain = len(raw) <= _LONGEST_NAME and not part.startswith("!long-")
        names.append(part if plain else f"!long-{hashlib.sha256(raw).hexdigest()}")
    return names


def object_name(key: str) -> str:
    """The key as an S3 object name: `!XX` for bytes that S3 servers and URLs disagree about (`%`, control
    characters, what is not UTF-8), and a digest for a part that is too long."""
    names = [_escaped(part) for part in parts(key)]
    name = "/".join(
        text if len(text.encode()) <= _LONGEST_S3_PART else f"!long-{hashlib.sha256(text.encode()).hexdigest()}"
        for text in names
    )
    if len(name.encode()) > _LONGEST_S3_KEY:
        raise StorageError(f"The key {key[:80]!r}… is too long for storage.")
    return name


def _escaped(part: str) -> str:
    text = []
    for char in part:
        if char in "!%\\" or not char.isprintable():
            text.append("".join(f"!{byte:02X}" for byte in _bytes(char)))
        else:
            text.append(char)
    return "".join(text)


def _bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as problem:
        raise StorageError(f"{text!r} is not a usable key for storage.") from problem
