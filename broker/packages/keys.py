"""The keys of a package's documents and files: paths below its root, and URLs."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from broker.errors import PackageError

REMOTE = "_remote"  # directory that stands for other hosts when a bundle is unpacked


def is_url(reference: str) -> bool:
    return reference.startswith(("http://", "https://"))


def check_key(key: Any) -> None:
    """Refuse a key that could leave the directory where a bundle is unpacked. Raises PackageError."""
    refused = PackageError(f"{str(key)[:200]!r} is not a path that a package may hold.")
    if not isinstance(key, str) or not key or len(key) > 1000 or any(ord(char) < 32 or char == "\\" for char in key):
        raise refused
    path = key
    if is_url(key):
        try:
            parts = urlsplit(key)
            if not parts.hostname or "@" in parts.netloc:
                raise refused
        except ValueError:
            raise refused from None
        return
    if path.startswith("/") or path.split("/", 1)[0] == REMOTE:
        raise refused
    if any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in path.split("/")):
        raise refused


def unpacked(key: str) -> str:
    """The path, relative to the directory of an unpacked bundle, of a key: URLs lie below `_remote`."""
    if not is_url(key):
        return key
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    last = urlsplit(key).path.rstrip("/").rpartition("/")[2]
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in last)[-100:].lstrip(".")
    return f"{REMOTE}/{name}/{safe or 'document'}"


def named(url: str) -> str:
    """The name below its root that a document at `url` gets."""
    name = unquote(urlsplit(urldefrag(url)[0]).path.rpartition("/")[2])
    safe = "".join(char if char.isalnum() or char in "._- " else "_" for char in name).strip(". ")
    return safe or "package.cwl"
