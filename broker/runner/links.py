"""Symbolic links that a tool made: their targets are paths as the tool saw them, not as the host has them."""

from __future__ import annotations

import os
from pathlib import Path

from cwltool.pathmapper import PathMapper


def settle_links(outdir: str, inside: str, mapper: PathMapper) -> None:
    """Point the links below `outdir` (host) to what the tool meant by them (`inside`: its output directory).

    A link to an input leads to that input, one into the output directory becomes relative. Every other absolute
    link is left dangling or leading outside: collecting such a file is refused.
    """
    for path in _links(outdir):
        target = str(Path(path).readlink())
        if not target.startswith("/"):
            continue
        if target == inside or target.startswith(inside + "/"):
            below = f"{outdir}/{target[len(inside) + 1 :]}"
            _replace(path, os.path.relpath(below, Path(path).parent))
            continue
        found = _input(target, mapper)
        if found is not None:
            _replace(path, found)


def _links(directory: str) -> list[str]:
    found = []
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    found.append(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found


def _input(target: str, mapper: PathMapper) -> str | None:
    """The host's path of an input that the tool saw at `target` (or below it, for a directory)."""
    for _, entry in mapper.items():
        if entry.type in ("File", "Directory", "WritableFile", "WritableDirectory"):
            if target == entry.target:
                return entry.resolved
            if target.startswith(entry.target + "/") and not entry.resolved.startswith("_:"):
                return entry.resolved + target[len(entry.target) :]
    return None


def _replace(path: str, target: str) -> None:
    Path(path).unlink()
    Path(path).symlink_to(target)
