"""Group commit: small writes of many requests share one transaction, and so one wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """While one batch is written, others line up; they are the next batch.

    `write(items)` gives for each item its result or its error, in order; what it raises, every caller of the batch
    gets. It runs in `pool`, one batch at a time. Belongs to one event loop.
    """

    def __init__(self, write: Callable[[Sequence[T]], Sequence[R | Exception]], pool: Executor) -> None:
        self._write = write
        self._pool = pool
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """What came of the item, once it is committed. A caller that goes away does not take its write back."""
        mine: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, mine))
        if self._writing is None:
            self._writing = asyncio.create_task(self._drain())
        return await mine

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                found = await loop.run_in_executor(self._pool, self._write, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it is the callers', and raised there
                found = [error] * len(batch)
            for (_, future), result in zip(batch, found, strict=True):
                if future.done():  # its caller was cancelled
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._writing = None
