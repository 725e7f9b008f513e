"""What is released of credentials to one attempt of a job: for staging and image pulls, and never to its package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_URL = re.compile(r"""\b(?:https?|s3|ftp)://[^\s"'<>\\]+""", re.IGNORECASE)
# names of query members that sign a link or are a secret: of S3, Google, Azure (sig, sp …), CloudFront, and plain ones
_SIGNING = (
    r"(?:x-(?:amz|goog|oss|obs)-.*|awsaccesskeyid|googleaccessid|signature|sig|s[vrtpeks]|ske|skoid|sktid|skt|sks|skv|spr"
    r"|sip|srt|key-pair-id|policy|expires|.*(?:token|secret|passw|api-?_?key|credential|auth|session).*)"
)
_SIGNS = re.compile(_SIGNING, re.IGNORECASE)
_SIGNED = re.compile(r"([?&#;])(" + _SIGNING.replace(".*", r"[\w.-]{0,40}") + r")=[^&\s\"'<>]*", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)


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


def unsigned(text: str) -> str:
    """A text without what signs or opens the links in it: passwords, signed query members, bearers."""
    if "://" in text:
        text = _URL.sub(lambda found: _bare(found[0]), text)
    if "=" in text:  # of a link that is written in two, or has a space in it
        text = _SIGNED.sub(r"\1\2=…", text)
    return _BEARER.sub(r"\1 …", text) if " " in text else text


def unsigned_link(url: str) -> str:
    """A text that is a link, and nothing else, in the same way."""
    return _bare(url) if "://" in url else unsigned(url)


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    query = "&".join(one for one in parts.query.split("&") if not _SIGNS.fullmatch(one.partition("=")[0]))
    fragment = "" if _SIGNS.match(parts.fragment.partition("=")[0]) else parts.fragment
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, fragment))
