"""What comparing two outputs says: identical, equivalent or different, with numbers and a sentence."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LONGEST = 500  # characters of a sentence or note
MOST_NOTES = 20


class Verdict(StrEnum):
    """`identical`: the same bytes. `equivalent`: the same content within the tolerance. `different`: all else."""

    IDENTICAL = "identical"
    EQUIVALENT = "equivalent"
    DIFFERENT = "different"


_ORDER = tuple(Verdict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several; identical of none."""
    return max(verdicts, key=_ORDER.index, default=Verdict.IDENTICAL)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far values may be from each other and still count as equal.

    Floating point numbers a, b are equal if |a - b| <= absolute + relative * max(|a|, |b|). Whole numbers are often
    classes or identifiers, so only `absolute` holds for them. `coordinates`: of geometries, in their units, absolute.
    `share`: of the values of an output, how many may lie outside (0 to 1).
    """

    relative: float = 1e-6
    absolute: float = 1e-9
    coordinates: float = 1e-7
    share: float = 0.0

    def __post_init__(self) -> None:
        for name, value in self.to_json().items():
            if not 0 <= value < float("inf") or (name == "share" and value > 1):
                raise ValueError(f"{name} is {value}, but must be {'from 0 to 1' if name == 'share' else '0 or more'}")

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("relative", "absolute", "coordinates", "share")}

    def close(self, left: float, right: float) -> bool:
        """Whether two numbers count as equal; two NaN do."""
        if left == right or (left != left and right != right):
            return True
        far = abs(left - right)
        if isinstance(left, int) and isinstance(right, int):
            return far <= self.absolute
        return far <= self.absolute + self.relative * max(abs(left), abs(right)) < float("inf")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one output: `numbers` is JSON (format by format, see the modules `compare_*`), `picture` a PNG."""

    verdict: Verdict
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    picture: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"verdict": self.verdict.value, "sentence": self.sentence[:LONGEST]}
        if self.numbers:
            found["numbers"] = dict(self.numbers)
        if self.notes:
            found["notes"] = [note[:LONGEST] for note in self.notes[:MOST_NOTES]]
        if self.picture is not None:
            found["picture"] = b64encode(self.picture).decode("ascii")
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Judgement:
        """Raises ValueError, KeyError or TypeError for what is no judgement."""
        picture, notes, numbers = value.get("picture"), value.get("notes", []), value.get("numbers", {})
        if not isinstance(numbers, dict) or not isinstance(notes, list) or not isinstance(value["sentence"], str):
            raise TypeError("not a judgement")
        return cls(
            Verdict(value["verdict"]),
            value["sentence"][:LONGEST],
            numbers,
            tuple(str(note)[:LONGEST] for note in notes[:MOST_NOTES]),
            None if picture is None else b64decode(picture, validate=True),
        )


def shared(count: int, of: int, noun: str) -> str:
    """`3 of 1000 pixels (0.3 %)`."""
    part = 100 * count / of if of else 0.0
    return f"{count:,} of {of:,} {noun} ({part:.2g} %)"
