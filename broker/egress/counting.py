"""Counts the requests that a piece of work sends, in the thread that does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Count:
    requests: int = 0


_here: ContextVar[Count | None] = ContextVar("requests", default=None)


@contextmanager
def counted() -> Iterator[Count]:
    """Of all requests in the block."""
    count = Count()
    token = _here.set(count)
    try:
        yield count
    finally:
        _here.reset(token)


def one_more() -> None:
    """A request is sent; who counts knows it."""
    count = _here.get()
    if count is not None:
        count.requests += 1
