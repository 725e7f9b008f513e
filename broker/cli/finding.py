"""What `broker doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `state`: ok, warning (the broker works without), error (it does not)."""

    what: str
    state: str
    detail: str
    mend: str | None = None
