"""Tables: GeoJSON, Parquet and CSV, row by row; rows in another order are found again.

numbers: left, right {rows, columns}, and those of `Values`.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from broker.results.compare_stac import document, judged
from broker.results.compare_values import Values
from broker.results.verdict import Judgement, Tolerance, Verdict

MOST_SORTED = 500_000  # rows that are sorted when they come in another order
BATCH = 16_384
_GEOMETRY = "geometry"
_ID = "id"
Row = Mapping[str, Any]


class Table:
    """Columns with their types, and rows that can be gone through again."""

    def __init__(self, columns: Mapping[str, str], places: Iterable[str] = ()) -> None:
        self.columns, self.places = dict(columns), frozenset(places)

    def rows(self) -> Iterator[Row]:
        raise NotImplementedError


class Features(Table):
    """A GeoJSON document: each feature's geometry, id and properties."""

    def __init__(self, path: Path) -> None:
        content = document(path)
        listed = content.get("features") if isinstance(content, dict) else None
        if isinstance(content, dict) and listed is None:
            listed = [content]
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise ValueError("it is not a GeoJSON document")
        self._rows = [self._row(one) for one in listed]
        if len({repr(row.get(_ID)) for row in self._rows}) == len(self._rows) and all(_ID in one for one in listed):
            self._rows.sort(key=lambda row: repr(row[_ID]))
        super().__init__({name: "" for row in self._rows for name in row}, [_GEOMETRY])

    @staticmethod
    def _row(feature: dict[str, Any]) -> Row:
        if feature.get("type") != "Feature":
            return {_GEOMETRY: feature}
        properties = feature.get("properties")
        own = {f"properties.{key}": value for key, value in (properties or {}).items()}
        return {**own, _GEOMETRY: feature.get("geometry"), **({_ID: feature[_ID]} if _ID in feature else {})}

    def rows(self) -> Iterator[Row]:
        yield from self._rows


class Csv(Table):
    """Text with separators; the first line names the columns. Numbers are taken as numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline(2**20)
            first = next(csv.reader([head], delimiter=self._separator(head)), [])
        self.delimiter, self.names = self._separator(head), first
        super().__init__(dict.fromkeys(first, ""))

    @staticmethod
    def _separator(head: str) -> str:
        return max(",;\t|", key=head.count)

    def rows(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, delimiter=self.delimiter, strict=True)
            next(lines, None)
            try:
                for line in lines:
                    yield {str(place): _typed(value) for place, value in zip_longest(self._numbered(line), line)}
            except csv.Error as error:
                raise ValueError(f"line {lines.line_num}: {error}") from error

    def _numbered(self, line: Sequence[str]) -> Iterator[str]:
        for index in range(len(line)):
            yield self.names[index] if index < len(self.names) else f"column {index + 1}"


class Parquet(Table):
    """A Parquet file, also GeoParquet: geometries in WKB are compared as places."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, memory_map=False)
        except ArrowException as error:
            raise ValueError(str(error)) from error
        schema = self._file.schema_arrow
        binary = [one.name for one in schema if str(one.type) in ("binary", "large_binary", "binary_view")]
        super().__init__({one.name: str(one.type) for one in schema}, binary)

    def rows(self) -> Iterator[Row]:
        try:
            for batch in self._file.iter_batches(batch_size=BATCH, use_threads=False):
                for row in batch.to_pylist():
                    yield {name: _place(value) if name in self.places else value for name, value in row.items()}
        except ArrowException as error:
            raise ValueError(str(error)) from error


