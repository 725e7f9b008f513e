"""The pace of a platform: never more than allowed, and ever longer pauses where nobody answers."""

from __future__ import annotations

import pytest

from broker.jobs.pace import BURST, FIRST_SECONDS, LONGEST_SECONDS, TRIES, Pace, between_looks, full, steady


def busiest(moments: list[float]) -> int:
    """The most of them that lie in one second, whenever that begins."""
    second = 1 - 1e-6
    return max(sum(begin <= one < begin + second for one in moments[at:]) for at, begin in enumerate(moments))


@pytest.mark.parametrize("rate", [0.2, 1.0, 4.0, 50.0, 64.0])
@pytest.mark.parametrize("calls", [(1,), (1, 7, 3), (40,)])
def test_no_second_has_more_requests_than_allowed(rate: float, calls: tuple[int, ...]) -> None:
    """Calls of some requests, each as soon as it may go, and a pause now and then, so that the bucket is full."""
    pace, at, sent, number = Pace(full(rate)), 0.0, [], 0
    while at < 20 / min(rate, 4.0):
        number += 1
        requests = calls[number % len(calls)]
        sent += [at + pace.taken(before).short(rate) for before in range(requests)]
        pace = pace.taken(requests)
        wait = pace.wait(rate) if number % 11 else 3 / rate
        at, pace = at + wait, pace.later(wait, rate)
    assert busiest(sent) <= max(rate, 1.0)
    assert len([one for one in sent if one < at]) >= 0.8 * steady(rate) * at  # and it is made use of


@pytest.mark.parametrize("rate", [0.2, 1.0, 10.0, 50.0, 100.0])
@pytest.mark.parametrize("jobs", [1, 5, 100, 1000, 10_000])
def test_looks_are_in_time_and_leave_something(rate: float, jobs: int) -> None:
    pause, bound = between_looks(jobs, rate), max(10.0, 1.2 * jobs / rate)
    assert pause <= 0.95 * bound + 1e-9  # the rest is for a look that is late
    assert jobs / pause <= 0.92 * steady(rate)


def test_a_bucket_does_not_overflow() -> None:
    assert Pace(0.0).later(1000.0, 5.0).tokens == full(5.0) == 1 + 5.0 * BURST
    assert Pace(0.0).wait(None) == 0.0


def test_the_breaker_closes_for_ever_longer_and_opens_with_an_answer() -> None:
    pace, pauses = Pace(1.0), []
    for _ in range(12):
        pace = pace.silent(None)
        pauses.append(pace.closed)
    assert pauses[: TRIES - 1] == [0.0] * (TRIES - 1)
    assert pauses[TRIES - 1 : TRIES + 1] == [FIRST_SECONDS, 2 * FIRST_SECONDS]
    assert pauses[-1] == LONGEST_SECONDS
    assert pace.trying
    assert not pace.answered().trying
    assert pace.answered().wait(None) == 0.0


@pytest.mark.parametrize(("asked", "closed"), [(None, 0.0), (7.0, 7.0), (1e9, LONGEST_SECONDS)])
def test_a_platform_is_left_alone_for_as_long_as_it_asks(asked: float | None, closed: float) -> None:
    assert Pace(1.0).silent(asked).closed == closed
