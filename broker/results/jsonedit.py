"""Small edits of JSON text that leave everything else as it is: order, indentation, line ends, the last line's end."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

_DECODER = json.JSONDecoder()
Span = tuple[int, int]


def with_link(text: str, link: Mapping[str, Any]) -> str:
    """A document with a link in its `links`: at their end where there is none with its rel and href; where there is
    one, that gets its title. Raises ValueError for what is not a JSON object."""
    found = _member(text, "links")
    for start, end in _elements(text, found[0]) if found else ():
        old = json.loads(text[start:end])
        if old.get("rel") == link["rel"] and _same(old.get("href"), link["href"]):
            return text if old.get("title") == link.get("title") else _retitled(text, (start, end), link["title"])
    return with_value(text, "links", dict(link))


def with_value(text: str, name: str, value: Any) -> str:
    """A document with a value in an array of it, at its end; the array is made where there is none."""
    span = _member(text, name)
    if span is None:
        return with_member(text, name, [value])
    elements = list(_elements(text, span[0]))
    if any(json.loads(text[start:end]) == value for start, end in elements):
        return text
    if not elements:
        array = _written([value], _indent(text, span[0]), _unit(text), _line_end(text))
        return text[: span[0]] + array + text[span[1] :]
    before = text[span[0] + 1 : elements[0][0]]
    return _after(text, elements[-1][1], before, value)


def with_member(text: str, name: str, value: Any) -> str:
    """A document with a member; at its end where there is none of this name, else in its place."""
    span = _member(text, name)
    if span is not None:
        if json.loads(text[span[0] : span[1]]) == value:
            return text
        return text[: span[0]] + _written(value, _indent(text, span[0]), _unit(text), _line_end(text)) + text[span[1] :]
    members = list(_members(text, _begin(text)))
    if not members:
        raise ValueError("an object without members")
    first_key = text.index('"', _begin(text))
    return _after(text, members[-1][2], text[_begin(text) + 1 : first_key], value, f"{json.dumps(name)}: ")


def _after(text: str, at: int, gap: str, value: Any, label: str = "") -> str:
    """The value inserted behind a place, with what stands before its like (`gap`) before it."""
    lines = "\n" in gap
    indent = gap.rpartition("\n")[2] if lines else ""
    shown = _written(value, indent, _unit(text), _line_end(text)) if lines else json.dumps(value, ensure_ascii=False)
    return f"{text[:at]},{gap if lines else ' '}{label}{shown}{text[at:]}"


def _retitled(text: str, span: Span, title: Any) -> str:
    for name, start, end in _members(text, span[0]):
        if name == "title":
            return text[:start] + json.dumps(title, ensure_ascii=False) + text[end:]
    edited = with_member(text[span[0] : span[1]], "title", title)
    return text[: span[0]] + edited + text[span[1] :]


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) and posixpath.normpath(one) == posixpath.normpath(str(other))


def _written(value: Any, indent: str, unit: str, line_end: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return (line_end + indent).join(lines)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _unit(text: str) -> str:
    """The indentation of one level: that of the first member."""
    indent = _indent(text, text.index('"', _begin(text)))
    return indent or "  "


def _indent(text: str, at: int) -> str:
    """The white space that the line of a place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def _begin(text: str) -> int:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    return at


def _member(text: str, name: str) -> Span | None:
    """Where the value of a member of the document stands; of several with one name the last counts."""
    found = [(start, end) for key, start, end in _members(text, _begin(text)) if key == name]
    return found[-1] if found else None


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        end = _DECODER.raw_decode(text, start)[1]
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _elements(text: str, at: int) -> Iterator[Span]:
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        yield at, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
