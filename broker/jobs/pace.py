"""How gently a platform is called: a token bucket and a circuit breaker, as pure arithmetic.

The bucket holds what may be sent at once; it may go below zero, since nobody knows beforehand how many requests a call
takes, and then nobody calls until it is above zero again: on average no more is sent than allowed. The breaker closes a
platform after TRIES calls in a row without an answer, for ever longer; when that time is over one call tries again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TRIES = 3
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
TRIAL_SECONDS = 60.0  # that the one call which tries again has to itself
BURST_SECONDS = 2.0  # the bucket holds what may be sent in so long, and at least 1


@dataclass(frozen=True, slots=True)
class Pace:
    """`tokens`: requests that may be sent now; `failures`: calls in a row without an answer; `closed`: seconds for
    which nobody may call (0 or less: one may)."""

    tokens: float
    failures: int = 0
    closed: float = 0.0

    @property
    def trying(self) -> bool:
        """Whether the next call is the one that finds out if the platform answers again."""
        return self.failures >= TRIES

    def later(self, seconds: float, rate: float | None) -> Pace:
        """The same so many seconds later, at `rate` requests a second (None: without a limit)."""
        closed = self.closed - seconds
        if rate is None:
            return replace(self, closed=closed)
        return replace(self, closed=closed, tokens=min(full(rate), self.tokens + seconds * rate))

    def wait(self, rate: float | None) -> float:
        """Seconds until the next call may go; 0: now."""
        short = 0.0 if rate is None or self.tokens >= 1.0 else (1.0 - self.tokens) / rate
        return max(self.closed, short, 0.0)

    def answered(self, requests: int) -> Pace:
        return Pace(self.tokens - requests)

    def silent(self, requests: int, retry_after: float | None) -> Pace:
        """It did not answer, or asked to be left alone for `retry_after` seconds."""
        failures = self.failures + 1
        closed = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - TRIES, 16)) if failures >= TRIES else 0.0
        return Pace(self.tokens - requests, failures, max(closed, min(retry_after or 0.0, LONGEST_SECONDS)))


def full(rate: float | None) -> float:
    """A full bucket."""
    return max(1.0, (rate or 0.0) * BURST_SECONDS)
