"""Dates of data: read strictly, written in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")


@dataclass(frozen=True, slots=True)
class Interval:
    """`start` and `end` of data, and the `moment` that stands for it; RFC 3339 in UTC."""

    start: str
    end: str
    moment: str


def interval_of(ends: Any, moment: Any = None) -> tuple[Interval | None, str | None]:
    """What [start, end] and a moment say, and what is wrong with it; both None where nothing is said."""
    if ends is None and moment is None:
        return None, None
    if ends is not None and (not isinstance(ends, list) or len(ends) != 2):
        return None, "An interval is [start, end]."
    start, end = ends or (None, None)
    given = [text for text in (start, end, moment) if text is not None]
    if not given:
        return None, None
    for text in given:
        if not isinstance(text, str) or utc(text) is None:
            return None, f"{text!r} is not a date and time in RFC 3339, such as 2026-01-31T00:00:00Z."
    if (start is None) != (end is None):
        return None, "An interval has a start and an end, or neither."
    first, last = utc(str(start or moment)), utc(str(end or moment))
    assert first is not None and last is not None  # noqa: S101, PT018  looked at above
    if first > last:
        return None, f"The interval ends ({end}) before it starts ({start})."
    middle = utc(moment) if moment is not None else first
    return Interval(written(first), written(last), written(middle or first)), None


def utc(text: str) -> datetime | None:
    """None for what is not RFC 3339."""
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
