"""From a filled form to the body of an execution, and to the same request on a command line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from broker.api.inputfields import PLACES, Field

_YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(?::[\w./-]+)*\Z")  # what YAML reads as the text that it is
BBOX = ("West", "South", "East", "North")


class Unreadable(Exception):
    """A text of a field that is no value of its kind; says why."""


@dataclass(slots=True)
class Filled:
    """What a form holds: texts by field name, in their order; of files that came with it, their addresses."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The last text of a field, without blanks around it."""
        return (self.texts.get(name) or [""])[-1].strip()

    def of(self, wanted: Field) -> tuple[str, ...]:
        """The texts of an input's field: what the form showed when it was sent, and shows again."""
        given = self.texts.get(f"in:{wanted.id}", [])
        files = self.files.get(f"file:{wanted.id}", [])
        if wanted.kind == "bbox":
            return (*(given + [""] * len(BBOX))[: len(BBOX)], *self.texts.get(f"crs:{wanted.id}", []))
        if wanted.many and not wanted.boxes:
            text = "\n".join(given)
            if text.lstrip().startswith("["):
                return (text,)
            return (*(line.strip() for line in text.splitlines() if line.strip()), *files)
        return tuple(files[-1:] or given)


def request_of(wanted: Sequence[Field], filled: Filled) -> tuple[dict[str, Any], dict[str, str]]:
    """(the body of the execution, what is wrong by input). Inputs that are left empty are left out."""
    inputs: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for one in wanted:
        found = filled.of(one)
        if not any(text.strip() for text in (found[:4] if one.kind == "bbox" else found)):
            if one.must:
                wrong[one.id] = "This is needed." + (" Write [] for an array of nothing." if one.many else "")
            continue
        try:
            inputs[one.id] = _value(one, found)
        except Unreadable as error:
            wrong[one.id] = str(error)
    body: dict[str, Any] = {"inputs": inputs}
    if title := filled.one("title"):
        body["title"] = title
    if tags := [tag.strip() for tag in filled.one("tags").split(",") if tag.strip()]:
        body["tags"] = tags
    if platform := filled.one("platform"):
        body["platform"] = platform
    if filled.one("reuse"):
        body["reuse"] = True
    return body, wrong


def _value(wanted: Field, found: Sequence[str]) -> Any:
    if wanted.kind == "bbox":
        return _bbox(found)
    if wanted.many:
        if len(found) == 1 and found[0].lstrip().startswith("["):
            return _json(found[0])
        return [_single(wanted, text) for text in found]
    return _single(wanted, found[-1])


def _single(wanted: Field, text: str) -> Any:
    match wanted.kind:
        case "integer":
            return _integer(text.strip())
        case "number":
            return _number(text.strip())
        case "boolean":
            if text not in ("true", "false"):
                raise Unreadable("Choose yes or no.")
            return text == "true"
        case "json":
            return _json(text)
        case kind if kind in PLACES.values():
            return _json(text) if text.lstrip().startswith("{") else {"href": text.strip()}
        case "long":
            return text.replace("\r\n", "\n")  # forms send line ends so, whatever was typed
        case _:
            return text


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,30}", text):
        raise Unreadable(f"{text[:60]!r} is not a whole number.")
    return int(text)


def _number(text: str) -> int | float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or "_" in text:
        raise Unreadable(f"{text[:60]!r} is not a number.")
    return int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else value


def _json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise Unreadable("This JSON holds half a character (a lone surrogate).") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise Unreadable("This JSON is nested too deeply.") from None


def _no_constant(name: str) -> Any:
    raise Unreadable(f"This is not JSON: {name} is no number there.")


def directory(files: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A folder that came with the form, as CWL has it. `files`: (path, address of its upload); paths begin with the
    folder's name, and none is a part of another."""
    whole: dict[str, Any] = {}
    for path, href in files:
        *folders, name = path.split("/")
        here: Any = whole
        for one in folders:
            here = here.setdefault(one, {})
            if isinstance(here, str):
                raise Unreadable(f"{path[:200]} lies below a file.")
        here[name] = href
    name, inside = next(iter(whole.items()))
    return _folder(name, inside) if len(whole) == 1 else _folder("folder", whole)


def _folder(name: str, inside: Mapping[str, Any]) -> dict[str, Any]:
    listing = [
        {"class": "File", "basename": one, "location": found} if isinstance(found, str) else _folder(one, found)
        for one, found in inside.items()
    ]
    return {"class": "Directory", "basename": name, "path": name, "listing": listing}


def _bbox(found: Sequence[str]) -> dict[str, Any]:
    numbers = []
    for name, text in zip(BBOX, found, strict=False):
        try:
            numbers.append(_number(text.strip()))
        except Unreadable as error:
            raise Unreadable(f"{name}: {'is needed.' if not text.strip() else error}") from None
    crs = found[4].strip() if len(found) > 4 else ""
    return {"bbox": numbers, **({"crs": crs} if crs else {})}


def command(process_id: str, body: Mapping[str, Any]) -> str:
    """The command line that sends the same request (`broker run`)."""
    parts = ["broker", "run", process_id]
    for name, value in body["inputs"].items():
        for one in value if isinstance(value, list) and len(value) > 1 else [value]:
            parts += ["-i", f"{name}={_yaml(one)}"]
    for member, option in (("title", "--title"), ("platform", "--platform")):
        if member in body:
            parts += [option, body[member]]
    for tag in body.get("tags", ()):
        parts += ["--tag", tag]
    if body.get("reuse"):
        parts.append("--reuse")
    return " ".join(shlex.quote(part) for part in parts)


def _yaml(value: Any) -> str:
    """A value as `broker run -i` reads it: YAML, of which JSON is a part."""
    if isinstance(value, dict) and value.keys() == {"href"}:
        value = value["href"]
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _YAML_WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
