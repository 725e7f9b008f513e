"""What is released of credentials to one attempt of a job: for staging and image pulls, and never to its package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Released:
    """`s3`: bucket -> fields of `broker.storage.signing.S3Account`; `http`: origin -> the Authorization header for
    it; `registries`: host -> {username, password}. No secret is in its `repr`."""

    s3: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    http: Mapping[str, str] = field(default_factory=dict, repr=False)
    registries: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.s3 or self.http or self.registries)


def origin(url: str) -> str | None:
    """`https://host:port` of an http(s) URL, in one spelling (lower case, without the default port); None for others.

    Whoever may see a credential is decided by comparing this, so what could be read in two ways is nobody's.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not host or "@" in parts.netloc or "\\" in url or not url.isprintable():
        return None
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port in (None, {"http": 80, "https": 443}[scheme]) else f"{scheme}://{shown}:{port}"


def scrubbed(text: str, secret: Iterable[str]) -> str:
    """A text that somebody else wrote, without the secrets that it may repeat."""
    for value in sorted(secret, key=len, reverse=True):
        if value:
            text = text.replace(value, "…")
    return text
