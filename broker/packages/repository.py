"""A commit of a git repository as the root of a package: where it is, and its files by path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from broker.errors import LimitError, PackageError
from broker.packages.pack import Objects

COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_LISTED = 2000  # files below a default Directory
MAX_BLOB = 4 * 2**20  # a larger file is not asked for where the server can leave it out
_DATA = "Pass data as inputs of executions."
_LFS = b"version https://git-lfs.github.com/spec/"
_LINK, _SUBMODULE, _DIRECTORY = b"120000", b"160000", b"40000"


@dataclass(frozen=True, slots=True)
class Place:
    """A document in a repository: the https address of the repository, the commit (40 hex digits) and the path."""

    repository: str
    commit: str
    path: str

    @classmethod
    def of(cls, unit: Mapping[str, Any]) -> Place:
        """Of an execution unit with `repository`, `commit` and `path`. Raises PackageError."""
        commit, path = unit.get("commit"), unit.get("path")
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit.lower()):
            raise PackageError(
                f"{str(commit)[:100]!r} is not a commit.",
                hint="Write all 40 hex digits (git rev-parse HEAD): a branch or a tag may move.",
            )
        if not isinstance(path, str) or not path.strip("/"):
            raise PackageError(
                "The path of the package in the repository is missing.", hint='Write "path": "workflows/app.cwl".'
            )
        return cls(checked(unit.get("repository")), commit.lower(), path.strip("/"))

    def to_json(self) -> dict[str, Any]:
        return {"repository": self.repository, "commit": self.commit, "path": self.path}


def checked(repository: Any) -> str:
    """The address of a repository, without a slash at its end. Raises PackageError for all but plain https."""
    text = repository.strip() if isinstance(repository, str) else ""
    try:
        parts = urlsplit(text)
        plain = parts.scheme.lower() == "https" and parts.hostname and "@" not in parts.netloc and parts.path.strip("/")
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or len(text) > 1000 or not text.isprintable() or " " in text:
        raise PackageError(
            f"{text[:200]!r} is not the address of a git repository.",
            hint="Only https addresses are read: https://host/owner/name",
        )
    return text.rstrip("/")


class Tree:
    """The files of one commit. Called with a path it gives the bytes; raises OSError for what is not there."""

    def __init__(self, objects: Objects, commit: str) -> None:
        self.objects = objects
        kind, content = objects.get(bytes.fromhex(commit), (b"", b""))
        if kind != b"commit":
            what = f"a {kind.decode()}" if kind else "nothing"
            raise PackageError(f"{commit} is {what} in this repository, not a commit.")
        head, _, _ = content.partition(b"\n\n")
        self.head: dict[bytes, bytes] = {}
        for line in head.split(b"\n"):
            word, _, value = line.partition(b" ")
            self.head.setdefault(word, value)
        root = self.head.get(b"tree", b"").decode("ascii", "replace")
        if not COMMIT.fullmatch(root):
            raise PackageError("The commit is damaged.")
        self.root = bytes.fromhex(root)

    @property
    def committed(self) -> str | None:
        """When the commit was made (RFC 3339, UTC)."""
        words = self.head.get(b"committer", b"").rsplit(b" ", 2)
        if len(words) != 3 or not words[1].isdigit() or len(words[1]) > 11:
            return None
        return datetime.fromtimestamp(int(words[1]), UTC).isoformat().replace("+00:00", "Z")

    def __call__(self, path: str) -> bytes:
        mode, name = self.find(path)
        if mode == _DIRECTORY:
            raise IsADirectoryError(21, "it is a directory", path)
        return self.blob(path, mode, name)

    def blob(self, path: str, mode: bytes, name: bytes) -> bytes:
        if mode == _LINK:
            raise PackageError(f"{path} is a symbolic link, which is not followed.", file=path)
        if mode == _SUBMODULE:
            raise PackageError(f"{path} is a submodule, which is not fetched.", file=path)
        if name not in self.objects:
            raise LimitError(f"{path} has more than {MAX_BLOB // 2**20} MiB.", hint=_DATA)
        content = self.objects[name][1]
        if content.startswith(_LFS):
            raise PackageError(f"{path} is kept in Git LFS, which is not read.", file=path)
        return content

    def find(self, path: str) -> tuple[bytes, bytes]:
        """Mode and name of the object at a path. Raises FileNotFoundError."""
        mode, name = _DIRECTORY, self.root
        for part in path.split("/"):
            if mode in (_SUBMODULE, _LINK):
                self.blob(path, mode, name)
            file = part.encode("utf-8", "replace")
            found = dict(self.entries(name)).get(file) if mode == _DIRECTORY else None
            if found is None:
                raise FileNotFoundError(2, "it is not in the repository", path)
            mode, name = found
        return mode, name

    def entries(self, name: bytes) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
        """File name -> (mode, name of the object) of a directory."""
        kind, content = self.objects.get(name, (b"", b""))
        if kind != b"tree":
            raise PackageError("The git server left out a directory of the commit.")
        at = 0
        while at < len(content):
            end = content.find(b"\0", at)
            mode, _, file = content[at:end].partition(b" ")
            if end < 0 or end + 21 > len(content):
                raise PackageError("A directory of the commit is damaged.")
            yield file, (mode.lstrip(b"0"), content[end + 1 : end + 21])
            at = end + 21

    def listing(self, path: str) -> list[str]:
        """The files below a directory, relative to it."""
        mode, name = self.find(path)
        if mode != _DIRECTORY:
            raise NotADirectoryError(20, "it is not a directory", path)
        found = list(islice(self.below(name, "", 0), MAX_LISTED + 1))
        if len(found) > MAX_LISTED:  # also what is small and refers to itself many times
            raise LimitError(f"{path} has more than {MAX_LISTED} files.", hint=_DATA)
        return found

    def below(self, name: bytes, folder: str, depth: int) -> Iterator[str]:
        if depth > 64:
            raise LimitError("The repository has directories more than 64 levels deep.")
        for file, (mode, inner) in self.entries(name):
            path = folder + file.decode("utf-8", "replace")
            if mode == _DIRECTORY:
                yield from self.below(inner, f"{path}/", depth + 1)
            else:
                yield path
