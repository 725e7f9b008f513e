"""Query parameters that lists share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

MOST = 10_000
# more than MOST is not an error: the server gives what it has, as OGC API - Common says
Limit = Annotated[int | None, Query(ge=1, description=f"How many at most; {MOST} where more are asked for.")]
Cursor = Annotated[str | None, Query(max_length=200, description="From where to go on: use the `next` link.")]
Representation = Annotated[str | None, Query(alias="f", max_length=20, description="The representation (json).")]


def size(limit: int | None, default: int) -> int:
    return min(limit or default, MOST)
