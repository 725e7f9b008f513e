"""Courtesy: whether a platform may be called now, and what is learned from calling it.

The limit of requests and the circuit breaker of a platform hold for all workers together (`jobs.pace`): adapters only
say PlatformUnavailable, with `retry_after` where the other side gave one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from broker.egress.counting import counted
from broker.errors import PlatformUnavailable
from broker.jobs.model import Attempt, JobSpec, Step
from broker.jobs.observation import Handle, Observation
from broker.platform import Collected, Health, Listing, LogPage, Personal, Platform
from broker.store import pace
from broker.store.database import Database


@contextmanager
def turn(database: Database, platform: Platform, rate: float | None) -> Iterator[Platform | None]:
    """The platform to call in the block, which takes no more jobs at once than there are requests left; None where it
    may not be called now. `rate`: requests a second that it may be sent; None: as many as come."""
    with database.read() as tx:
        known = pace.get(tx, platform.name, rate)
    if known.wait(rate) > 0 or (known.trying and not _first(database, platform.name)):
        yield None
        return
    whole = rate is None or isinstance(platform, Listing)
    watched = Watched(platform, platform.page if whole else min(platform.page, max(1, int(known.tokens))))
    try:
        with counted() as count:
            yield watched
    finally:
        silent = watched.silent
        if rate is not None or silent or known.failures:
            with database.write() as tx:
                requests, after = max(count.requests, watched.calls), watched.retry_after
                pace.called(tx, platform.name, rate, requests, silent=silent, retry_after=after)


def _first(database: Database, name: str) -> bool:
    with database.write() as tx:
        return pace.try_again(tx, name)


class Watched:
    """A platform, with what is learned from calling it. `silent`: the last call got no answer."""

    def __init__(self, platform: Platform, page: int) -> None:
        self.name = platform.name
        self.page = page
        self.account_at = platform.account_at if isinstance(platform, Personal) else None
        self.calls = 0
        self.silent = False
        self.retry_after: float | None = None
        self._platform = platform

    @contextmanager
    def _called(self) -> Iterator[None]:
        self.calls += 1
        try:
            yield
        except PlatformUnavailable as error:
            self.silent, self.retry_after = not error.personal, error.retry_after
            raise
        self.silent, self.retry_after = False, None

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        with self._called():
            yield from self._platform.submit(spec)

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        with self._called():
            return list(self._platform.observe(attempts))

    def cancel(self, attempt: Attempt) -> None:
        with self._called():
            self._platform.cancel(attempt)

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        with self._called():
            return self._platform.logs(attempt, cursor)

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        with self._called():
            return self._platform.steps(attempt)

    def collect(self, attempt: Attempt) -> Collected:
        with self._called():
            return self._platform.collect(attempt)

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        with self._called():
            return self._platform.open(attempt, ref, offset)

    def release(self, attempt: Attempt) -> None:
        with self._called():
            self._platform.release(attempt)

    def check(self) -> Health:
        with self._called():
            return self._platform.check()
