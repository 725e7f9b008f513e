"""Compares the outputs of two runs: exact checksums first, and what is left by its format, each pair in a process of
its own that can reach nothing.

Outputs are bytes of strangers, and readers of rasters and arrays are large programs in C: so nothing of theirs is in
memory here, and each pair is read inside bubblewrap (no network, no file but the two, read-only) with bounds on memory
and time. Why not a chroot as for packages (`runner.check`): these libraries load parts of themselves, and tables of
reference systems, when they first need them. Why not a job: most outputs are identical or small, and a comparison must
also work on the machine of who has two directories and no broker.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from broker.results.kinds import ZARR
from broker.results.verdict import Judgement, Tolerance, Verdict, worst

TYPE = "earthcode-broker comparison v1"
MOST_OUTPUTS = 10_000
MOST_DETAIL = 12 * 2**20  # bytes of all numbers and pictures of a report


@dataclass(frozen=True, slots=True)
class Output:
    """A file, or a Zarr store, of a run: `sha256` in hex (of a store: of its files and their names; "": not known),
    `size` in bytes, `path` where it is on this machine (None: its bytes are not at hand)."""

    sha256: str
    size: int
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """`path` is what the output is called on the left; `by` checksum, a format, or bytes (no format helped)."""

    path: str
    by: str
    judgement: Judgement
    left: Output | None
    right: Output | None

    def to_json(self) -> dict[str, Any]:
        sides = {name: _side(output) for name, output in (("left", self.left), ("right", self.right)) if output}
        return {"path": self.path, "by": self.by, **self.judgement.to_json(), **sides}


F = TypeVar("F")
Judge = Callable[[Path, Path, Tolerance], tuple[str, Judgement]]


def outputs(root: Path) -> dict[str, Output]:
    """What a file is, or what lies below a directory, by path: regular files, and Zarr stores as one. Links below are
    not followed. Raises OSError, and ValueError for more outputs than are compared."""
    root = root.resolve()
    files = {path.relative_to(root.parent).as_posix(): _file(path) for path in _below(root)}
    return {
        name.removeprefix(f"{root.name}/"): replace(whole(members), path=root.parent / name)
        for name, members in gathered(files).items()
    }


def _below(path: Path) -> Iterator[Path]:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        yield path
    elif stat.S_ISDIR(mode):
        for one in path.iterdir():
            yield from _below(one)


def _file(path: Path) -> Output:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return Output(digest.hexdigest(), stream.tell())


def gathered(files: Mapping[str, F]) -> dict[str, dict[str, F]]:
    """Output -> its files by their path within: of a Zarr store all, of anything else one, whose path is "". Raises
    ValueError for more outputs than are compared."""
    stores = {PurePosixPath(path).parent for path in files if PurePosixPath(path).name in ZARR}
    found: dict[str, dict[str, F]] = {}
    for path in sorted(files):
        around = [folder for folder in PurePosixPath(path).parents if folder in stores and folder.name]
        name = around[-1].as_posix() if around else path
        found.setdefault(name, {})[path[len(name) + 1 :]] = files[path]
    if len(found) > MOST_OUTPUTS:
        raise ValueError(f"There are more than {MOST_OUTPUTS:,} outputs.")
    return found


def whole(members: Mapping[str, Output]) -> Output:
    """An output of its files, as `gathered` gives them: a store's checksum is that of their checksums and names."""
    if "" in members:
        return members[""]
    lines = "".join(f"{one.sha256} {name}\n" for name, one in sorted(members.items()))
    return Output(hashlib.sha256(lines.encode()).hexdigest(), sum(one.size for one in members.values()))


