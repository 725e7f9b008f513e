"""Puts local files on the server, in pieces that can be taken up again."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin

import requests

from broker.cli.client import Client
from broker.cli.problems import Unreachable
from broker.errors import InputError, InputProblem, PlatformUnavailable, UploadConflict

WHOLE = 4 * 2**20  # bytes up to which a file goes in one request
PIECE = 16 * 2**20
CHUNK = 2**18
TRIES = 8

# Told of each file and of its progress: path, bytes sent so far, bytes in all.
Progress = Callable[[Path, int, int], None]
_GEOTIFF = "image/tiff; application=geotiff"
_TYPES = {
    ".cwl": "application/cwl",
    ".geojson": "application/geo+json",
    ".nc": "application/x-netcdf",
    ".parquet": "application/vnd.apache.parquet",
    ".tif": _GEOTIFF,
    ".tiff": _GEOTIFF,
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def silent(path: Path, done: int, total: int) -> None:
    """Tells nobody."""


def media_type(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


@dataclass
class Uploader:
    """Uploads each file once, whatever the number of inputs that name it."""

    client: Client
    progress: Progress = silent
    pause: float = 0.5  # seconds before the first repetition; doubles
    sent: dict[tuple[Path, str], str] = field(default_factory=dict)

    def __call__(self, path: Path, name: str) -> str:
        """The href of the file on the server. Raises InputError, Unreachable, QuotaExceeded, …"""
        key = (path.resolve(), name)
        if key not in self.sent:
            try:
                with path.open("rb") as source:
                    size = path.stat().st_size
                    send = self.whole if size <= WHOLE else self.pieces
                    self.sent[key] = send(path, name, source, size)
            except OSError as error:
                raise InputError(InputProblem("", f"{path} cannot be read: {error.strerror}")) from error
        return self.sent[key]

    def whole(self, path: Path, name: str, source: BinaryIO, size: int) -> str:
        headers = {"Content-Type": media_type(name)}
        # a second upload after a lost answer costs space until it expires, and nothing else
        made = self.client.request(
            "POST", "/uploads", params={"name": name}, data=source.read(), headers=headers, repeat=True
        )
        self.progress(path, size, size)
        return self.href(made)

    def pieces(self, path: Path, name: str, source: BinaryIO, size: int) -> str:
        """Announce the size, then append; after a failure ask how much arrived and go on from there."""
        headers = {"Content-Type": media_type(name), "Upload-Length": str(size)}
        made = self.client.request("POST", "/uploads", params={"name": name}, headers=headers, repeat=True)
        href = self.href(made)
        offset, failures = int(made.headers.get("Upload-Offset", 0)), 0
        self.progress(path, offset, size)
        while offset < size:
            try:
                offset = self.append(href, path, source, offset, size)
                failures = 0
            except (Unreachable, PlatformUnavailable, UploadConflict):
                failures += 1
                if failures >= TRIES:
                    raise
                time.sleep(min(self.pause * 2**failures, 10.0))
                offset = self.offset(href)
            self.progress(path, offset, size)
        return href

    def append(self, href: str, path: Path, source: BinaryIO, offset: int, size: int) -> int:
        length = min(PIECE, size - offset)
        headers = {
            "Upload-Offset": str(offset),
            "Content-Length": str(length),
            "Content-Type": "application/offset+octet-stream",
        }

        def body() -> Iterator[bytes]:
            source.seek(offset)
            left = length
            while left and (piece := source.read(min(CHUNK, left))):
                left -= len(piece)
                self.progress(path, offset + length - left, size)
                yield piece

        answer = self.client.request("PATCH", href, data=_Sized(body(), length), headers=headers)
        return int(answer.headers.get("Upload-Offset", offset + length))

    def offset(self, href: str) -> int:
        answer = self.client.request("HEAD", href, repeat=True)
        return int(answer.headers["Upload-Offset"])

    def href(self, made: requests.Response) -> str:
        location = made.headers.get("Location")
        if not location:
            raise Unreachable(f"{self.client.server} made an upload without saying where.")
        return urljoin(made.url, location)


class _Sized:
    """A stream of known length, so that it goes out with a Content-Length and not in chunks."""

    def __init__(self, pieces: Iterator[bytes], length: int) -> None:
        self.pieces = pieces
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces
