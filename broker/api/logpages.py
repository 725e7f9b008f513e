"""The log of a job on pages: the end of it, or page by page."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from broker.jobs import lifecycle
from broker.jobs.model import Job
from broker.store.files import LogRow
from broker.web import page

TAIL = 200  # lines, and pieces, of the end of a log
MOST_TEXT = 2**20  # characters of one page


def end(rows: Sequence[LogRow]) -> list[tuple[str, str]]:
    """The last lines of the last pieces of a log, headed."""
    lines = 0
    pieces: list[tuple[LogRow, str]] = []
    for row in reversed(rows):
        kept = row.text.splitlines(keepends=True)[-(TAIL - lines) :]
        pieces.append((row, "".join(kept)))
        lines += len(kept)
        if lines >= TAIL:
            break
    return headed(list(reversed(pieces)))


def headed(pieces: Sequence[tuple[LogRow, str]]) -> list[tuple[str, str]]:
    """Each piece with the name of the step that wrote it where that changes, else with nothing."""
    made: list[tuple[str, str]] = []
    before = None
    for row, text in pieces:
        name = row.stream if row.attempt == 1 else f"{row.stream}, attempt {row.attempt}"
        if name == before:
            made[-1] = (name, made[-1][1] + text)
        else:
            made.append((name, text))
        before = name
    return made


def log(
    request: Request,
    job: Job,
    found: Sequence[LogRow],
    streams: Sequence[str],
    *,
    step: str | None,
    attempt: int | None,
    after: int,
    more: bool,
) -> Response:
    """One page of the log, from a cursor on. `more`: there are rows after those found."""
    size, shown = 0, 0
    for row in found:
        size += len(row.text)
        if shown and size > MOST_TEXT:
            break
        shown += 1
    rows = found[:shown]
    return page(
        request,
        "joblog.html",
        title="Log",
        job=job,
        state=lifecycle.status(job.phase, job.dismiss_requested),
        log=headed([(row, row.text) for row in rows]),
        cursor=rows[-1].id if rows else after,
        more=more or shown < len(found),
        streams=[("", "everything"), *((one, one) for one in streams)],
        step=step or "",
        attempt=attempt or "",
        begun=after == 0,
    )
