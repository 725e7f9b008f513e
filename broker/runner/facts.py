"""What the record of a run says of its steps beyond their end: resources given, and files by their place in the job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

MOST_SOURCES = 2000
MOST_BYTES = 1500  # of the paths that a step used, and of those it made: the rest is not named
_NAMES = (("cores", "cores"), ("ram", "ramMiB"), ("tmpdirSize", "tmpMiB"), ("outdirSize", "outMiB"))


def requested(resources: Mapping[str, Any]) -> dict[str, float]:
    """What a step was given of the machine."""
    return {name: resources[key] for key, name in _NAMES if key in resources}


def tool(uri: str, package: Path) -> str | None:
    """A process of the package: its document's path and its name there. None for one that has no name of its own."""
    path, _, fragment = uri.partition("#")
    if not path or uri.startswith("_:"):
        return None
    name = unquote(path.removeprefix("file://")).removeprefix(f"{package}/")
    return f"{name}#{fragment}" if fragment else name


def paths(value: Any, root: Path) -> tuple[str, ...]:
    """Where the Files and Directories in a value are below the job's directory, each once: as many as are worth it."""
    found: dict[str, None] = {}
    start, room = f"{root}/", MOST_BYTES
    for place in _places(value):
        path = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
        if path.startswith(start) and (below := path.removeprefix(start)) not in found:
            room -= len(below) + 3
            if room < 0:
                break
            found[below] = None
    return tuple(found)


def below(places: Mapping[str, str], root: Path) -> dict[str, str]:
    """The same with paths below the job's directory; the first of very many."""
    start = f"{root}/"
    inside = {name: path.removeprefix(start) for name, path in places.items() if path.startswith(start)}
    return dict(islice(inside.items(), MOST_SOURCES))


def _places(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("class") in ("File", "Directory"):
            place = value.get("location") or value.get("path")
            if isinstance(place, str):
                yield place
            yield from _places(value.get("secondaryFiles"))
        else:
            for one in value.values():
                yield from _places(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _places(one)
