"""The pace of a platform: on average no more than allowed, and ever longer pauses where nobody answers."""

from __future__ import annotations

import pytest

from broker.jobs.pace import BURST_SECONDS, FIRST_SECONDS, LONGEST_SECONDS, TRIES, Pace, full


def test_on_average_no_more_is_sent_than_allowed() -> None:
    """Calls of 1, 7 and 3 requests, each as soon as it may go: 100 seconds at 4 a second."""
    pace, at, sent = Pace(full(4.0)), 0.0, 0
    while at < 100:
        for requests in (1, 7, 3):
            wait = pace.wait(4.0)
            at += wait
            pace = pace.later(wait, 4.0).answered(requests)
            sent += requests
    assert 4.0 * at - 7 <= sent <= 4.0 * at + full(4.0) + 7


def test_a_bucket_does_not_overflow() -> None:
    assert Pace(0.0).later(1000.0, 5.0).tokens == full(5.0) == 5.0 * BURST_SECONDS
    assert full(0.1) == 1.0  # else nothing would ever be sent
    assert Pace(0.0).wait(None) == 0.0


def test_the_breaker_closes_for_ever_longer_and_opens_with_an_answer() -> None:
    pace, pauses = Pace(1.0), []
    for _ in range(12):
        pace = pace.silent(1, None)
        pauses.append(pace.closed)
    assert pauses[: TRIES - 1] == [0.0] * (TRIES - 1)
    assert pauses[TRIES - 1 : TRIES + 1] == [FIRST_SECONDS, 2 * FIRST_SECONDS]
    assert pauses[-1] == LONGEST_SECONDS
    assert pace.trying
    assert not pace.answered(1).trying
    assert pace.answered(1).wait(None) == 0.0


@pytest.mark.parametrize(("asked", "closed"), [(None, 0.0), (7.0, 7.0), (1e9, LONGEST_SECONDS)])
def test_a_platform_is_left_alone_for_as_long_as_it_asks(asked: float | None, closed: float) -> None:
    assert Pace(1.0).silent(1, asked).closed == closed
