"""GeoTIFF, COG, PNG and JPEG: grid, reference system, nodata, and every pixel of every band.

numbers: left, right {width, height, bands, types, crs, transform, nodata}, bands [see `Difference`; atCoordinates].
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from broker.results.compare_numbers import Array, Difference
from broker.results.compare_picture import Picture
from broker.results.verdict import Judgement, Tolerance, Verdict, shared

# Of the many drivers that GDAL has: these read one file, and nothing beside it.
DRIVERS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG"}  # else GTiff
BLOCK = 1024  # pixels along each side of what is in memory at a time
MOST_BANDS = 1000
_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,
    "GDAL_NUM_THREADS": 1,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "none",
    "GTIFF_HONOUR_NEGATIVE_SCALEY": "YES",
}


def compare(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    """Raises OSError or ValueError for what cannot be read."""
    with warnings.catch_warnings(), rasterio.Env(**_OPTIONS):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with (
                rasterio.open(left, driver=_driver(left)) as one,
                rasterio.open(right, driver=_driver(right)) as other,
            ):
                return _judged(one, other, tolerance)
        except RasterioError as error:
            cause = error.__cause__ or error
            raise ValueError(str(cause)) from error


def _driver(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(8)
    return next((driver for beginning, driver in DRIVERS.items() if head.startswith(beginning)), "GTiff")


def _judged(one: Any, other: Any, tolerance: Tolerance) -> Judgement:
    sides = {"left": _described(one), "right": _described(other)}
    apart = [*_grid(one, other, tolerance)]
    if apart:
        return Judgement(Verdict.DIFFERENT, f"The rasters do not fit: {'; '.join(apart)}.", sides)
    if one.count > MOST_BANDS:
        raise ValueError(f"it has {one.count} bands, more than the {MOST_BANDS} that are compared")
    picture = Picture(one.height, one.width)
    bands = [_band(one, other, number, tolerance, picture) for number in range(1, one.count + 1)]
    numbers: dict[str, Any] = {**sides, "bands": [_told(band, one) for band in bands]}
    notes = tuple(_notes(sides["left"], sides["right"]))
    if all(band.same for band in bands):
        sentence = "Every pixel is the same; only how the file is written differs."
        return Judgement(Verdict.EQUIVALENT, sentence, numbers, notes)
    verdict = Verdict.EQUIVALENT if all(band.fits for band in bands) else Verdict.DIFFERENT
    return Judgement(verdict, _sentence(bands, verdict), numbers, notes, picture.png())


def _described(source: Any) -> dict[str, Any]:
    return {
        "width": source.width,
        "height": source.height,
        "bands": source.count,
        "types": sorted(set(source.dtypes)),
        "crs": None if source.crs is None else str(source.crs.to_string())[:200],
        "transform": [float(value) for value in source.transform[:6]],
        "nodata": None if source.nodata is None else str(source.nodata),
    }


def _grid(one: Any, other: Any, tolerance: Tolerance) -> Iterator[str]:
    """What makes that pixels cannot be held against each other."""
    if (one.width, one.height) != (other.width, other.height):
        yield f"{one.width} x {one.height} pixels against {other.width} x {other.height}"
    if one.count != other.count:
        yield f"{one.count} bands against {other.count}"
    if one.crs != other.crs:
        yield f"reference system {_crs(one)} against {_crs(other)}"
    # No corner of one may be further from the other's than a thousandth of a pixel.
    reach = tolerance.coordinates + 1e-3 * max(abs(one.transform.a), abs(one.transform.b), abs(one.transform.e))
    corners = ((0, 0), (one.width, 0), (0, one.height))
    far = max(max(map(abs, np.subtract(one.transform * at, other.transform * at))) for at in corners)
    if not far <= reach:
        yield f"the grid lies {far:g} units of the reference system away"
    for number, (a, b) in enumerate(zip(one.dtypes, other.dtypes, strict=False), 1):
        if (np.dtype(a).kind in "iub") != (np.dtype(b).kind in "iub"):
            yield f"band {number} is {a} against {b}"


def _crs(source: Any) -> str:
    return "none" if source.crs is None else str(source.crs.to_string())[:80]


def _band(one: Any, other: Any, number: int, tolerance: Tolerance, picture: Picture) -> Difference:
    types = (np.dtype(one.dtypes[number - 1]), np.dtype(other.dtypes[number - 1]))
    found = Difference(tolerance, whole=all(kind.kind in "iub" for kind in types))
    for row, height in picture.rows(BLOCK):
        for column, width in picture.columns(BLOCK):
            window = Window(column, row, width, height)
            blocks = [_read(source, number, window) for source in (one, other)]
            (left, has_left), (right, has_right) = blocks
            picture.add(found.add(left, right, has_left, has_right, (row, column)), row, column)
    return found


def _read(source: Any, number: int, window: Window) -> tuple[Array, Array]:
    """A block, and where it has data: not nodata, not masked, not NaN."""
    values = source.read(number, window=window)
    has = source.read_masks(number, window=window) != 0
    if values.dtype.kind in "fc":
        has &= ~np.isnan(values)
    return values, has


def _told(band: Difference, source: Any) -> dict[str, Any]:
    told = band.to_json()
    if band.where is not None:
        row, column = band.where
        x, y = source.transform * (column + 0.5, row + 0.5)
        told["atCoordinates"] = [float(x), float(y)]
    return told


def _notes(left: dict[str, Any], right: dict[str, Any]) -> Iterator[str]:
    if left["nodata"] != right["nodata"]:
        yield f"nodata is {left['nodata']} against {right['nodata']}; what has no data was compared, not how it is said"
    if left["types"] != right["types"]:
        yield f"values are {', '.join(left['types'])} against {', '.join(right['types'])}"


def _sentence(bands: list[Difference], verdict: Verdict) -> str:
    values = sum(band.compared + band.one_sided for band in bands)
    outside, alone = sum(band.outside for band in bands), sum(band.one_sided for band in bands)
    largest = max(band.largest for band in bands)
    if verdict is Verdict.EQUIVALENT and not outside and not alone:
        return f"All {values:,} pixels agree within the tolerance; the largest difference is {largest:g}."
    parts = [f"{shared(outside, values, 'pixels')} differ by more than the tolerance, at most by {largest:g}"]
    if alone:
        parts.append(f"{shared(alone, values, 'pixels')} have data on one side only")
    end = ", within the share that may" if verdict is Verdict.EQUIVALENT else ""
    return "; ".join(parts) + end + "."
