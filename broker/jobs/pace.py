"""How gently a platform is called: a token bucket and a circuit breaker, as pure arithmetic.

Each request takes a token before it is sent. The bucket may go below zero: then the tokens that were taken are those
of moments to come, and whoever took them waits for theirs. It holds so little, and fills so much more slowly than
allowed, that no second of all has more requests than allowed. The breaker closes a platform after TRIES calls in a row
without an answer, for ever longer; when that time is over one call tries again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TRIES = 3
FIRST_SECONDS, LONGEST_SECONDS = 5.0, 300.0
TRIAL_SECONDS = 60.0  # that the one call which tries again has to itself
BURST = 0.04  # of the requests of a second: they may go at once, beside the first; the others wait for their moment
ROUND = 1.14  # so much longer than their requests take are looks at many jobs apart: a status is never older than 1.2
OFTEN_SECONDS, SHARE = 8.0, 3.0  # looks at few jobs are less apart than that, and leave the rest of the requests


@dataclass(frozen=True, slots=True)
class Pace:
    """`tokens`: requests that may be sent now, less those that were promised; `failures`: calls in a row without an
    answer; `closed`: seconds for which nobody may call (0 or less: one may)."""

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
        return replace(self, closed=closed, tokens=min(full(rate), self.tokens + seconds * steady(rate)))

    def short(self, rate: float | None) -> float:
        """Seconds until there is a token; 0: now."""
        return 0.0 if rate is None or self.tokens >= 1.0 else (1.0 - self.tokens) / steady(rate)

    def wait(self, rate: float | None) -> float:
        """Seconds until the platform may be called; 0: now."""
        return max(self.closed, self.short(rate))

    def taken(self, requests: int) -> Pace:
        """Requests are sent, each as soon as its token is there."""
        return replace(self, tokens=self.tokens - requests)

    def answered(self) -> Pace:
        return Pace(self.tokens)

    def silent(self, retry_after: float | None) -> Pace:
        """It did not answer, or asked to be left alone for `retry_after` seconds."""
        failures = self.failures + 1
        closed = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - TRIES, 16)) if failures >= TRIES else 0.0
        return Pace(self.tokens, failures, max(closed, min(retry_after or 0.0, LONGEST_SECONDS)))


def full(rate: float | None) -> float:
    """A full bucket."""
    return 1.0 + BURST * (rate or 0.0)


def steady(rate: float) -> float:
    """Tokens a second: with those of a full bucket, no more than `rate` in any second."""
    return (1.0 - BURST) * rate


def between_looks(requests: int, rate: float) -> float:
    """Seconds from one look at each job to the next, where looking at all of them takes so many requests."""
    takes = requests / rate
    return max(ROUND * takes, min(SHARE * takes, OFTEN_SECONDS))
