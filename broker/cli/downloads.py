"""Brings a job's output files to this computer: resumed, verified, and never outside the directory asked for."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests

from broker.cli.client import Client
from broker.cli.problems import Unreachable
from broker.errors import PlatformUnavailable, StorageError

CHUNK = 2**18
TRIES = 6

# Told of each file and of its progress: path below the job's files, bytes so far, bytes in all (None: unknown).
Progress = Callable[[str, int, int | None], None]


def silent(path: str, done: int, total: int | None) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An output file of a job: path below its files, bytes, sha256 (hex), as far as known."""

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass
class Downloader:
    """Brings files of one job below `directory`, each once."""

    client: Client
    job_id: str
    directory: Path
    progress: Progress = silent
    pause: float = 0.5  # seconds before the first repetition; doubles
    known: dict[str, RemoteFile] = field(default_factory=dict)
    brought: dict[str, Path] = field(default_factory=dict)

    def learn(self) -> dict[str, RemoteFile]:
        """Ask for size and sha256 of the job's files."""
        for one in self.client.files(self.job_id):
            self.known[one["path"]] = RemoteFile(one["path"], one.get("size"), one.get("sha256"))
        return self.known

    def path_of(self, location: str) -> str | None:
        """The path below the job's files that a location means; None if it is not one of them.

        Only the path counts: the server may call itself by another name than we do.
        """
        _, found, path = urlsplit(location).path.partition(f"/jobs/{quote(self.job_id, safe='')}/files/")
        return unquote(path) if found else None

    def localize(self, value: Any) -> Any:
        """A CWL output object with every file brought here; `location` a file: URL, `path` the local path."""
        if isinstance(value, list):
            return [self.localize(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("class") not in ("File", "Directory"):
            return {key: self.localize(one) for key, one in value.items()}
        found = dict(value)
        location = value.get("location")
        path = self.path_of(location.rstrip("/")) if isinstance(location, str) else None
        for key in ("secondaryFiles", "listing"):
            if key in value:
                found[key] = self.localize(value[key])
        if path is not None:
            local = self.file(path) if value["class"] == "File" else self.folder(path)
            found |= {"location": local.as_uri(), "path": str(local)}
        return found

    def folder(self, path: str) -> Path:
        target = self.target(path)
        target.mkdir(parents=True, exist_ok=True)
        return target

    def target(self, path: str) -> Path:
        """Where a file goes. The server is not trusted here: StorageError for a path that leaves the directory."""
        parts = PurePosixPath(path).parts
        top = self.directory.absolute()
        target = top.joinpath(*parts)
        unsafe = not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path
        if unsafe or not target.parent.resolve().is_relative_to(top.resolve()):
            raise StorageError(f"The server names an output {path!r}, which lies outside {self.directory}.")
        return target

    def file(self, path: str) -> Path:
        """Bring one file; an unfinished one of an earlier call (`.part`) is taken up again."""
        if path not in self.brought:
            target = self.target(path)
            remote = self.known.get(path, RemoteFile(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self.here(target, remote):
                self.bring(remote, target)
            self.brought[path] = target
        return self.brought[path]

    def here(self, target: Path, remote: RemoteFile) -> bool:
        """Whether the file lies there already, whole."""
        if remote.sha256 is None or not target.is_file() or target.is_symlink():
            return False
        return target.stat().st_size == remote.size and _sha256(target) == remote.sha256

    def bring(self, remote: RemoteFile, target: Path) -> None:
        part = target.with_name(f".{target.name[:200]}.part")
        failures = 0
        while True:
            try:
                self.fetch(remote, part)
                break
            except (Unreachable, PlatformUnavailable):
                failures += 1
                if failures >= TRIES:
                    raise
                time.sleep(min(self.pause * 2**failures, 10.0))
        if remote.sha256 is not None and _sha256(part) != remote.sha256:
            part.unlink()
            raise StorageError(
                f"{remote.path} did not arrive as it was kept: its sha256 differs.", hint="Download it again."
            )
        part.replace(target)

    def fetch(self, remote: RemoteFile, part: Path) -> None:
        """Append what is missing to the unfinished file. Raises Unreachable when the connection breaks."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(part, flags, 0o666), "r+b") as sink:
            have = sink.seek(0, os.SEEK_END)
            if remote.size is not None and have >= remote.size:
                if have == remote.size and have > 0:
                    return
                have = 0
            headers = {"Accept": "*/*", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            url = f"/jobs/{quote(self.job_id, safe='')}/files/{quote(remote.path)}"
            with self.client.request("GET", url, headers=headers, stream=True) as answer:
                if answer.status_code != 206:
                    have = 0
                sink.seek(have)
                sink.truncate()
                length = answer.headers.get("Content-Length")
                total = remote.size if remote.size is not None else (have + int(length) if length else None)
                try:
                    for chunk in answer.iter_content(CHUNK):
                        sink.write(chunk)
                        have += len(chunk)
                        self.progress(remote.path, have, total)
                except requests.RequestException as error:
                    raise Unreachable(f"The connection broke while {remote.path} was on its way.") from error
            if total is not None and have != total:
                raise Unreachable(f"{remote.path} broke off after {have} of {total} bytes.")


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
