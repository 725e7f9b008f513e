"""References of container images: their grammar, their one full spelling, and the registries that may be used.

Grammar: github.com/distribution/reference (`reference.go`, `normalize.go`), which the OCI distribution specification
takes names from. A short name is one of docker.io, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.errors import PackageError

DOCKER = "docker.io"
HOSTS_OF_DOCKER = frozenset({DOCKER, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?\Z")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z|sha512:[0-9a-f]{128}\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")  # of an image on some machine, which is the name of none
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """`host/path:tag@digest`; `host` is docker.io for a short name, `tag` latest where there is neither."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None
    short: bool = False

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises PackageError for what is no reference."""
        name, at, digest = text.partition("@")
        if at and not _DIGEST.match(digest):
            raise _wrong(text, "what follows @ is not a digest such as sha256:<64 hexadecimal digits>")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:  # the colon of a port
            head, tag = name, ""
        elif not _TAG.match(tag):
            raise _wrong(text, "its tag has characters that no tag has")
        host, path, short = _split(head)
        if not cls.is_host(host) or not _PATH.match(path) or len(f"{host}/{path}") > LONGEST_NAME or _ID.match(head):
            raise _wrong(text, "write it as registry/path:tag, the path in lower case")
        return cls(host, path, tag or (None if digest else "latest"), digest or None, short)

    @staticmethod
    def is_host(text: str) -> bool:
        return bool(_HOST.match(text)) and int(text.rpartition(":")[2] if _port(text) else 0) < 65536

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def local(self) -> bool:
        """Made on the machine itself: no registry is called localhost, without a port."""
        return self.host == "localhost"

    def pinned(self, digest: str | None) -> Reference:
        """The same repository by digest; itself where there is none."""
        return self if digest is None else replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        """The full spelling, which every container engine understands in the same way."""
        by = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.repository}{by}"


def allowed(image: Reference, registries: Iterable[str]) -> bool:
    """Whether a registry is on the list: `*`, a host, or `host/path` for all at or below it."""
    return any(
        one == "*" or image.host == one or f"{image.repository}/".startswith(one.rstrip("/") + "/")
        for one in registries
    )


def _split(name: str) -> tuple[str, str, bool]:
    """(host, path, whether the host was left out)."""
    first, slash, rest = name.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first != first.lower()):
        return DOCKER, name if slash else f"library/{name}", True
    if first in HOSTS_OF_DOCKER:
        return DOCKER, rest if "/" in rest else f"library/{rest}", False
    return first, rest, False


def _port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _wrong(text: str, why: str) -> PackageError:
    return PackageError(
        f"{text[:200]!r} is not the name of an image: {why}.", hint="For example: docker.io/library/debian:12"
    )
