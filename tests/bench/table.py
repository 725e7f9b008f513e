"""One measured figure, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """`ratio` is compared with `reach`: at most it, or at least it where `at_least`."""

    what: str
    ours: str
    peer: str
    ratio: float
    reach: float
    goal: str
    at_least: bool = False

    @property
    def reached(self) -> bool:
        return self.ratio >= self.reach if self.at_least else self.ratio <= self.reach


def show(figures: Sequence[Figure]) -> None:
    table = Table("what", "ours", "beside", "ratio", "reach", "", title="make bench", show_lines=True)
    for figure in figures:
        mark = "reached" if figure.reached else "MISSED"
        table.add_row(figure.what, figure.ours, figure.peer, f"{figure.ratio:.3g}", figure.goal, mark)
    Console(width=160).print(table)
