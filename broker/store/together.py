"""Group commit: small writes of many threads share one transaction, and so one wait for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from broker.store.database import Database

T = TypeVar("T")


@dataclass
class _Write(Generic[T]):
    """One caller's work and what came of it."""

    work: Callable[[Connection], T]
    result: T | None = None
    error: BaseException | None = None
    done: bool = False


class Together:
    """While one thread commits, others line up; the next one does the work of all of them.

    Each work has a savepoint of its own: what one raises, only its caller gets. Where the commit fails, all get that.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Write[Any]] = []

    def __call__(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, once it is committed. Raises what it raises, and as `Database.write`."""
        mine = _Write(work)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._commit()
        if mine.error is not None:
            raise mine.error
        return mine.result  # type: ignore[return-value]  # done, without an error

    def _commit(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            with self._database.write() as tx:
                for write in batch:
                    _do(tx, write)
        except BaseException as error:
            for write in batch:
                write.error = write.error or error
            raise
        finally:
            for write in batch:
                write.done = True


def _do(tx: Connection, write: _Write[Any]) -> None:
    try:
        with tx.begin_nested():
            write.result = write.work(tx)
    except Exception as error:  # noqa: BLE001 - it is the caller's, and raised there
        write.error = error
