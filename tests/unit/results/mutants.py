"""Every way to spoil a document by one change: each of its values is taken away, and is put to each of some others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 5, "", [], {}, ["x"], [None], "x", "./x.json", "1.0.0"),
    *("2026-11-22T10:00:00", "2026-11-22T10:00:00Z", "https://x.org/y z"),
)
Path = tuple[str | int, ...]


class Mutant(NamedTuple):
    name: str
    document: Any


def mutants(document: Any, values: tuple[Any, ...] = VALUES) -> Iterator[Mutant]:
    """Of a list the first two values are spoilt, of `links` the first twelve."""
    for path in list(_paths(document)):
        shown = "/".join(map(str, path))
        *above, last = path
        changed = copy.deepcopy(document)
        del _at(changed, above)[last]
        yield Mutant(f"without {shown}", changed)
        for value in values:
            if _at(document, path) != value:
                changed = copy.deepcopy(document)
                _at(changed, above)[last] = value
                yield Mutant(f"{shown} = {value!r}", changed)


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _paths(one, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value[: 12 if path == ("links",) else 2]):
            yield from _paths(one, (*path, number))


def _at(value: Any, path: Path | list[str | int]) -> Any:
    for name in path:
        value = value[name]
    return value
