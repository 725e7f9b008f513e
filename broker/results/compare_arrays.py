"""NetCDF and Zarr: variables, dimensions, the attributes that give values their meaning, and every value.

numbers: variables {name: {shape, type, ...those of `Difference`}}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from broker.results.compare_numbers import Array, Difference, valid
from broker.results.verdict import Judgement, Tolerance, Verdict, shared

BLOCK = 2**21  # values in memory at a time, where the file's own chunks are not larger
MOST_CHUNK = 2**26
MOST_VARIABLES = 1000
SIGNIFICANT = frozenset(
    [
        "units",
        "calendar",
        "scale_factor",
        "add_offset",
        "standard_name",
        "grid_mapping",
        "grid_mapping_name",
        "crs_wkt",
        "spatial_ref",
        "GeoTransform",
        "positive",
        "flag_values",
        "flag_meanings",
        "cell_methods",
    ]
)
VOLATILE = frozenset(
    [
        "history",
        "date_created",
        "date_modified",
        "date_issued",
        "date_metadata_modified",
        "creation_date",
        "created",
        "updated",
        "uuid",
        "tracking_id",
        "_NCProperties",
        "NCO",
        "CDO",
        "_ARRAY_DIMENSIONS",
        "_FillValue",
    ]
)


@dataclass(frozen=True, slots=True)
class Variable:
    """An array in a file: `read` gives a block of its decoded values, and where there are some."""

    shape: tuple[int, ...]
    kind: str
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]
    chunks: tuple[int, ...]
    read: Callable[[tuple[slice, ...]], tuple[Array, Array]]


def netcdf(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    """Raises OSError or ValueError for what cannot be read."""
    import netCDF4  # noqa: PLC0415  each of the two libraries only where it is needed

    def opened(path: Path, open_: ExitStack) -> tuple[dict[str, Variable], Mapping[str, Any]]:
        source = open_.enter_context(netCDF4.Dataset(path, "r"))
        return dict(_of_netcdf(source, "")), {name: source.getncattr(name) for name in source.ncattrs()}

    return _judged(opened, left, right, tolerance)


def zarr(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    """Directories or zip files. Raises OSError or ValueError for what cannot be read."""
    import zarr as library  # noqa: PLC0415
    from zarr.errors import BaseZarrError  # noqa: PLC0415

    def opened(path: Path, open_: ExitStack) -> tuple[dict[str, Variable], Mapping[str, Any]]:
        kind = library.storage.LocalStore if path.is_dir() else library.storage.ZipStore
        root = library.open(kind(path, read_only=True), mode="r")
        if isinstance(root, library.Array):
            return {"": _of_zarr(root)}, {}
        found = {name: _of_zarr(one) for name, one in root.members(max_depth=10) if isinstance(one, library.Array)}
        return found, dict(root.attrs)

    try:
        return _judged(opened, left, right, tolerance)
    except BaseZarrError as error:
        raise ValueError(str(error)) from error


def _of_netcdf(group: Any, prefix: str) -> Iterator[tuple[str, Variable]]:
    for name, one in group.variables.items():
        chunks = one.chunking()
        attributes = {key: one.getncattr(key) for key in one.ncattrs()}
        shape = tuple(int(size) for size in one.shape)
        yield (
            prefix + name,
            Variable(
                shape,
                _kind(np.dtype(one.dtype) if one.dtype is not str else np.dtype(object)),
                tuple(one.dimensions),
                attributes,
                shape if chunks == "contiguous" or not chunks else tuple(chunks),
                _reader(one),
            ),
        )
    for name, inner in group.groups.items():
        yield from _of_netcdf(inner, f"{prefix}{name}/")


def _reader(source: Any) -> Callable[[tuple[slice, ...]], tuple[Array, Array]]:
    def read(where: tuple[slice, ...]) -> tuple[Array, Array]:
        found = np.ma.asarray(source[where] if where else source[...])
        values = np.asarray(found.data)
        return values, valid(values) & ~np.ma.getmaskarray(found)

    return read


def _of_zarr(source: Any) -> Variable:
    attributes = dict(source.attrs)
    named = getattr(source.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS") or ()

    def read(where: tuple[slice, ...]) -> tuple[Array, Array]:
        values = np.asarray(source[where] if where else source[...])
        missing = attributes.get("_FillValue")
        return values, valid(values, missing if isinstance(missing, int | float) else None)

    shape = tuple(int(size) for size in source.shape)
    return Variable(shape, _kind(source.dtype), tuple(map(str, named)), attributes, tuple(source.chunks), read)


def _kind(dtype: Any) -> str:
    """What values are: integer, float, complex, or the type's own name."""
    return {"i": "integer", "u": "integer", "b": "integer", "f": "float", "c": "complex"}.get(dtype.kind, str(dtype))


