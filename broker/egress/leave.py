"""Who sends requests for a piece of work is asked before each of them, in the thread that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_leave: ContextVar[Callable[[], None] | None] = ContextVar("leave", default=None)


@contextmanager
def asking(leave: Callable[[], None]) -> Iterator[None]:
    """Call `leave` before each request in the block: it returns when the request may be sent."""
    token = _leave.set(leave)
    try:
        yield
    finally:
        _leave.reset(token)


def one_more() -> None:
    """A request is going to be sent."""
    leave = _leave.get()
    if leave is not None:
        leave()
