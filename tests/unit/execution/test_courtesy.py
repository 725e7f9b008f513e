"""Courtesy: the leave to call a platform, shared by all workers through the database."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from sqlalchemy import update

from broker.egress.leave import asking, one_more
from broker.errors import PlatformUnavailable
from broker.execution.courtesy import LOOK_SECONDS, NotNow, paced, turn
from broker.jobs.model import Attempt
from broker.jobs.pace import TRIES, steady
from broker.store import pace
from broker.store.database import Database
from broker.store.platform_tables import platform_pace
from broker.store.tables import now
from tests.peers.scripted import ScriptedPlatform, down

ONE = [Attempt("j", 1, "eb-j-1")]


def call(database: Database, platform: ScriptedPlatform, rate: float | None = None) -> str:
    try:
        with turn(database, platform, rate) as allowed:
            allowed.observe(ONE)
    except NotNow:
        return "not now"
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
    with turn(database, platform, None) as first:
        assert call(database, platform) == "not now"  # while the first finds out
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


def test_a_turn_begins_when_there_is_a_token(database: Database) -> None:
    platform = ScriptedPlatform()
    with turn(database, platform, 0.5) as allowed:
        allowed.observe(ONE)
        one_more()
    assert call(database, platform, 0.5) == "not now"
    with pytest.raises(NotNow) as said, turn(database, platform, 0.5):
        pass
    assert 1.5 < said.value.seconds <= 2.2  # it says when it may be called
    time_passes(database, said.value.seconds)
    assert call(database, platform, 0.5) == "answered"  # without a request no token is taken
    assert call(database, platform, 0.5) == "answered"


SENDING = """
import sys, time
from broker.egress.leave import one_more
from broker.execution.courtesy import paced
from broker.store.database import Database

with paced(Database(sys.argv[1]), "scripted", float(sys.argv[2])):
    for _ in range(int(sys.argv[3])):
        one_more()
        print(time.time(), flush=True)
"""


def test_the_limit_holds_for_threads_and_processes_together(database: Database, database_url: str) -> None:
    """401 requests were sent in one second where 50 were allowed, when many jobs ended at once."""
    rate, each = 80.0, 30

    def thread(_: int) -> list[float]:
        sent = []
        with paced(database, "scripted", rate):
            for _ in range(each):
                one_more()
                sent.append(time.time())
        return sent

    command = [sys.executable, "-c", SENDING, database_url, str(rate), str(each)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        sent = [moment for moments in pool.map(thread, range(3)) for moment in moments]
    sent += [float(line) for other in others for line in other.communicate()[0].splitlines()]
    assert [other.returncode for other in others] == [0, 0]
    assert len(sent) == 5 * each
    sent.sort()
    busiest = max(sum(begin <= one < begin + 1 for one in sent[at:]) for at, begin in enumerate(sent))
    assert busiest <= rate + len(others) + 3, busiest  # each may be late by one, on a busy machine


def test_one_that_lists_its_jobs_takes_a_whole_page_at_any_rate(database: Database) -> None:
    @dataclass
    class Lists(ScriptedPlatform):
        listed: ClassVar[Literal[True]] = True

    with turn(database, Lists(), 2.0) as allowed:
        assert allowed.page == Lists.page == 10
    with turn(database, ScriptedPlatform(), 2.0) as allowed:
        assert allowed.page == 1
    with turn(database, ScriptedPlatform(), 30.0) as allowed:
        assert allowed.page == int(steady(30.0) * LOOK_SECONDS) == 4


def test_a_platform_without_limits_that_answers_costs_no_row(database: Database) -> None:
    assert call(database, ScriptedPlatform()) == "answered"
    with database.read() as tx:
        assert tx.execute(platform_pace.select()).first() is None
        assert tx.execute(now().select()).scalar_one() > 0


def test_leave_is_asked_for_where_requests_are_sent() -> None:
    outer: list[int] = []
    inner: list[int] = []
    with asking(lambda: outer.append(1)):
        one_more()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(one_more).result()  # work of somebody else
        with asking(lambda: inner.append(1)):
            one_more()
    one_more()
    assert (len(outer), len(inner)) == (1, 1)
