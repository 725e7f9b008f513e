"""How times, spans, sizes and the text of logs read on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# what terminals take as commands (colours, titles), and control characters but line ends and tabs
_STEERING = re.compile(
    "\x1b\\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    "|[\u202a-\u202e\u2066-\u2069]"
)
# (seconds below which, seconds of the unit, its name, seconds of the smaller one, its name)
SPANS: tuple[tuple[float, int, str, int, str], ...] = (
    (3600, 60, "min", 1, "s"),
    (86400, 3600, "h", 60, "min"),
    (float("inf"), 86400, "d", 3600, "h"),
)
UNITS = ("kB", "MB", "GB", "TB", "PB")


def clock(seconds: float) -> str:
    """A time to the second, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(seconds: float) -> str:
    """A span: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    unit, big, part, small = next((u, b, p, s) for most, u, b, p, s in SPANS if whole < most)
    rest = whole % unit // part
    return f"{whole // unit} {big}" + (f" {rest} {small}" if rest else "")


def size(count: int | None) -> str:
    """Bytes: `812 bytes`, `1.4 kB`, `20 MB` (powers of 1000); nothing where unknown."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count} bytes"
    amount, power = count / 1000, 0
    while amount >= 999.5 and power < len(UNITS) - 1:
        amount, power = amount / 1000, power + 1
    return f"{amount:.{1 if amount < 9.95 else 0}f} {UNITS[power]}"


def logtext(text: str) -> str:
    """A log without what steers a terminal, or turns the direction of writing."""
    return _STEERING.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
