"""One asset as a stream: resumed where it breaks off, its link renewed where it expired, its size checked."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from adapters.openeo.results import Part
from broker.egress import Answer, FetchError
from broker.errors import EgressRefused, PlatformRefused, PlatformUnavailable

TRIES = 3
_EXPIRED = frozenset({401, 403, 404, 410})  # what object storage answers for a link whose time is over


class Download(io.RawIOBase):
    """The bytes of an asset from `offset` on.

    `connect(part, offset)` opens its link, `renew()` gives the part with a fresh one. Raises PlatformUnavailable, and
    PlatformRefused for an asset that is empty or cannot be had.
    """

    def __init__(
        self, part: Part, connect: Callable[[Part, int], Answer], renew: Callable[[], Part], offset: int = 0
    ) -> None:
        self._part, self._connect, self._renew = part, connect, renew
        self._at = offset
        self._tries = 0
        self._size: int | None = None
        self._left = memoryview(b"")
        self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._left:
                count = min(len(buffer), len(self._left))
                buffer[:count], self._left = self._left[:count], self._left[count:]
                self._at += count
                return count
            try:
                self._left = memoryview(next(self._chunks, b""))
            except FetchError as error:
                self._again(error)
                continue
            if not self._left and self._complete():
                return 0

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()

    def _open(self) -> None:
        while True:
            try:
                self._answer = self._connect(self._part, self._at)
                break
            except EgressRefused as error:
                raise PlatformRefused(f"{self._named} cannot be read: {error}") from error
            except FetchError as error:
                self._tries += 1
                if self._tries >= TRIES or error.status == 416:  # 416: it is shorter now than it was
                    raise PlatformUnavailable(f"{self._named} cannot be read: {error.detail}") from error
                if error.status in _EXPIRED:
                    self._part = self._renew()
                elif not error.transient:
                    raise PlatformRefused(f"{self._named} cannot be read: {error}", code="output-missing") from error
        self._left = memoryview(b"")
        self._chunks: Iterator[bytes] = iter(self._answer)
        for skipped in self._skipped(self._at - self._answer.start):
            self._left = skipped
        self._size = self._answer.size if self._part.size is None else self._part.size

    def _skipped(self, count: int) -> Iterator[memoryview]:
        """What is left of the chunk in which the wanted bytes begin, where the server gave the whole file again."""
        while count > 0:
            chunk = memoryview(next(self._chunks, b""))
            if not chunk:
                return
            if len(chunk) > count:
                yield chunk[count:]
            count -= len(chunk)

    def _complete(self) -> bool:
        """At the end: True where all is there; else goes on where it broke off."""
        if self._size is not None and self._at < self._size:
            self._again(None)
            return False
        if self._size is not None and self._at > self._size:
            raise PlatformUnavailable(f"{self._named} has {self._at} bytes where {self._size} were expected.")
        if self._at == 0 and self._part.size != 0:
            self._again(None)  # a link to an empty file was seen to be good a moment later
            return False
        return True

    def _again(self, error: FetchError | None) -> None:
        self._answer.close()
        self._tries += 1
        if self._tries >= TRIES:
            if self._at == 0 and error is None:
                raise PlatformRefused(f"{self._named} is empty.", code="output-missing")
            raise PlatformUnavailable(f"{self._named} broke off after {self._at} bytes.") from error
        self._part = self._renew()
        self._open()

    @property
    def _named(self) -> str:
        return f"The output {self._part.path.rpartition('/')[2]}"
