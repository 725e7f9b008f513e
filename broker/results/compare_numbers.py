"""Differences and statistics of arrays that come block by block, in memory that does not grow with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from broker.results.verdict import Tolerance

Array = NDArray[Any]


class Statistics:
    """Count, least, most, mean and standard deviation of the valid, finite values."""

    def __init__(self) -> None:
        self.count = 0
        self.least, self.most = float("inf"), float("-inf")
        self._mean = self._squares = 0.0

    def add(self, values: Array) -> None:
        found = np.abs(values) if np.iscomplexobj(values) else values
        found = found.astype(np.float64, copy=False)
        found = found[np.isfinite(found)]
        if not found.size:
            return
        self.least, self.most = min(self.least, float(found.min())), max(self.most, float(found.max()))
        mean, size = float(found.mean()), int(found.size)
        apart, whole = mean - self._mean, self.count + size
        with np.errstate(over="ignore"):
            self._squares += float(((found - mean) ** 2).sum()) + apart * apart * self.count * size / whole
        self._mean += apart * size / whole
        self.count = whole

    def to_json(self) -> dict[str, Any]:
        if not self.count:
            return {"valid": 0}
        deviation = (self._squares / self.count) ** 0.5
        numbers = {"min": self.least, "max": self.most, "mean": self._mean, "std": deviation}
        return {"valid": self.count, **{name: _plain(value) for name, value in numbers.items()}}


class Difference:
    """How far two arrays are from each other where both have values, and where only one has some."""

    def __init__(self, tolerance: Tolerance, *, whole: bool) -> None:
        """`whole`: both hold whole numbers, for which only the absolute tolerance counts."""
        self.tolerance, self.whole = tolerance, whole
        self.compared = self.unequal = self.outside = self.one_sided = 0
        self.largest = 0.0
        self.where: tuple[int, ...] | None = None
        self._sum = self._squares = 0.0
        self.left, self.right = Statistics(), Statistics()

    def add(self, left: Array, right: Array, has_left: Array, has_right: Array, at: tuple[int, ...]) -> Array:
        """One block whose first element is at an index; gives |left - right|, NaN where not both have a value, and
        infinity where only one has."""
        self.left.add(left[has_left])
        self.right.add(right[has_right])
        both = has_left & has_right
        alone = has_left ^ has_right
        with np.errstate(all="ignore"):
            same = (left == right) | (both & _nan(left) & _nan(right))
            wide = _widest(left, right)
            far: Array = np.abs(left.astype(wide) - right.astype(wide)).astype(np.float64)
            allowed = np.full(far.shape, self.tolerance.absolute)
            if not self.whole:
                allowed += self.tolerance.relative * np.maximum(np.abs(left.astype(wide)), np.abs(right.astype(wide)))
        far[same] = 0.0
        far[np.isnan(far)] = np.inf  # one is NaN or an infinity, and the other is not
        outside = both & ~same & ~(np.isfinite(far) & (far <= allowed))
        self.compared += int(both.sum())
        self.one_sided += int(alone.sum())
        self.unequal += int((both & ~same).sum())
        self.outside += int(outside.sum())
        self._take(far, both, at)
        far[~both] = np.nan
        far[alone] = np.inf
        return far

    def _take(self, far: Array, both: Array, at: tuple[int, ...]) -> None:
        if not both.any():
            return
        inner = np.where(both, far, -1.0)
        position = np.unravel_index(int(inner.argmax()), inner.shape)
        largest = float(inner[position])
        if largest > self.largest:
            self.largest = largest
            self.where = tuple(int(here) + start for here, start in zip(position, at, strict=True))
        finite = far[both & np.isfinite(far)]
        self._sum += float(finite.sum())
        with np.errstate(over="ignore"):
            self._squares += float((finite**2).sum())

    @property
    def fits(self) -> bool:
        values = self.compared + self.one_sided
        return self.outside + self.one_sided <= self.tolerance.share * values

    @property
    def same(self) -> bool:
        return not self.unequal and not self.one_sided

    def to_json(self) -> dict[str, Any]:
        many = max(self.compared, 1)
        found = {
            "compared": self.compared,
            "unequal": self.unequal,
            "outsideTolerance": self.outside,
            "onlyOneHasData": self.one_sided,
            "maximumDifference": _plain(self.largest),
            "meanDifference": _plain(self._sum / many),
            "rootMeanSquare": _plain((self._squares / many) ** 0.5),
            "left": self.left.to_json(),
            "right": self.right.to_json(),
        }
        return found if self.where is None else {**found, "at": list(self.where)}


def valid(values: Array, missing: Any = None) -> Array:
    """Where an array has values: not NaN, and not the value that stands for none."""
    has = ~_nan(values)
    if missing is not None and values.dtype.kind in "iufcb":
        has &= values != missing
    return has


def _nan(values: Array) -> Array:
    return np.isnan(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)


def _widest(left: Array, right: Array) -> Any:
    """Of 64-bit integers the difference is taken as a longer float: they may be identifiers."""
    if "c" in (left.dtype.kind, right.dtype.kind):
        return np.complex128
    return np.longdouble if max(left.dtype.itemsize, right.dtype.itemsize) > 4 else np.float64


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if np.isfinite(value) else str(float(value))
