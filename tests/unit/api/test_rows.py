"""Calls that wait for servers of somebody's choice: whoever makes many of them holds up nobody else."""

from __future__ import annotations

import asyncio
from threading import Event, Lock
from typing import Any
from unittest.mock import MagicMock

from broker.api.rows import ABROAD_EACH, Rows


def test_who_waits_for_slow_servers_leaves_threads_to_others() -> None:
    rows = Rows(MagicMock(sqlite=True), MagicMock())
    go, lock = Event(), Lock()
    busy: list[int] = [0, 0]  # now, at most

    def slow_server() -> str:
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        assert go.wait(20)
        with lock:
            busy[0] -= 1
        return "mallory's"

    async def all_at_once() -> list[Any]:
        many = [asyncio.create_task(rows.abroad("mallory", slow_server)) for _ in range(10)]
        found = await asyncio.wait_for(rows.abroad("ada", lambda: "ada's"), 10)
        go.set()
        return [found, *await asyncio.gather(*many)]

    try:
        assert asyncio.run(all_at_once()) == ["ada's", *["mallory's"] * 10]
        assert busy[1] <= ABROAD_EACH
        assert rows._abroad == {}
    finally:
        go.set()
        rows.close()
