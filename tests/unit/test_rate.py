"""Sliding windows: what fits in any minute, when the next one fits, and that they stay small."""

from __future__ import annotations

import pytest

from broker.api import rate
from broker.api.rate import Sliding


def test_no_minute_has_more_than_is_allowed() -> None:
    window = Sliding(10)
    taken = []
    for tenth in range(3000):  # five minutes of ten tries a second
        now = 1_000.0 + tenth / 10
        if window.wait("a", now) == 0.0:
            window.add("a", now)
            taken.append(now)
    assert 40 <= len(taken) <= 55
    assert (
        max(sum(start <= one < start + 60 for one in taken) for start in taken) < 20
    )  # an approximation, never twice as many


@pytest.mark.parametrize("offset", [0.0, 17.0, 59.0])
def test_after_the_wait_it_fits(offset: float) -> None:
    window = Sliding(3)
    now = 6_000.0 + offset
    for _ in range(3):
        assert window.wait("a", now) == 0.0
        window.add("a", now)
    wait = window.wait("a", now)
    assert 0 < wait <= 120
    assert window.wait("a", now + wait + 0.001) == 0.0
    assert window.wait("a", now + wait - 0.1) > 0.0
    assert window.wait("b", now) == 0.0


def test_many_names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MOST", 100)
    window = Sliding(1)
    for number in range(1000):
        window.add(f"n{number}", 6_000.0)
    assert len(window._seen) <= 100
