"""One streaming HTTP response, with its size limit, and the errors of fetching."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import requests
import urllib3.exceptions

from broker.errors import StagingError

CHUNK = 128 * 1024
_PACKED_NAME = frozenset({".gz", ".tgz", ".svgz", ".z"})
_PACKED_TYPE = frozenset({"application/gzip", "application/x-gzip", "application/x-tar+gzip", "application/x-tgz"})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class FetchError(StagingError):
    """A request that gave no usable answer. `status`: the HTTP status, None where there was none;
    `transient`: the same request may work later; `retry_after`: seconds, where the server said so; `sent` False: there
    was no connection, so that no server can have seen it."""

    def __init__(
        self,
        detail: str,
        *,
        url: str,
        hint: str | None = None,
        status: int | None = None,
        transient: bool = False,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.sent = sent
        self.url = url
        self.status = status
        self.transient = transient
        self.retry_after = retry_after


def shown(url: str) -> str:
    """The URL as it may appear in messages and logs: without credentials, signature or fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0][:200]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?…" if parts.query else "")


class Answer:
    """A response whose body is still to be read, once, by iterating. Close it, or use it as a context manager.

    `url`: after redirects; `start`: offset of the first body byte in the resource; `size`: bytes of the whole
    resource, None where unknown; `validator`: a strong ETag or a date, for If-Range; `resumable`: the bytes are
    the resource's own, so that a Range request can go on.
    """

    def __init__(self, response: requests.Response, url: str, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self.url = url
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        encoding = self.headers.get("Content-Encoding", "identity").strip().lower()
        # A server that calls an archive's own compression a content encoding must not get it unpacked.
        self._decode = encoding not in ("", "identity") and not self._packed_by_nature()
        self.resumable = not self._decode
        self.start, self.size = self._extent()

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def validator(self) -> str | None:
        etag = self.headers.get("ETag")
        return etag if etag and not etag.startswith("W/") else self.headers.get("Last-Modified")

    def _packed_by_nature(self) -> bool:
        name = PurePosixPath(unquote(urlsplit(self.url).path))
        return name.suffix.lower() in _PACKED_NAME or self.media_type in _PACKED_TYPE

    def _extent(self) -> tuple[int, int | None]:
        length = self.headers.get("Content-Length", "")
        whole = int(length) if length.isdecimal() and not self._decode else None
        if self.status != 206:
            return 0, whole
        match = _CONTENT_RANGE.fullmatch(self.headers.get("Content-Range", "").strip())
        if match is None:
            raise FetchError(f"{shown(self.url)} answered a range without saying which.", url=self.url)
        return int(match[1]), None if match[3] == "*" else int(match[3])

    def __iter__(self) -> Iterator[bytes]:
        """Chunks of at most 128 KiB. Raises FetchError (transient) where the body breaks off, and
        FetchError where it is longer than the policy allows."""
        self._check(self.size or 0)
        seen = self.start
        try:
            for chunk in self._response.raw.stream(CHUNK, decode_content=self._decode):
                seen += len(chunk)
                self._check(seen)
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            garbled = isinstance(problem, urllib3.exceptions.DecodeError)
            raise FetchError(
                f"{shown(self.url)} broke off after {seen} bytes ({type(problem).__name__}).",
                url=self.url,
                transient=not garbled,
            ) from problem

    def _check(self, count: int) -> None:
        if count > self._max_bytes:
            raise FetchError(
                f"{shown(self.url)} is larger than the {self._max_bytes} bytes that are allowed.",
                url=self.url,
                hint="Use a smaller input, or ask the operator to raise the limit.",
            )

    def read(self) -> bytes:
        """The whole body, for small documents."""
        return b"".join(self)

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
