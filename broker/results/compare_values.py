"""Values such as JSON has them, held against each other with a tolerance: what differs, where, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.results.verdict import Tolerance

MOST_TOLD = 10


class Values:
    """Counts single values; `told` says where the first ones differ."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self._of_places = replace(tolerance, relative=0.0, absolute=tolerance.coordinates)
        self.compared = self.unequal = self.outside = 0
        self.largest = 0.0
        self.told: list[str] = []

    def compare(self, left: Any, right: Any, place: str, *, coordinates: bool = False) -> bool:
        """Whether two values agree; `coordinates`: numbers in them are places."""
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return self._members(left, right, place, coordinates)
        if _is_list(left) and _is_list(right):
            if len(left) != len(right):
                return self._differs(place, f"{len(left)} values", f"{len(right)} values")
            agree = [
                self.compare(one, other, f"{place}/{index}", coordinates=coordinates)
                for index, (one, other) in enumerate(zip(left, right, strict=True))
            ]
            return all(agree)
        self.compared += 1
        if _is_number(left) and _is_number(right):
            return self._numbers(left, right, place, coordinates)
        if type(left) is type(right) and left == right:
            return True
        return self._differs(place, left, right, counted=True)

    def _members(self, left: Mapping[str, Any], right: Mapping[str, Any], place: str, coordinates: bool) -> bool:
        agree = True
        for name in sorted({*left, *right}, key=str):
            here = f"{place}/{name}"
            if name not in left or name not in right:
                side = "the first" if name in left else "the second"
                agree = self._differs(here, f"only in {side}", None)
            else:
                agree &= self.compare(left[name], right[name], here, coordinates=coordinates)
        return agree

    def _numbers(self, left: float, right: float, place: str, coordinates: bool) -> bool:
        if left == right or (left != left and right != right):
            return True
        self.unequal += 1
        self.largest = max(self.largest, abs(left - right))
        rule = self._of_places if coordinates else self.tolerance
        if rule.close(left, right):
            return True
        self.unequal -= 1  # counted once, below
        return self._differs(place, left, right, counted=True)

    def _differs(self, place: str, left: Any, right: Any, *, counted: bool = False) -> bool:
        if not counted:
            self.compared += 1
        self.unequal += 1
        self.outside += 1
        if len(self.told) < MOST_TOLD:
            both = (
                _short(left) if right is None and str(left).startswith("only") else f"{_short(left)}, {_short(right)}"
            )
            self.told.append(f"{place or '/'}: {both}")
        return False

    @property
    def fits(self) -> bool:
        return self.outside <= self.tolerance.share * self.compared

    def to_json(self) -> dict[str, Any]:
        largest = self.largest if self.largest < float("inf") else str(self.largest)
        return {
            "compared": self.compared,
            "unequal": self.unequal,
            "outsideTolerance": self.outside,
            "maximumDifference": largest,
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.endswith(("values", "the first", "the second")) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
