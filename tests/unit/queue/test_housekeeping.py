"""The reconciler's housekeeping: by itself, under one lease, and in the way of nothing else."""

from __future__ import annotations

import io
import threading
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Table, select, update

from broker.bootstrap import Broker
from broker.queue.reconciler import Reconciler
from broker.settings import Settings
from broker.storage.local import LocalStorage
from broker.store import leases, tables, uploads
from broker.store.database import Database, new_id
from broker.store.tables import now
from tests.peers.broker import wait_for


class Slow(LocalStorage):
    """Storage that takes its time to remove."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()

    def delete_prefix(self, prefix: str) -> None:
        assert self.go.wait(60)
        super().delete_prefix(prefix)


def expired_upload(database: Database, storage: LocalStorage) -> str:
    with database.write() as tx:
        up = uploads.complete(tx, uploads.open_upload(tx, new_id(), "a", "a", "x", "a/b", 1, 60.0, 10), 1, "0")
        tx.execute(update(tables.uploads).values(expires=now() - 1))
    storage.keep(uploads.key(up), io.BytesIO(b"x"))
    return uploads.key(up)


def reconciler(database: Database, storage: LocalStorage, state: Path) -> Reconciler:
    redis = SecretStr("redis://127.0.0.1:1/0")
    return Reconciler(Broker(Settings(state=state, redis_url=redis, platforms={}), database, storage))


def test_what_is_past_its_time_goes_by_itself_and_holds_up_no_turn(database: Database, tmp_path: Path) -> None:
    storage = Slow(tmp_path / "files")
    one = reconciler(database, storage, tmp_path)
    where = expired_upload(database, storage)
    thread = threading.Thread(target=one._housekeeping, daemon=True)
    thread.start()
    try:
        wait_for(lambda: rows(database, tables.removals) == 1, 20, lambda: "the row does not go")
        one.turn()  # storage answers nothing meanwhile
        assert storage.size(where) == 1
        storage.go.set()
        wait_for(lambda: storage.size(where) is None, 20, lambda: "the bytes do not go")
        wait_for(lambda: rows(database, tables.removals) == 0, 20, lambda: "the note does not go")
    finally:
        one.stop()
        storage.go.set()
        thread.join(20)
    assert not thread.is_alive()


def test_who_has_no_lease_does_nothing(database: Database, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "files")
    where = expired_upload(database, storage)
    with database.write() as tx:
        assert leases.hold(tx, "retention", "somebody else", 2.5)
    one = reconciler(database, storage, tmp_path)
    thread = threading.Thread(target=one._housekeeping, daemon=True)
    thread.start()
    try:
        thread.join(1.5)
        assert storage.size(where) == 1
        wait_for(lambda: storage.size(where) is None, 20, lambda: "nobody took the lease over")
    finally:
        one.stop()
        thread.join(20)


def rows(database: Database, table: Table) -> int:
    with database.read() as tx:
        return len(tx.execute(select(table)).all())
