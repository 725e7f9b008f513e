"""The picture of a run: inputs, steps and outputs of a record of provenance, as SVG made on the server.

No style sheet and no script: it is an image of its own as well (`<img>`), under a policy that allows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 190, 46, 60, 16, 12
LETTERS = 24  # that fit into a box
MOST = 150  # boxes; of a larger run the rest is only counted
_COLOURS = {  # fill, line: of each kind, dark text on it has a contrast of more than 7 to 1
    "input": ("#eef4fb", "#2b6cb0"),
    "output": ("#eef8f0", "#2f7a44"),
    "successful": ("#f7f7f5", "#555555"),
    "replayed": ("#f4effa", "#6b46a1"),
    "failed": ("#fdeeee", "#b3261e"),
    "other": ("#f7f7f5", "#8a8a8a"),
}


@dataclass
class _Box:
    """A box: what stands in it (two lines), its kind, and what it comes after."""

    name: str
    note: str
    kind: str
    after: set[str] = field(default_factory=set)
    column: int = 0


def picture(record: Mapping[str, Any]) -> str:
    """The run of a record (`broker.jobs.record`) as an SVG document. Runs of one scattered step are one box."""
    boxes = _boxes(record)
    columns = _columns(boxes)
    places = {
        name: (EDGE + column * (WIDTH + GAP_X), EDGE + row * (HEIGHT + GAP_Y))
        for column, names in enumerate(columns)
        for row, name in enumerate(names)
    }
    width = 2 * EDGE + max(1, len(columns)) * (WIDTH + GAP_X) - GAP_X
    height = 2 * EDGE + max([1, *map(len, columns)]) * (HEIGHT + GAP_Y) - GAP_Y
    lines = [_line(places[one], places[name]) for name, box in boxes.items() for one in sorted(box.after)]
    shown = [_drawn(box, *places[name]) for name, box in boxes.items()]
    job = record["job"]
    title = f"Run of {record['process'].get('title') or record['process']['id']}: {job['phase']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" font-family="system-ui, sans-serif" font-size="13"><title>{_text(title)}</title>'
        f"<desc>{_text(described(record))}</desc>"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(lines)}{"".join(shown)}</svg>'
    )


def described(record: Mapping[str, Any]) -> str:
    """The picture in words: what each step took and what the job gave."""
    boxes = _boxes(record)
    told = [f"{box.name} ({box.note})" if box.note else box.name for box in boxes.values() if box.kind not in _ENDS]
    given = [box.name for box in boxes.values() if box.kind == "output"]
    steps = ", then ".join(told) if told else "no step ran"
    return f"Steps: {steps}. Outputs: {', '.join(given) or 'none'}."


_ENDS = ("input", "output")


def _boxes(record: Mapping[str, Any]) -> dict[str, _Box]:
    boxes: dict[str, _Box] = {}
    makers: dict[str, str] = {}  # path -> the box that it comes from
    for name, found in record["inputs"].items():
        if not isinstance(found, Mapping) and len(boxes) < MOST:
            boxes[f"input:{name}"] = _Box(name, _files(found), "input")
            makers |= {one["path"]: f"input:{name}" for one in found}
    counts: dict[str, int] = {}
    for step in record["steps"]:
        name = f"step:{_stem(step['name'])}"
        counts[name] = counts.get(name, 0) + 1
        makers |= dict.fromkeys(step.get("outputs") or (), name)
        if name not in boxes and len(boxes) < MOST:
            boxes[name] = _Box(_stem(step["name"]), "", "other")
        if name in boxes and boxes[name].kind != "failed":
            boxes[name].kind = step["status"] if step["status"] in _COLOURS else "other"
    for step in record["steps"]:
        name = f"step:{_stem(step['name'])}"
        if name in boxes:
            came = {_maker(path, makers) for path in step.get("inputs") or ()}
            boxes[name].after |= {one for one in came if one in boxes and one != name}
            boxes[name].note = f"{counts[name]} runs" if counts[name] > 1 else _took(step)
    for name, found in record["outputs"].items():
        if not isinstance(found, Mapping) and len(boxes) < MOST:
            after = {_maker(str(one.get("source")), makers) for one in found}
            boxes[f"output:{name}"] = _Box(name, _files(found), "output", {one for one in after if one in boxes})
    return boxes


def _maker(path: str, makers: Mapping[str, str]) -> str:
    """The box that a path comes from: of itself, or of a directory that it is in."""
    while path:
        if path in makers:
            return makers[path]
        path = path.rpartition("/")[0]
    return ""


def _stem(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _files(found: list[Mapping[str, Any]]) -> str:
    return f"{len(found)} files" if len(found) != 1 else str(found[0]["path"]).rpartition("/")[2]


def _took(step: Mapping[str, Any]) -> str:
    cpu = (step.get("measured") or {}).get("cpu")
    return str(step["status"]) if cpu is None else f"{step['status']}, {cpu:.3g} s of CPU"


def _columns(boxes: Mapping[str, _Box]) -> list[list[str]]:
    """The names by column: each right of all that it comes after; outputs last."""
    for _ in range(len(boxes)):
        moved = False
        for box in boxes.values():
            column = 1 + max((boxes[one].column for one in box.after), default=-1 if box.kind == "input" else 0)
            if column > box.column and column <= len(boxes):
                box.column, moved = column, True
        if not moved:
            break
    last = max((box.column for box in boxes.values() if box.kind != "output"), default=0)
    for box in boxes.values():
        if box.kind == "output":
            box.column = last + 1
    found = [[name for name, box in boxes.items() if box.column == column] for column in range(last + 2)]
    return [names for names in found if names]


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y, to_x, to_y = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    if to_x - x > GAP_X:  # past other boxes: between the rows, where none is
        lane, turn = y + (HEIGHT + GAP_Y) // 2, GAP_X // 2
        down, up = x + turn, to_x - turn
        path = f"M{x} {y}C{down} {y} {x} {lane} {down} {lane}H{up}C{to_x - 6} {lane} {up} {to_y} {to_x - 6} {to_y}"
    else:
        bend = (x + to_x) // 2
        path = f"M{x} {y}C{bend} {y} {bend} {to_y} {to_x - 6} {to_y}"
    arrow = f"M{to_x} {to_y}l-7 -4v8z"
    return f'<path d="{path}" fill="none" stroke="#8a8a8a" stroke-width="1.5"/><path d="{arrow}" fill="#8a8a8a"/>'


def _drawn(box: _Box, x: int, y: int) -> str:
    fill, line = _COLOURS[box.kind]
    return "".join(
        [
            f"<g><title>{_text(f'{box.name}: {box.note}' if box.note else box.name)}</title>",
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="{line}"/>',
            *_written(box, x + 10, y),
            "</g>",
        ]
    )


def _written(box: _Box, x: int, y: int) -> Iterator[str]:
    yield f'<text x="{x}" y="{y + 19}" fill="#1a1a1a" font-weight="600">{_text(_cut(box.name))}</text>'
    yield f'<text x="{x}" y="{y + 37}" fill="#444444" font-size="11">{_text(_cut(box.note, 30))}</text>'


def _cut(text: str, most: int = LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(text: str) -> str:
    """Text of others in XML: without what XML cannot hold."""
    return escape("".join(char for char in text if char.isprintable()))
