"""Courtesy: the leave to call a platform, shared by all workers through the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from sqlalchemy import update

from broker.egress.counting import counted, one_more
from broker.errors import PlatformUnavailable
from broker.execution.courtesy import turn
from broker.jobs.model import Attempt
from broker.jobs.pace import TRIES
from broker.store import pace
from broker.store.database import Database
from broker.store.platform_tables import platform_pace
from broker.store.tables import now
from tests.peers.scripted import ScriptedPlatform, down

ONE = [Attempt("j", 1, "eb-j-1")]


def call(database: Database, platform: ScriptedPlatform, rate: float | None = None) -> str:
    with turn(database, platform, rate) as allowed:
        if allowed is None:
            return "not now"
        try:
            allowed.observe(ONE)
        except PlatformUnavailable:
            return "silent"
        return "answered"


def time_passes(database: Database, seconds: float) -> None:
    with database.write() as tx:
        back = {"at": platform_pace.c.at - seconds, "closed_until": platform_pace.c.closed_until - seconds}
        tx.execute(update(platform_pace).values(back))


def test_who_does_not_answer_is_called_ever_more_rarely_and_by_one_alone(database: Database) -> None:
    platform = ScriptedPlatform(faults={"observe": down(TRIES + 1)})
    assert [call(database, platform) for _ in range(TRIES + 2)] == ["silent"] * TRIES + ["not now"] * 2
    time_passes(database, 6.0)
    with turn(database, platform, None) as first, turn(database, platform, None) as second:
        assert first is not None
        assert second is None  # while the first finds out
        with pytest.raises(PlatformUnavailable):
            first.observe(ONE)
    time_passes(database, 6.0)
    assert call(database, platform) == "not now"  # the pause is twice as long now
    time_passes(database, 6.0)
    assert [call(database, platform) for _ in range(3)] == ["answered"] * 3
    with database.read() as tx:
        assert not pace.get(tx, platform.name, None).trying


def test_two_workers_that_ask_at_once_are_one_trial(database: Database) -> None:
    platform = ScriptedPlatform(faults={"observe": down(TRIES)})
    for _ in range(TRIES):
        call(database, platform)
    time_passes(database, 6.0)

    def ask(_: int) -> bool:
        with database.write() as tx:
            return pace.try_again(tx, platform.name)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_a_platform_that_asks_for_a_pause_gets_it(database: Database) -> None:
    platform = ScriptedPlatform(faults={"observe": [PlatformUnavailable("429", retry_after=30.0)]})
    assert [call(database, platform) for _ in range(2)] == ["silent", "not now"]
    time_passes(database, 31.0)
    assert call(database, platform) == "answered"


def test_requests_are_counted_and_the_rate_holds_for_all(database: Database) -> None:
    platform = ScriptedPlatform()
    with turn(database, platform, 4.0) as allowed:
        assert allowed is not None
        assert allowed.page == 8
        allowed.observe(ONE)
        for _ in range(16):
            one_more()
    assert call(database, platform, 4.0) == "not now"  # 8 too many: 2 seconds and a quarter
    time_passes(database, 1.9)
    assert call(database, platform, 4.0) == "not now"
    time_passes(database, 1.0)
    assert call(database, platform, 4.0) == "answered"


def test_one_that_lists_its_jobs_takes_a_whole_page_at_any_rate(database: Database) -> None:
    @dataclass
    class Lists(ScriptedPlatform):
        listed: ClassVar[Literal[True]] = True

    with turn(database, Lists(), 2.0) as allowed:
        assert allowed is not None
        assert allowed.page == Lists.page == 10
    with turn(database, ScriptedPlatform(), 2.0) as allowed:
        assert allowed is not None
        assert allowed.page == 4


def test_a_platform_without_limits_that_answers_costs_no_row(database: Database) -> None:
    assert call(database, ScriptedPlatform()) == "answered"
    with database.read() as tx:
        assert tx.execute(platform_pace.select()).first() is None
        assert tx.execute(now().select()).scalar_one() > 0


def test_requests_are_counted_where_they_are_sent() -> None:
    with counted() as outer:
        one_more()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(one_more).result()  # work of somebody else
        with counted() as inner:
            one_more()
    one_more()
    assert (outer.requests, inner.requests) == (1, 1)
