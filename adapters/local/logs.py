"""Pages of a job's logs: one stream per step, and `engine` and `stage` for the runner's own."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from broker.errors import PlatformRefused
from broker.platform import LogChunk, LogPage
from broker.runner.jobdir import JobDir
from broker.runner.report import read_steps

PAGE = 1024 * 1024
_OWN = ("stage", "engine")


def page(job: JobDir, cursor: str | None) -> LogPage:
    """What was written after the cursor, at most about `PAGE` bytes.

    The cursor counts the streams (in the order of their steps) that are read to their end, and keeps offsets only
    for those after them, so that it stays small for thousands of steps.
    """
    done, offsets = _decode(cursor)
    ended = job.exit.exists()
    steps = [step for step in read_steps(job) if step.status != "skipped"]
    chunks: list[LogChunk] = []
    left = PAGE
    for name in _OWN:
        left -= _read(job, name, offsets, chunks, left, whole=ended)
    leading = True
    for number, step in enumerate(steps[done:], start=done):
        finished = ended or step.finished is not None
        name = step.log or ""
        if name:
            left -= _read(job, name, offsets, chunks, left, whole=finished)
        if leading and finished and left > 0:
            offsets.pop(name, None)
            done = number + 1
        else:
            leading = False
        if left <= 0:
            break
    return LogPage(tuple(chunks), _encode(done, offsets), more=left <= 0)


def _read(job: JobDir, name: str, offsets: dict[str, int], chunks: list[LogChunk], left: int, *, whole: bool) -> int:
    """Add the stream's new text to the chunks; the number of bytes taken."""
    if left <= 0:
        return 0
    try:
        descriptor = os.open(job.logs / f"{name}.log", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, OSError):
        return 0
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(offsets.get(name, 0))
        data = stream.read(left)
    if not whole or len(data) == left:
        data = data[: _complete(data)]
    if data:
        offsets[name] = offsets.get(name, 0) + len(data)
        chunks.append(LogChunk(name, data.decode("utf-8", "replace")))
    return len(data)


def _complete(data: bytes) -> int:
    """How much of the data ends with a whole character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
        return len(data) - back if length > back else len(data)
    return len(data)


def _encode(done: int, offsets: dict[str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps([done, offsets], separators=(",", ":")).encode()).decode()


def _decode(cursor: str | None) -> tuple[int, dict[str, int]]:
    if cursor is None:
        return 0, {}
    try:
        value: Any = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return int(value[0]), {str(name): int(offset) for name, offset in value[1].items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise PlatformRefused("The log cursor is not one of this platform's.", fault_of="input") from error