Opened = Callable[[Path, ExitStack], tuple[dict[str, Variable], Mapping[str, Any]]]


def _judged(opened: Opened, left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    with ExitStack() as open_:
        (one, own), (other, others) = opened(left, open_), opened(right, open_)
        notes = [f"attribute {name} differs" for name in _unequal(own, others) if name not in VOLATILE]
        apart = [*_apart(one, other)]
        if apart:
            return Judgement(Verdict.DIFFERENT, f"The variables do not fit: {'; '.join(apart[:10])}.", {}, tuple(notes))
        if len(one) > MOST_VARIABLES:
            raise ValueError(f"it has {len(one)} variables, more than the {MOST_VARIABLES} that are compared")
        notes += [
            f"attribute {key} of {name} differs"
            for name, variable in one.items()
            for key in _unequal(variable.attributes, other[name].attributes)
            if key not in VOLATILE
        ]
        found = {name: _difference(one[name], other[name], tolerance) for name in one}
        told = {
            name: {"shape": list(one[name].shape), "type": one[name].kind, **item.to_json()}
            for name, item in found.items()
        }
    numbers = {"variables": told}
    if all(item.same for item in found.values()):
        return Judgement(
            Verdict.EQUIVALENT, "Every value is the same; only how it is written differs.", numbers, tuple(notes)
        )
    verdict = Verdict.EQUIVALENT if all(item.fits for item in found.values()) else Verdict.DIFFERENT
    return Judgement(verdict, _sentence(found), numbers, tuple(notes))


def _apart(one: Mapping[str, Variable], other: Mapping[str, Variable]) -> Iterator[str]:
    for name in sorted({*one, *other}):
        label = name or "the array"
        if name not in one or name not in other:
            yield f"{label} only in the {'first' if name in one else 'second'}"
            continue
        a, b = one[name], other[name]
        if a.shape != b.shape:
            yield f"{label} is {' x '.join(map(str, a.shape))} against {' x '.join(map(str, b.shape))}"
        elif a.dimensions != b.dimensions:
            yield f"{label} has dimensions {', '.join(a.dimensions)} against {', '.join(b.dimensions)}"
        elif a.kind != b.kind:
            yield f"{label} is {a.kind} against {b.kind}"
        for key in _unequal(a.attributes, b.attributes):
            if key in SIGNIFICANT:
                yield f"{key} of {label} is {a.attributes.get(key)!r:.60} against {b.attributes.get(key)!r:.60}"


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*one, *other}):
        if key not in one or key not in other or not np.array_equal(one[key], other[key]):
            yield key


def _difference(one: Variable, other: Variable, tolerance: Tolerance) -> Difference:
    found = Difference(tolerance, whole=one.kind == "integer")
    numeric = one.kind in ("integer", "float", "complex")
    for where in blocks(one.shape, one.chunks):
        (left, has_left), (right, has_right) = one.read(where), other.read(where)
        if not numeric:  # texts and the like agree or do not
            left, right = np.zeros(left.shape, np.int8), (left != right).astype(np.int8)
            has_left = has_right = np.ones(left.shape, bool)
        found.add(left, right, has_left, has_right, tuple(part.start for part in where))
    return found


def blocks(shape: tuple[int, ...], chunks: tuple[int, ...], most: int = BLOCK) -> Iterator[tuple[slice, ...]]:
    """Parts that cover a shape, each whole chunks, as large as the bound allows. Raises ValueError for giant chunks."""
    size = [max(1, min(part, whole)) for part, whole in zip(chunks, shape, strict=True)]
    if prod(size) > MOST_CHUNK:
        raise ValueError(f"its chunks of {prod(size):,} values are larger than what is compared")
    for axis in reversed(range(len(shape))):
        while size[axis] < shape[axis] and prod(size) * 2 <= most:
            size[axis] = min(size[axis] * 2, shape[axis])
    starts = [range(0, whole, part) for whole, part in zip(shape, size, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + part, whole)) for start, part, whole in zip(corner, size, shape, strict=True)
        )


def _sentence(found: Mapping[str, Difference]) -> str:
    values = sum(item.compared + item.one_sided for item in found.values())
    outside = sum(item.outside + item.one_sided for item in found.values())
    name, most = max(found.items(), key=lambda pair: (pair[1].outside + pair[1].one_sided, pair[1].largest))
    label = f"in {name}" if name else "there"
    if not outside:
        return f"All {values:,} values agree within the tolerance; the largest difference is {most.largest:g}, {label}."
    told = f"{shared(outside, values, 'values')} differ by more than the tolerance"
    return f"{told}, most of them {label}, at most by {most.largest:g}."
