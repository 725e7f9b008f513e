"""What a place to publish to has to do: say what is missing, plan, and go on by steps that can each be repeated.

A plan and a receipt are plain JSON. The plan is made once and never changes:

    {"target": kind, "collection": id, "items": [{"item": STAC item, "files": {href: File}}]}

`files` are the bytes that go with an item, by the (relative) href of its assets; what has no file lies elsewhere.
The receipt is what has been done: {"state", "items": {id: {"state", ...}}}, states in the order of `STATES`. It is kept
after each step; a step that was made and whose receipt was lost is found again by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

Json = dict[str, Any]
STATES = ("planned", "staging", "staged", "registered", "verified")
MULTIHASH = "1220"  # of a sha256: its code and length, then the digest, all in hex


@dataclass(frozen=True, slots=True)
class Finding:
    """What is missing or doubtful before anything is sent. `field`: the member of the request, or a file's path;
    `allowed`: what it may be; `grants`: who gives it, where it is not the one who asks."""

    level: str  # "error": nothing is sent; "warning": a person decides
    field: str
    message: str
    allowed: tuple[str, ...] = ()
    grants: str | None = None

    def to_json(self) -> Json:
        full = {"level": self.level, "field": self.field, "message": self.message}
        return full | ({"allowed": list(self.allowed)} if self.allowed else {}) | _given("grants", self.grants)


@dataclass(frozen=True, slots=True)
class File:
    """Bytes to publish. `path`: among the job's outputs; `source`: what `Files.open` takes; size in bytes and sha256
    in hex, both None for a directory, which is published as a zip of `members` (their paths count from it)."""

    path: str
    source: str
    size: int | None
    sha256: str | None
    media_type: str | None = None
    members: tuple[File, ...] = ()

    @property
    def checksum(self) -> str | None:
        return MULTIHASH + self.sha256 if self.sha256 else None

    def at(self, path: str) -> File:
        return replace(self, path=path)

    def to_json(self) -> Json:
        full: Json = {"path": self.path, "source": self.source, "size": self.size, "sha256": self.sha256}
        members = [member.to_json() for member in self.members]
        return full | _given("mediaType", self.media_type) | ({"members": members} if members else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        members = tuple(cls.from_json(member) for member in value.get("members") or ())
        return cls(value["path"], value["source"], value["size"], value["sha256"], value.get("mediaType"), members)


class Files(Protocol):
    """The bytes of a plan's files."""

    def open(self, source: str) -> Iterator[bytes]:
        """In chunks of a few MiB at most. Raises StorageError, NoSuchFile."""

    def progress(self, count: int) -> None:
        """Told the bytes that were read of one file so far, after each chunk. What it raises ends the step."""


class Target(Protocol):
    """Where items are published. All methods raise TargetUnavailable (try later) and TargetRefused (never like this).

    No method waits or tries again: that is the business of who calls `step` until the state is `verified`.
    """

    kind: str

    def check(self) -> list[Finding]:
        """What is missing on the target's side; changes nothing there."""

    def plan(self, items: list[Json]) -> Json:
        """The plan for planned items ({"item", "files"})."""

    def step(self, plan: Mapping[str, Any], receipt: Mapping[str, Any] | None, files: Files) -> Json:
        """Do one thing (one file sent, one item registered, one asset looked at), and the new receipt."""


def done(receipt: Mapping[str, Any] | None) -> bool:
    """Nothing is left to do."""
    return receipt is not None and receipt.get("state") == "verified"


def _given(name: str, value: Any) -> Json:
    return {} if value is None else {name: value}
