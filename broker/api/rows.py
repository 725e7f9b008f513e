"""Where database work runs: short indexed reads at once on SQLite, everything else in bounded pools of threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from broker.errors import QuotaExceeded
from broker.execution.accept import Ticket, admit
from broker.execution.quotas import Ledger
from broker.jobs.model import Job
from broker.store.database import Database
from broker.store.together import Together

ARRIVALS = 32  # bodies of uploads that arrive at a time; each may take 48 MiB of memory where storage is S3
ARRIVALS_EACH = 8  # of one owner
ABROAD_EACH = 2  # calls of one owner that wait for servers which the owner names
P = ParamSpec("P")
T = TypeVar("T")


class Rows:
    """The one place that decides on which thread rows are read and written.

    A read of SQLite takes less time than handing it to a thread; PostgreSQL may be far away. Tickets that are
    admitted share a commit: the more wait for the disk, the more go with the next one.
    """

    def __init__(self, database: Database, quotas: Ledger, *, threads: int = 8, slow_threads: int = 4) -> None:
        self.database = database
        self._quotas = quotas
        self.inline = database.sqlite
        self._quick = ThreadPoolExecutor(threads, thread_name_prefix="rows")
        self._slow = ThreadPoolExecutor(slow_threads, thread_name_prefix="slow")
        self._arrivals = ThreadPoolExecutor(ARRIVALS, thread_name_prefix="arrival")
        self._arriving: Counter[str] = Counter()
        self._abroad: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self.admit: Together[Ticket, tuple[Job, bool]] = Together(self._admit, self._quick)

    def _admit(self, tickets: Sequence[Ticket]) -> Sequence[tuple[Job, bool] | Exception]:
        return admit(self.database, tickets, self._quotas.now())

    async def read(self, look: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`look(connection, ...)` in one read transaction."""
        if self.inline:
            with self.database.reading() as tx:
                return look(tx, *args, **kwargs)
        return await self._in(self._quick, self._look, look, *args, **kwargs)

    async def read_long(self, look: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a look that thinks for longer than it reads."""
        return await self._in(self._slow, self._look, look, *args, **kwargs)

    async def quick(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call of milliseconds, mostly a write, in the pool of writes."""
        return await self._in(self._quick, do, *args, **kwargs)

    async def slow(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call of seconds (it parses, moves bytes, calls other servers), which must not hold up quick ones."""
        return await self._in(self._slow, do, *args, **kwargs)

    async def abroad(self, owner: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A slow call that reads from servers of the owner's choice, which may take their time: some at a time wait
        for their turn, so that nobody takes all threads."""
        turn, wanted = self._abroad.get(owner) or (asyncio.Semaphore(ABROAD_EACH), 0)
        self._abroad[owner] = turn, wanted + 1
        try:
            async with turn:
                return await self._in(self._slow, do, *args, **kwargs)
        finally:
            turn, wanted = self._abroad.pop(owner)
            if wanted > 1:
                self._abroad[owner] = turn, wanted - 1

    async def arrive(self, owner: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A call that keeps a body while it comes, for as long as the client takes: in a pool of its own, so that
        slow clients hold up nobody else. Raises QuotaExceeded for too many at a time."""
        if self._arriving[owner] >= ARRIVALS_EACH or self._arriving.total() >= ARRIVALS:
            raise QuotaExceeded(
                f"There are too many uploads at a time ({ARRIVALS_EACH} for each owner).", hint="Try again in a moment."
            )
        self._arriving[owner] += 1
        try:
            return await self._in(self._arrivals, do, *args, **kwargs)
        finally:
            self._arriving[owner] -= 1
            if not self._arriving[owner]:
                del self._arriving[owner]

    def _look(self, look: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        with self.database.read() as tx:
            return look(tx, *args, **kwargs)

    async def _in(self, pool: ThreadPoolExecutor, do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(do, *args, **kwargs))

    def close(self) -> None:
        self._quick.shutdown(cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
        self._arrivals.shutdown(wait=False, cancel_futures=True)
