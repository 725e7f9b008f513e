"""Results of steps that later jobs of the same owner may have: directories on the platform's disk.

    <root>/<owner>/<job>/<key>/    what one step of a job gave: `.result.json`, and its files below `<output>/`
    <root>/<owner>/<job>/.sizes    bytes of each of them, a line each
    <root>/<owner>/keys/<key>      a link to the newest step with that key

What a job left goes as one: when its results are deleted, when it is too old, when there is too much.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from broker.runner.beneath import remove_tree
from broker.runner.jobdir import read_json, write_json

KEYS = "keys"
RESULT = ".result.json"  # no output has a name that begins so
SIZES = ".sizes"


def of_owner(root: Path, owner: str) -> Path:
    """Where the steps of one owner's jobs are."""
    return root / hashlib.sha256(owner.encode()).hexdigest()[:32]


def find(directory: Path, key: str) -> tuple[Path, Mapping[str, Any]] | None:
    """Where the files of a step with this key are, and its result; None where there is none (any more)."""
    place = directory / KEYS / key
    result = read_json(place / RESULT)
    return None if result is None else (place.resolve(), result)


def add(directory: Path, job_id: str, key: str, fill: Callable[[Path], tuple[Mapping[str, Any], int]]) -> None:
    """Keep what a step gave. `fill` puts its files into a directory that it makes, and gives the result and how many
    bytes the files have. Raises what it raises, and OSError."""
    mine, keys = directory / job_id, directory / KEYS
    for made in (mine, keys):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = mine / f".{uuid.uuid4().hex}"
    try:
        result, size = fill(partial)
        write_json(partial / RESULT, result)
        with (mine / SIZES).open("a") as sizes:
            sizes.write(f"{size}\n")
        remove_tree(mine / key)  # the job's own, of an attempt before
        partial.rename(mine / key)
        link = keys / f".{partial.name}"
        link.symlink_to(Path("..", job_id, key))
        link.replace(keys / key)
    finally:
        remove_tree(partial)


def forget(root: Path, job_id: str) -> None:
    """Remove what the steps of a job left. Idempotent."""
    for mine in root.glob(f"*/{job_id}"):
        _remove(mine)


def prune(root: Path, seconds: float, most_bytes: int) -> None:
    """Remove what jobs left that is older, and the oldest of what is more than that many bytes."""
    left = most_bytes
    for written, size, mine in sorted(_jobs(root), reverse=True):
        left -= size
        if written < time.time() - seconds or left < 0:
            _remove(mine)


def _jobs(root: Path) -> Iterator[tuple[float, int, Path]]:
    """When each job last left something, its bytes, and where it is."""
    for mine in root.glob("*/*"):
        if mine.name != KEYS:
            with contextlib.suppress(OSError, ValueError):  # somebody else removes it, too
                yield mine.stat().st_mtime, sum(map(int, (mine / SIZES).read_text().split())), mine


def _remove(mine: Path) -> None:
    for entry in mine.glob("*"):
        link = mine.parent / KEYS / entry.name
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(Path("..", mine.name, entry.name)):  # noqa: PTH115  a Path would follow it
                link.unlink()
    remove_tree(mine)
