"""Bounds that a package's author set on values by JSON schema keywords (`earthcode:schema`)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from broker.packages.describe import OF_ARRAYS

# Formats whose mistakes are worth a word at once; the others are the package's to judge.
FORMATS = {
    "date": r"\d{4}-\d{2}-\d{2}",
    "date-time": r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:?\d{2})?",
    "email": r"[^@\s]+@[^@\s]+",
    "uuid": r"(urn:uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "uri": r"[A-Za-z][A-Za-z0-9+.-]*:\S+",
}


def misfits(value: Any, extra: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Where (a JSON pointer below the value) and how a value does not keep to JSON schema keywords."""
    if isinstance(value, list):
        if len(value) < extra.get("minItems", 0):
            yield place, f"has {len(value)} items, but must have at least {extra['minItems']}"
        if len(value) > extra.get("maxItems", math.inf):
            yield place, f"has {len(value)} items, but must have at most {extra['maxItems']}"
        single = {key: one for key, one in extra.items() if key not in OF_ARRAYS}
        for index, one in enumerate(value):
            yield from misfits(one, single, f"{place}/{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((place, detail) for detail in _numbers(value, extra))
    elif isinstance(value, str):
        yield from ((place, detail) for detail in _texts(value, extra))


def _numbers(value: float, extra: Mapping[str, Any]) -> list[str]:
    found = []
    least, most = extra.get("minimum"), extra.get("maximum")
    if isinstance(least, int | float) and (value < least or (extra.get("exclusiveMinimum") is True and value == least)):
        found.append(f"is {value}, but must be {'more than' if extra.get('exclusiveMinimum') else 'at least'} {least}")
    if isinstance(most, int | float) and (value > most or (extra.get("exclusiveMaximum") is True and value == most)):
        found.append(f"is {value}, but must be {'less than' if extra.get('exclusiveMaximum') else 'at most'} {most}")
    if isinstance(extra.get("enum"), list) and value not in extra["enum"]:
        found.append(f"is {value}, but must be one of {', '.join(map(str, extra['enum']))}")
    return found


def _texts(value: str, extra: Mapping[str, Any]) -> list[str]:
    found = []
    least, most, pattern = extra.get("minLength"), extra.get("maxLength"), extra.get("pattern")
    if isinstance(least, int) and len(value) < least:
        found.append(f"has {len(value)} characters, but must have at least {least}")
    if isinstance(most, int) and len(value) > most:
        found.append(f"has {len(value)} characters, but must have at most {most}")
    if isinstance(extra.get("enum"), list) and value not in extra["enum"]:
        near = get_close_matches(value, [str(one) for one in extra["enum"]], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        found.append(f"is {value[:100]!r}, but must be one of {', '.join(map(str, extra['enum']))}{hint}")
    if isinstance(pattern, str) and len(pattern) <= 200 and len(value) <= 1000 and not _quadratic(pattern):
        try:
            fits = re.search(pattern, value) is not None
        except re.error:
            fits = True
        if not fits:
            found.append(f"is {value[:100]!r}, which does not fit the pattern {pattern}")
    return found


def _quadratic(pattern: str) -> bool:
    """True for patterns of a stranger that could take for ever: repeated groups, back references."""
    return re.search(r"\)[*+{]|\\[1-9]|\(\?", pattern) is not None or len(re.findall(r"[*+{]", pattern)) > 3
