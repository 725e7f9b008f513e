"""A resource on the web as a file: read from an offset on, and gone on with where the connection broke."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, cast

from broker.egress.answer import Answer, FetchError
from broker.egress.client import Egress
from broker.errors import EgressRefused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BREAKS = 3  # in a row, without a byte between them
BUFFER = 256 * 1024


def opened(
    egress: Egress,
    url: str,
    offset: int = 0,
    *,
    headers: Mapping[str, str] | None = None,
    trusted: bool = False,
) -> BinaryIO:
    """The resource from `offset` on. Raises what `Egress.open` raises; reading raises OSError where it breaks off for
    good, has changed meanwhile, or is longer than the policy allows."""
    return cast(BinaryIO, io.BufferedReader(_Stream(egress, url, offset, headers or {}, trusted), BUFFER))


class _Stream(io.RawIOBase):
    def __init__(self, egress: Egress, url: str, offset: int, headers: Mapping[str, str], trusted: bool) -> None:
        self._egress, self._url, self._headers, self._trusted = egress, url, headers, trusted
        self._at = offset
        self._rest = b""
        self._validator: str | None = None
        self._answer: Answer | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._connect()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = self._next()
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        super().close()

    def _next(self) -> bytes:
        """The chunk that comes next, b"" at the end."""
        for left in reversed(range(BREAKS)):
            try:
                chunk = next(self._chunks, b"")
                self._at += len(chunk)
                return chunk
            except FetchError as error:
                if not (error.transient and left):
                    raise OSError(str(error)) from error
            try:
                self._connect()
            except (FetchError, EgressRefused) as error:
                raise OSError(str(error)) from error
        raise AssertionError("unreachable")  # the last break raises

    def _connect(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer = self._egress.open(
            self._url, self._at, validator=self._validator, headers=self._headers, trusted=self._trusted
        )
        if self._validator not in (None, self._answer.validator):
            raise FetchError("It changed while it was read.", url=self._url)
        self._validator = self._answer.validator
        self._chunks = self._from(self._answer, self._at)

    @staticmethod
    def _from(answer: Answer, at: int) -> Iterator[bytes]:
        """What comes at and after an offset: a server may send the whole resource whatever it is asked for."""
        skip = at - answer.start
        for chunk in answer:
            if skip < len(chunk):
                yield chunk[max(0, skip) :]
            skip -= len(chunk)
