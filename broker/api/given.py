"""The inputs that a job was given, short enough to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from broker.api.catalogs import elsewhere

LONGEST = 1000  # characters of one value
LONGEST_TEXT = 200  # of a text inside it
DEEPEST = 8
MOST_MEMBERS = 20
MOST_INPUTS = 200


@dataclass(frozen=True, slots=True)
class Given:
    """One input: its value as text or JSON; `href`: an address that it names, where that is all it is."""

    name: str
    text: str
    href: str | None = None


def given(inputs: object) -> list[Given]:
    """The inputs of an execute request. Long texts and lists are cut: `GET /jobs/{id}/inputs` has all of it."""
    if not isinstance(inputs, Mapping):
        return []
    return [_one(str(name), value) for name, value in list(inputs.items())[:MOST_INPUTS]]


def _one(name: str, value: Any) -> Given:
    if isinstance(value, Mapping) and isinstance(href := value.get("href", value.get("location")), str):
        return Given(name, _cut(href, LONGEST), elsewhere(href))
    if isinstance(value, str):
        return Given(name, _cut(value, LONGEST))
    return Given(name, _cut(orjson.dumps(_short(value), option=orjson.OPT_INDENT_2).decode(), LONGEST))


def _short(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return _cut(value, LONGEST_TEXT)
    if not isinstance(value, Mapping | list):
        return value
    if depth >= DEEPEST:
        return "…"
    more = [f"… and {len(value) - MOST_MEMBERS} more"] if len(value) > MOST_MEMBERS else []
    if isinstance(value, Mapping) and value.get("class") in ("File", "Directory") and "contents" in value:
        size = f"({len(str(value['contents']))} characters)"
        return {name: size if name == "contents" else _short(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one, depth + 1) for one in value[:MOST_MEMBERS]] + more
    first = {str(name): _short(one, depth + 1) for name, one in list(value.items())[:MOST_MEMBERS]}
    return first | dict.fromkeys(more, "")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text)} characters)"
