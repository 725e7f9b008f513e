"""Bounding boxes and GeoJSON of execute requests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.packages.staged import Misfit, said
from broker.packages.types import CRS84

_CRS84 = re.compile(r"(https?://www\.opengis\.net/def/crs/OGC/[\d.]+/|urn:ogc:def:crs:OGC:[\d.]*:|OGC:)(CRS84h?)", re.I)
_CRS = re.compile(
    r"https?://www\.opengis\.net/def/crs/[\w.]+/[\w.]+/[\w.]+|urn:ogc:def:crs:[\w.]+:[\w.]*:[\w.]+|\[?[A-Za-z]+:\w+\]?"
)


def bounding_box(raw: Any, symbols: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """The CWL record of a bounding box: `{bbox: [4 or 6 numbers], crs}`; a bare array is taken for CRS84.

    `symbols`: the reference systems that the type names, [] for any. Raises Misfit.
    """
    whole = {"bbox": raw} if isinstance(raw, list) else raw
    if not isinstance(whole, Mapping) or not isinstance(whole.get("bbox"), list):
        raise Misfit(f'is {said(raw)}, but must be a bounding box: {{"bbox": [west, south, east, north], "crs": …}}')
    extra = [str(key) for key in whole if key not in ("bbox", "crs")]
    if extra:
        raise Misfit(f"has a member that a bounding box does not have: {extra[0]!r}")
    numbers = whole["bbox"]
    if len(numbers) not in (4, 6):
        raise Misfit(f"has {len(numbers)} numbers in bbox, but must have 4 (or 6, with heights)")
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in numbers):
        raise Misfit("has a bbox of other things than numbers")
    crs = whole.get("crs") or CRS84
    if not isinstance(crs, str) or not (_CRS84.fullmatch(crs) or _CRS.fullmatch(crs)):
        raise Misfit(f"has the crs {str(crs)[:100]!r}, which is not a reference system; write {CRS84}")
    known = _CRS84.fullmatch(crs)
    if known:
        _in_range(numbers)
    if symbols:
        crs = _symbol(crs, known[2] if known else None, symbols)
    value: dict[str, Any] = {"bbox": [float(one) for one in numbers]}
    if "crs" in fields:
        value["crs"] = crs
    return value


def _in_range(numbers: Sequence[float]) -> None:
    south, north = (numbers[1], numbers[3]) if len(numbers) == 4 else (numbers[1], numbers[4])
    west, east = (numbers[0], numbers[2]) if len(numbers) == 4 else (numbers[0], numbers[3])
    if not -90 <= south <= north <= 90:
        raise Misfit(
            "has latitudes that are not south <= north within -90 to 90; the order is west, south, east, north"
        )
    if not (-360 <= west <= 360 and -360 <= east <= 360):
        raise Misfit("has longitudes out of -180 to 180; the order is west, south, east, north")


def _symbol(crs: str, short: str | None, symbols: Sequence[str]) -> str:
    """The name by which cwltool knows a symbol: the last part of a URI."""
    for symbol in symbols:
        name = symbol.rpartition("/")[2] if symbol.startswith("http") else symbol
        if crs in (symbol, name) or (short is not None and short.lower() == name.lower()):
            return name
    raise Misfit(f"has the crs {crs!r}, but must be in one of {', '.join(symbols)}")


def complete(raw: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """GeoJSON with the members that eoap's types require and RFC 7946 does not: bbox, id, links, counts."""
    value = dict(raw)
    if kind == "FeatureCollection":
        features = value.get("features")
        count = len(features) if isinstance(features, list) else 0
        for key, missing in (("links", []), ("timeStamp", ""), ("numberMatched", count), ("numberReturned", count)):
            value.setdefault(key, missing)
        return value
    if kind == "Feature":
        value["id"] = str(value.get("id") or "")
    if "bbox" not in value:
        value["bbox"] = extent(value)
    return value


def extent(geometry: Any) -> list[float]:
    """West, south, east, north of a geometry or feature; [] where it has no coordinates."""
    points = list(_points(geometry))
    if not points:
        return []
    xs, ys = [one[0] for one in points], [one[1] for one in points]
    return [min(xs), min(ys), max(xs), max(ys)]


def _points(value: Any, depth: int = 0) -> Iterator[tuple[float, float]]:
    if depth > 12:
        return
    if isinstance(value, Mapping):
        for key in ("coordinates", "geometry", "geometries"):
            yield from _points(value.get(key), depth + 1)
    elif isinstance(value, list):
        if len(value) >= 2 and all(isinstance(one, int | float) for one in value[:2]):
            yield float(value[0]), float(value[1])
        else:
            for one in value:
                yield from _points(one, depth + 1)