def compare(
    left: Mapping[str, Output], right: Mapping[str, Output], tolerance: Tolerance, judge: Judge
) -> list[Compared]:
    """A verdict for each output of either run. `judge` compares two files by their format: see `confined.judge`."""
    pairs = dict(paired(left, right))
    found = [_compared(path, other, left[path], right[other], tolerance, judge) for path, other in pairs.items()]
    for path in sorted(left.keys() - pairs.keys()):
        gone = Judgement(Verdict.DIFFERENT, "Only the first run has it.")
        found.append(Compared(path, "checksum", gone, left[path], None))
    for path in sorted(right.keys() - set(pairs.values())):
        more = Judgement(Verdict.DIFFERENT, "Only the second run has it.")
        found.append(Compared(path, "checksum", more, None, right[path]))
    return sorted(found, key=lambda one: one.path)


def paired(left: Mapping[str, Output], right: Mapping[str, Output]) -> Iterator[tuple[str, str]]:
    """Which output of one run is which of the other: of the same path, else of the same bytes, else the only one of a
    kind that is left (names often hold the time of a run)."""
    alone, others = dict(left), dict(right)
    for path in sorted(left.keys() & right.keys()):
        yield path, path
        del alone[path], others[path]
    for same in (lambda path, output: output.sha256, lambda path, output: PurePosixPath(path).suffix):
        sides = [_single(same, side) for side in (alone, others)]
        for key in sorted(sides[0].keys() & sides[1].keys()):
            one, other = sides[0][key], sides[1][key]
            yield one, other
            del alone[one], others[other]


def _single(key: Callable[[str, Output], str], side: Mapping[str, Output]) -> dict[str, str]:
    """Key -> path, of keys that one output has."""
    found: dict[str, list[str]] = {}
    for path, output in side.items():
        found.setdefault(key(path, output), []).append(path)
    return {one: paths[0] for one, paths in found.items() if len(paths) == 1}


def _compared(path: str, other: str, left: Output, right: Output, tolerance: Tolerance, judge: Judge) -> Compared:
    renamed = () if path == other else (f"it is called {other} in the second run",)
    known = left.sha256 and right.sha256
    if known and left.sha256 == right.sha256 and left.size == right.size:
        same = Judgement(Verdict.IDENTICAL, "The same bytes.", notes=renamed)
        return Compared(path, "checksum", same, left, right)
    if left.path is None or right.path is None:
        why = "The checksums differ" if known else "A checksum is not known"
        unequal = Judgement(Verdict.DIFFERENT, f"{why}, and the file itself is not at hand.")
        return Compared(path, "checksum", unequal, left, right)
    by, found = judge(left.path, right.path, tolerance)
    noted = Judgement(found.verdict, found.sentence, found.numbers, (*renamed, *found.notes), found.picture)
    return Compared(path, by, noted, left, right)


def report(found: list[Compared], left: str, right: str, tolerance: Tolerance) -> dict[str, Any]:
    """What was found as JSON: type, verdict, sentence, left and right (what the runs are called), tolerance, counts,
    outputs [{path, by, verdict, sentence, numbers, notes, picture (PNG, base64), left, right {sha256, size}}]."""
    counts = {verdict.value: sum(one.judgement.verdict is verdict for one in found) for verdict in Verdict}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    many = "1 output" if len(found) == 1 else f"{len(found):,} outputs"
    whole = worst(one.judgement.verdict for one in found)
    return {
        "type": TYPE,
        "verdict": whole.value if found else Verdict.DIFFERENT.value,
        "sentence": f"Of {many}: {told}." if found else "There are no outputs to compare.",
        "left": left,
        "right": right,
        "tolerance": tolerance.to_json(),
        "counts": counts,
        "outputs": [*_bounded(one.to_json() for one in found)],
    }


def _bounded(told: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Outputs without what would make the report too large: numbers and pictures."""
    room = MOST_DETAIL
    for one in told:
        for name in ("numbers", "picture"):
            size = len(json.dumps(one[name])) if name in one else 0
            if size > room:
                del one[name]
                one["notes"] = [*one.get("notes", []), f"the {name} would have made the report too large"]
            else:
                room -= size
        yield one


def _side(output: Output) -> dict[str, Any]:
    return {"sha256": output.sha256, "size": output.size}
