"""Where data lies: bounding boxes and outlines, in degrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def points(value: Any) -> Iterator[tuple[float, float]]:
    """The points in coordinates, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, list) or not one:
            continue
        if all(isinstance(number, int | float) for number in one) and len(one) >= 2:
            yield one[0], one[1]
        else:
            waiting += one


def box_problem(box: Any) -> str | None:
    """Why this is no bbox; None where it is one."""
    if not isinstance(box, list) or len(box) not in (4, 6) or not all(isinstance(one, int | float) for one in box):
        return "A bbox is [west, south, east, north] in degrees."
    half = len(box) // 2
    south, north = box[1], box[half + 1]
    if not -90 <= south <= north <= 90 or not all(-180 <= x <= 180 for x in (box[0], box[half])):
        return f"The bbox {box} is not [west, south, east, north] in degrees."
    return None


def rectangle(box: Sequence[float]) -> dict[str, Any]:
    """A bbox as GeoJSON; over the date line as two polygons."""
    half = len(box) // 2
    west, south, east, north = box[0], box[1], box[half], box[half + 1]

    def ring(left: float, right: float) -> list[list[float]]:
        return [[left, south], [right, south], [right, north], [left, north], [left, south]]

    if west <= east:
        return {"type": "Polygon", "coordinates": [ring(west, east)]}
    return {"type": "MultiPolygon", "coordinates": [[ring(west, 180)], [ring(-180, east)]]}
