"""The database: engine and transactions, on SQLite and PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from broker.errors import StorageError

BUSY_SECONDS = 10.0


def new_id() -> str:
    """A UUIDv7 (RFC 9562): unguessable, and sorted by time, so that an index on it is an index on age.

    Twelve bits hold the part of the millisecond (method 3 of section 6.2), so that ids of one process keep order.
    """
    stamp, rest = divmod(time.time_ns(), 1_000_000)
    value = stamp << 80 | 0x7 << 76 | (rest << 12) // 1_000_000 << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_at(seconds: float) -> str:
    """What is in the order of ids where those of this moment (epoch seconds) begin."""
    stamp = f"{max(0, min(int(seconds * 1000), 2**48 - 1)):012x}"
    return f"{stamp[:8]}-{stamp[8:]}"


class Database:
    """Connections to one database. `write()` is one transaction; in `read()` each statement sees what is committed
    when it starts."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url: URL = make_url(url)
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": BUSY_SECONDS}
        if self.sqlite:
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        else:
            options["pool_pre_ping"] = True
            options["connect_args"] = {"connect_timeout": 5, "options": "-c lock_timeout=10000"}
        self.engine: Engine = create_engine(self.url, **options)
        if self.sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
            event.listen(self.engine, "begin", _sqlite_begin)
        self._reader: Connection | None = None
        self._writer = self.engine.execution_options(write=True)
        self._turn: AbstractContextManager[Any] = nullcontext()
        if self.sqlite and self.url.database:
            self._turn = Turn(Path(self.url.database + "-turn"))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; commits at the end. SQLite takes the write lock at once (BEGIN IMMEDIATE): a
        deferred begin loses lock upgrades whatever the busy timeout. Raises StorageError when the database
        cannot be reached, stays locked, or has no connection left for us."""
        try:
            with self._turn, self._writer.begin() as connection:
                yield connection
        except (OperationalError, PoolTimeout) as error:
            raise _silent(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Raises StorageError as `write`."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except (OperationalError, PoolTimeout) as error:
            raise _silent(error) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """As `read`, on one connection that stays open: for the one thread of an event loop, on SQLite, where a
        connection that only reads is in no transaction between two statements."""
        try:
            if self._reader is None:
                self._reader = self.engine.connect()
            yield self._reader
        except (OperationalError, PoolTimeout) as error:
            self._forget_reader()
            raise _silent(error) from error

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def close(self) -> None:
        self._forget_reader()
        self.engine.dispose()


class Turn:
    """A queue in front of SQLite's write lock, for the threads and processes of one machine.

    SQLite's own waiting sleeps, longer and longer, and wakes nobody: under load a writer may wait a hundred times
    as long as the writes before it take. The kernel wakes who waits here at once. It is no more than a queue: the
    lock that keeps the data right is SQLite's, and the kernel gives the turn back when its holder dies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: int | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        assert self._file is not None  # noqa: S101 - opened on entering
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


def _silent(error: OperationalError | PoolTimeout) -> StorageError:
    return StorageError(f"The database does not answer: {getattr(error, 'orig', error)}")


def _sqlite_connect(connection: Any, record: Any) -> None:
    # autocommit mode: the driver begins nothing by itself, `_sqlite_begin` decides
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # accepted means durable, also when the power fails
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA cache_size=-16000")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("write"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
