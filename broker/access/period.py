"""Periods of reports: a year, a month, a day, or from one of them to another, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from broker.errors import InputError, InputProblem

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?\Z", re.ASCII)


def span(text: str) -> tuple[float, float]:
    """(begin, end) in epoch seconds; the end is not in it. `2026`, `2026-11`, `2026-11-05`, or `2026-10/2026-12`, in
    which both are. Raises InputError."""
    first, slash, last = text.partition("/")
    begin, end = _one(first)[0], _one(last if slash else first)[1]
    if end <= begin:
        raise InputError(InputProblem("/period", "ends before it begins"))
    return begin, end


def _one(text: str) -> tuple[float, float]:
    found = _DATE.match(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = (int(one) if one else None for one in found.groups())
        begin = datetime(int(year or 0), month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            end = begin + timedelta(days=1)
        elif month is not None:
            end = datetime(begin.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        else:
            end = datetime(begin.year + 1, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InputError(InputProblem("/period", "2026, 2026-11, 2026-11-05, or one of them / another")) from None
    return begin.timestamp(), end.timestamp()
