"""Courtesy: whether a platform may be called now, and what is learned from calling it.

The limit of requests and the circuit breaker of a platform hold for all workers together (`jobs.pace`): adapters only
say PlatformUnavailable, with `retry_after` where the other side gave one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from broker.egress.leave import asking
from broker.errors import NoSuchPlatform, PlatformUnavailable
from broker.jobs.model import Attempt, JobSpec, Step
from broker.jobs.observation import Handle, Observation
from broker.jobs.pace import steady
from broker.platform import Collected, Health, Listing, LogPage, Personal, Platform
from broker.store import pace, platforms
from broker.store.database import Database

TOKENS_SECONDS = 0.02  # tokens for so long are taken at once: the database is asked for no more than 50 times a second
LOOK_SECONDS = 0.15  # of requests at the limit that one look at many jobs takes: what it sees is saved then


class NotNow(Exception):
    """The platform may not be called; it may be in `seconds`, unless somebody else calls it first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:g} s")
        self.seconds = seconds


@contextmanager
def turn(database: Database, platform: Platform, rate: float | None) -> Iterator[Platform]:
    """The platform to call in the block, which takes no more jobs at once than it can be asked for in a moment.
    `rate`: requests a second that it may be sent; None: as many as come. Raises NotNow.

    Each request in the block takes its token. A turn begins when there is one; where a call takes several requests, it
    waits for the tokens of the others, some thousandths of a second at a large rate: half a call is of no use.
    """
    with database.read() as tx:
        known = pace.get(tx, platform.name, rate)
    if (wait := known.wait(rate)) > 0:
        raise NotNow(wait)
    if known.trying and not _first(database, platform.name):
        raise NotNow(known.closed)
    whole = rate is None or isinstance(platform, Listing)
    page = platform.page if whole else min(platform.page, max(1, int(LOOK_SECONDS * steady(rate or 0.0))))
    watched = Watched(platform, page)
    try:
        with paced(database, platform.name, rate):
            yield watched
    finally:
        silent = watched.silent
        if silent or known.failures:
            with database.write() as tx:
                pace.called(tx, platform.name, rate, silent=silent, retry_after=watched.retry_after)


@contextmanager
def paced(database: Database, name: str, rate: float | None) -> Iterator[None]:
    """Each request in the block waits for its token."""
    if rate is None:
        yield
        return
    with asking(Tokens(database, name, rate)):
        yield


@contextmanager
def within(database: Database, name: str) -> Iterator[None]:
    """As `paced`, within what the terms of a platform allow."""
    with database.read() as tx:
        try:
            rate = platforms.one(tx, name).terms.requests
        except NoSuchPlatform:  # it was never asked before
            rate = None
    with paced(database, name, rate):
        yield


class Tokens:
    """Takes tokens of a platform, some at a time, and gives leave for a request when there is one. For one thread.

    Those that are not used when their moment comes are lost: nobody knows by then what others have sent.
    """

    def __init__(self, database: Database, name: str, rate: float) -> None:
        self._database = database
        self._name = name
        self._rate = rate
        self._many = max(1, int(rate * TOKENS_SECONDS))
        self._moments: list[float] = []  # from which on the tokens that are left may be used, the next one last
        self._pause = threading.Event()  # never set

    def __call__(self) -> None:
        """Returns when the next request may be sent."""
        now = time.monotonic()
        while self._moments and now - self._moments[-1] > TOKENS_SECONDS:
            self._moments.pop()
        if not self._moments:
            self._take()
        self._pause.wait(max(0.0, self._moments.pop() - time.monotonic()))

    def _take(self) -> None:
        with self._database.write() as tx:
            known = pace.take(tx, self._name, self._rate, self._many)
        now = time.monotonic()
        self._moments = [now + known.taken(before).short(self._rate) for before in reversed(range(self._many))]


def _first(database: Database, name: str) -> bool:
    with database.write() as tx:
        return pace.try_again(tx, name)


class Watched:
    """A platform, with what is learned from calling it. `silent`: the last call got no answer."""

    def __init__(self, platform: Platform, page: int) -> None:
        self.name = platform.name
        self.page = page
        self.account_at = platform.account_at if isinstance(platform, Personal) else None
        self.silent = False
        self.retry_after: float | None = None
        self._platform = platform

    @contextmanager
    def _called(self) -> Iterator[None]:
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
