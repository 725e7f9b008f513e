"""The relay: each delivery is published at once, also after earlier ones were forgotten."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from celery import Celery
from pydantic import SecretStr
from sqlalchemy import Connection

from broker.bootstrap import Broker
from broker.queue import relay
from broker.queue.relay import Relay
from broker.settings import Settings
from broker.storage.local import LocalStorage
from broker.store import deliveries
from broker.store.database import Database
from broker.store.deliveries import Delivery


def test_what_comes_after_a_quiet_moment_is_published_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    forgotten: list[int] = []
    heard = threading.Condition()
    sent = deliveries.sent

    def sending(app: Celery, batch: Sequence[Delivery]) -> None:
        with heard:
            published.extend(delivery.job_id for delivery in batch)
            heard.notify_all()

    def forgetting(tx: Connection, ids: Sequence[int]) -> None:
        sent(tx, ids)
        with heard:
            forgotten.extend(ids)
            heard.notify_all()

    monkeypatch.setattr(relay, "send", sending)
    monkeypatch.setattr(deliveries, "sent", forgetting)
    settings = Settings(state=tmp_path, redis_url=SecretStr("redis://127.0.0.1:1/0"))
    running = Relay(Broker(settings, database, LocalStorage(tmp_path / "files")))
    running.start()
    try:
        for number in range(1, 4):
            with database.write() as tx:
                deliveries.add(tx, "dispatch", {str(number): "p"})
            running.wake()
            with heard:
                while len(forgotten) < number:
                    assert heard.wait(5), published
    finally:
        running.stop()
    assert published == ["1", "2", "3"]
    assert len(set(forgotten)) == 3  # an id is never used again: what is forgotten twice may be another one


def test_a_burst_is_told_in_few_nudges(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker pays for each: those that come within the spacing are one, and none is left out."""
    batches: list[list[str]] = []
    heard = threading.Condition()

    def sending(app: Celery, batch: Sequence[Delivery]) -> None:
        with heard:
            batches.append([delivery.job_id for delivery in batch])
            heard.notify_all()

    monkeypatch.setattr(relay, "send", sending)
    monkeypatch.setattr(relay, "SPACING_SECONDS", 0.5)
    settings = Settings(state=tmp_path, redis_url=SecretStr("redis://127.0.0.1:1/0"))
    running = Relay(Broker(settings, database, LocalStorage(tmp_path / "files")))
    running.start()
    numbers = [str(number) for number in range(10)]
    try:
        for number in numbers:
            with database.write() as tx:
                deliveries.add(tx, "dispatch", {number: "p"})
            running.wake()
        with heard:
            while sum(map(len, batches)) < len(numbers):
                assert heard.wait(5), batches
    finally:
        running.stop()
    assert [one for batch in batches for one in batch] == numbers
    assert len(batches) <= 3, batches