def geojson(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    return compare(Features(left), Features(right), tolerance, "features")


def table(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    return compare(Csv(left), Csv(right), tolerance, "rows")


def parquet(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    return compare(Parquet(left), Parquet(right), tolerance, "rows")


def compare(left: Table, right: Table, tolerance: Tolerance, noun: str) -> Judgement:
    """Two tables of one kind. Raises OSError or ValueError for what cannot be read."""
    apart = [f"{name} only in the first" for name in left.columns if name not in right.columns]
    apart += [f"{name} only in the second" for name in right.columns if name not in left.columns]
    apart += [
        f"{name} is {kind} against {right.columns[name]}"
        for name, kind in left.columns.items()
        if name in right.columns and _family(kind) != _family(right.columns[name])
    ]
    if apart:
        return Judgement(Verdict.DIFFERENT, f"The columns differ: {'; '.join(apart[:10])}.", _sizes(left, right))
    values = Values(tolerance)
    counts = _in_turn(left.rows(), right.rows(), left, values)
    sizes = _sizes(left, right, counts)
    if counts[0] != counts[1]:
        sentence = f"{counts[0]:,} {noun} against {counts[1]:,}."
        return Judgement(Verdict.DIFFERENT, sentence, {**sizes, **values.to_json()})
    notes = []
    if values.outside and counts[0] <= MOST_SORTED:
        ordered = Values(tolerance)
        _in_turn(_sorted(left), _sorted(right), left, ordered)
        if ordered.fits:
            values, notes = ordered, [f"the {noun} come in another order"]
    found = judged(values, notes, f"All {counts[0]:,} {noun} are the same; only how the file is written differs.")
    return Judgement(found.verdict, found.sentence, {**sizes, **found.numbers}, found.notes)


def _in_turn(left: Iterable[Row], right: Iterable[Row], table: Table, values: Values) -> tuple[int, int]:
    """Compare row by row; how many there are on each side."""
    counts = [0, 0]
    for number, (one, other) in enumerate(zip_longest(left, right), 1):
        counts[0] += one is not None
        counts[1] += other is not None
        if one is None or other is None:
            continue
        for name in {**one, **other}:
            here = f"row {number} {name}"
            values.compare(one.get(name), other.get(name), here, coordinates=name in table.places)
    return counts[0], counts[1]


def _sorted(table: Table) -> list[Row]:
    """By what is exact first, then by numbers, which may differ a little."""

    def key(row: Row) -> tuple[str, list[float], str]:
        exact = {name: value for name, value in row.items() if not isinstance(value, float | dict | list | tuple)}
        numbers = [value for _, value in sorted(row.items()) if isinstance(value, float) and value == value]
        return repr(sorted(exact.items())), numbers, repr([row.get(name) for name in sorted(table.places)])

    return sorted(table.rows(), key=key)


def _sizes(left: Table, right: Table, counts: tuple[int, int] | None = None) -> dict[str, Any]:
    sides: dict[str, dict[str, Any]] = {
        name: {"columns": list(side.columns)[:200]} for name, side in (("left", left), ("right", right))
    }
    if counts is not None:
        sides["left"]["rows"], sides["right"]["rows"] = counts
    return dict(sides)


def _family(kind: str) -> str:
    """int32 and int64 hold the same values, as do float and double, string and large_string."""
    name = kind.removeprefix("u").removeprefix("large_")
    if name.startswith("int"):
        return "integer"
    return "float" if name in ("halffloat", "float", "double") else name


def _typed(text: str | None) -> Any:
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return text


def _place(value: Any) -> Any:
    """Binary that is a geometry as its type and numbers; other binary as it is."""
    if not isinstance(value, bytes):
        return value
    try:
        found, rest = _wkb(value, 0, 0)
    except (struct.error, ValueError):
        return value
    return found if rest == len(value) else value


def _wkb(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    """A geometry in (E)WKB at an offset: [type, ...numbers], and where it ends."""
    if depth > 10:
        raise ValueError("nested too deeply")
    order = "<" if data[at : at + 1] == b"\1" else ">"
    (code,) = struct.unpack_from(f"{order}I", data, at + 1)
    at += 5
    if code & 0x20000000:
        at += 4  # the reference system of EWKB
    size = 2 + bool(code & 0x80000000) + bool(code & 0x40000000)
    kind, more = (code & 0xFFFF) % 1000, (code & 0xFFFF) // 1000
    size += (0, 1, 1, 2)[more] if more < 4 else 0

    def count() -> int:
        (found,) = struct.unpack_from(f"{order}I", data, at)
        if found > len(data):
            raise ValueError("more points than bytes")
        return int(found)

    def points(many: int) -> list[float]:
        return list(struct.unpack_from(f"{order}{many * size}d", data, at))

    if kind == 1:
        return [kind, points(1)], at + 8 * size
    if kind == 2:
        many = count()
        at += 4
        return [kind, points(many)], at + 8 * size * many
    if kind not in (3, 4, 5, 6, 7):
        raise ValueError("another type of geometry")
    parts: list[Any] = []
    rings = count()
    at += 4
    for _ in range(rings):
        if kind == 3:
            many = count()
            at += 4
            parts.append(points(many))
            at += 8 * size * many
        else:
            part, at = _wkb(data, at, depth + 1)
            parts.append(part)
    return [kind, parts], at
