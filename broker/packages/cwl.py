"""Reads CWL text (YAML 1.2 or JSON) fast and within limits, and holds what an inspection of a package found.

The parser is libyaml's event stream with an own builder: some ten times faster than ruamel.yaml, no recursion, no
object construction, and it keeps line numbers (as ruamel's CommentedMap and CommentedSeq, which schema-salad reads).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from broker.errors import LimitError, PackageError
from broker.jobs.model import Needs

MAX_DOCUMENT = 2 * 2**20  # bytes of one document
MAX_NODES = 100_000  # nodes of one document, aliases expanded
MAX_DEPTH = 64

# The YAML 1.2 core schema, as ruamel.yaml reads it.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|[0-9][0-9_]*|0x[0-9a-fA-F_]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_TAG = "tag:yaml.org,2002:"


def _integer(text: str) -> int | float:
    whole = _whole(text)
    # A `double` written without a point reaches the tool as it was written; descriptions and rows have it as a double.
    return whole if abs(whole) < 10**300 else float(str(whole))


def _whole(text: str) -> int:
    plain = text.replace("_", "").lower()
    sign, digits = (-1, plain[1:]) if plain[0] == "-" else (1, plain.lstrip("+"))
    for prefix, base in (("0b", 2), ("0x", 16), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits)


def _float(text: str) -> float:
    plain = text.replace("_", "").lower()
    value = float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    if "e" in plain and value.is_integer() and abs(value) < 2**53:
        return int(value)  # 1.23e5 reaches a command line as 123000, not as 123000.0
    return value


def _plain(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] in "-+.0123456789" and len(text) <= 400:  # no number that means something is longer
        if _INT.match(text):
            return _integer(text)
        if _FLOAT.match(text):
            return _float(text)
    return text


def _tagged(event: Any, file: str) -> Any:
    """The value of a scalar with an explicit tag of the core schema."""
    tag, text = event.tag, event.value
    try:
        if tag == _TAG + "str" or tag == "!":
            return text
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return _BOOL[text]
        if tag == _TAG + "int":
            return _integer(text[:400])
        if tag == _TAG + "float":
            return _float(text[:400])
    except (ValueError, KeyError, IndexError):
        raise _error(f"{text[:40]!r} is not a {tag.removeprefix(_TAG)}.", event, file) from None
    raise _error(f"The YAML tag {tag.replace(_TAG, '!!')} has no meaning in CWL.", event, file, "Remove the tag.")


def _error(detail: str, event: Any, file: str, hint: str | None = None) -> PackageError:
    mark = event.start_mark
    return PackageError(detail, file=file, line=mark.line + 1, column=mark.column + 1, hint=hint)


class _Builder:
    """Builds CommentedMap and CommentedSeq from YAML events, counting expanded nodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, tuple[Any, int, int]] = {}  # value, nodes, depth
        self.open_anchors: set[str] = set()
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.root: Any = None

    def feed(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self.scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self.start(event, kind is yaml.MappingStartEvent)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            frame = self.stack.pop()
            frame.merge()
            if frame.anchor:
                self.anchors[frame.anchor] = (frame.value, self.nodes - frame.before, frame.height)
                self.open_anchors.discard(frame.anchor)
            self.value(frame.value, frame.line, frame.column, frame.height + 1)
        elif kind is yaml.AliasEvent:
            self.alias(event)

    def count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise LimitError(
                f"{self.file} line {event.start_mark.line + 1}: the document has more than {MAX_NODES} nodes.",
                hint="Split the package, and do not repeat large parts by YAML aliases.",
            )

    def start(self, event: Any, mapping: bool) -> None:
        self.count(1, event)
        if len(self.stack) >= MAX_DEPTH:
            raise _error(f"The document is nested more than {MAX_DEPTH} levels deep.", event, self.file)
        if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
            raise _error(
                f"The YAML tag {event.tag.replace(_TAG, '!!')} has no meaning in CWL.",
                event,
                self.file,
                "Remove the tag.",
            )
        frame = _Frame(self, event, mapping)
        if event.anchor:
            self.open_anchors.add(event.anchor)
        self.stack.append(frame)

    def scalar(self, event: Any) -> None:
        self.count(1, event)
        mark = event.start_mark
        if "\0" in event.value:
            raise _error("A text holds the character NUL.", event, self.file, "Remove \\0.")
        if self.stack and self.stack[-1].wants_key:
            value: Any = event.value  # keys are names, also `1:` and `true:`
        elif event.tag is None or (event.tag == "!" and event.implicit[0]):
            value = _plain(event.value) if event.style is None or event.style == "" else event.value
        else:
            value = _tagged(event, self.file)
        if event.anchor:
            self.anchors[event.anchor] = (value, 1, 0)
        self.value(value, mark.line, mark.column, 0, event)

    def alias(self, event: Any) -> None:
        if event.anchor in self.open_anchors:
            raise _error(f"The alias *{event.anchor} lies inside what it repeats.", event, self.file)
        if event.anchor not in self.anchors:
            raise _error(f"The alias *{event.anchor} repeats an anchor that is not there.", event, self.file)
        value, nodes, height = self.anchors[event.anchor]
        self.count(nodes, event)
        if len(self.stack) + height > MAX_DEPTH:
            raise _error(f"The document is nested more than {MAX_DEPTH} levels deep.", event, self.file)
        self.value(_again(value), event.start_mark.line, event.start_mark.column, height, event)

    def value(self, value: Any, line: int, column: int, height: int, event: Any = None) -> None:
        if self.stack:
            self.stack[-1].add(value, line, column, height, event)
        else:
            self.root = value


def _again(value: Any) -> Any:
    """A copy of what an alias repeats: loading writes ids into steps and processes, and each has its own."""
    if type(value) is CommentedMap:
        made: Any = CommentedMap((key, _again(one)) for key, one in value.items())
    elif type(value) is CommentedSeq:
        made = CommentedSeq(_again(one) for one in value)
    else:
        return value
    for name in ("line", "col", "filename", "data"):
        setattr(made.lc, name, getattr(value.lc, name))
    return made


class _Frame:
    """A mapping or sequence that is being built."""

    __slots__ = ("anchor", "before", "builder", "column", "height", "key", "line", "merges", "positions", "value",
                 "wants_key")  # fmt: skip

    def __init__(self, builder: _Builder, event: Any, mapping: bool) -> None:
        self.builder = builder
        self.anchor = event.anchor
        self.line, self.column = event.start_mark.line, event.start_mark.column
        self.value: Any = CommentedMap() if mapping else CommentedSeq()
        lc = self.value.lc
        lc.line, lc.col, lc.filename = self.line, self.column, builder.file
        self.positions: dict[Any, Any] = {}
        lc.data = self.positions
        self.wants_key = mapping
        self.key: Any = None
        self.merges: list[Any] = []
        self.before = builder.nodes - 1
        self.height = 1

    def add(self, value: Any, line: int, column: int, height: int, event: Any) -> None:
        self.height = max(self.height, height + 1)
        if type(self.value) is CommentedSeq:
            self.positions[len(self.value)] = [line, column]
            self.value.append(value)
        elif self.wants_key:
            self.set_key(value, line, column)
        else:
            name, key_line, key_column = self.key
            self.wants_key = True
            if name == "<<" and isinstance(value, (CommentedMap, CommentedSeq)):
                self.merges.extend(value if isinstance(value, CommentedSeq) else [value])
                return
            self.value[name] = value
            self.positions[name] = [key_line, key_column, line, column]

    def set_key(self, key: Any, line: int, column: int) -> None:
        file = self.builder.file
        if not isinstance(key, str):
            raise PackageError("A key must be a name, not a list or a mapping.", file=file, line=line + 1,
                               column=column + 1, hint="Put quotes around text that holds { } or [ ].")  # fmt: skip
        if key in self.value:
            first = self.positions[key][0] + 1
            raise PackageError(f"The key {key!r} is there twice (first in line {first}).", file=file, line=line + 1,
                               column=column + 1, hint="Remove one of the two.")  # fmt: skip
        self.key = (key, line, column)
        self.wants_key = False

    def merge(self) -> None:
        """YAML merge keys: what the mapping has itself wins, then the earlier merge."""
        for other in self.merges:
            if not isinstance(other, CommentedMap):
                raise PackageError("<< merges mappings only.", file=self.builder.file, line=self.line + 1)
            for key, value in other.items():
                if key not in self.value:
                    self.value[key] = value
                    self.positions[key] = other.lc.data[key]


def decode(body: bytes | str, file: str) -> str:
    """The text of a document: UTF-8, at most `MAX_DOCUMENT` bytes. Raises LimitError, PackageError."""
    if len(body) > MAX_DOCUMENT:
        raise LimitError(
            f"{file} has more than {MAX_DOCUMENT // 2**20} MiB.",
            hint="A package is text that describes; pass data as inputs.",
        )
    if isinstance(body, str):
        return body.removeprefix("\ufeff")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise PackageError("This is not UTF-8 text.", file=file, line=line, hint="Save it as UTF-8.") from None


# JSON writes characters beyond the first 65536 as two escapes, which YAML does not know.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _character(found: re.Match[str]) -> str:
    pair = bytes.fromhex(found[2] + found[3])
    return found[1] + pair.decode("utf-16-be")


def parse(text: str, file: str) -> Any:
    """Parse one YAML 1.2 or JSON document; only the first of several is read.

    Mappings are CommentedMap and lists CommentedSeq, with line and column of each entry in `.lc` (from 0).
    Raises PackageError with file, line and column; LimitError.
    """
    text = _PAIR.sub(_character, decode(text, file))
    builder = _Builder(file)
    try:
        parser: Any = yaml.CBaseLoader(text)
        try:
            while not isinstance(event := parser.get_event(), (yaml.DocumentEndEvent, yaml.StreamEndEvent)):
                builder.feed(event)
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise PackageError(
            f"This is not valid YAML: {problem}.",
            file=file,
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
            hint=_syntax_hint(text, mark, problem),
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        detail = getattr(error, "reason", None) or "unreadable characters"
        raise PackageError(f"This is not valid YAML: {detail}.", file=file, hint="Save it as UTF-8 text.") from None
    return builder.root


def _syntax_hint(text: str, mark: Any, problem: str) -> str | None:
    if mark is None:
        return None
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line:
        return "Indent with spaces, not with a tab."
    if "mapping values are not allowed" in problem:
        return "Put quotes around a text that holds a colon followed by a blank; check the indentation."
    if "[]" in line and "flow" in problem:
        return "Put quotes around a type such as 'File[]' where it stands inside [ ] or { }."
    if "block" in problem or "indent" in problem:
        return "Check the indentation of this line and of the one before."
    return None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a package is, after cwltool resolved it; see `broker.runner.loading.inspect`.

    `process`: class, id (short), label, doc, inputs and outputs (lists of parameters with short ids; types as CWL
    JSON: names of custom types refer to `custom_types`), hints, requirements, and all extension fields (schema.org
    under their full IRIs). `steps`: the steps' names known statically. `practice`: where the package does not keep to
    the best practice for Earth observation (`packages.practice.Finding`, as JSON).
    """

    process: Mapping[str, Any]
    custom_types: Mapping[str, Any] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cwl_version: str = "v1.2"
    practice: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "process": dict(self.process),
            "customTypes": dict(self.custom_types),
            "needs": self.needs.to_json(),
            "steps": list(self.steps),
            "warnings": list(self.warnings),
            "cwlVersion": self.cwl_version,
            "practice": [dict(one) for one in self.practice],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Inspection:
        return cls(
            value["process"],
            value["customTypes"],
            Needs.from_json(value["needs"]),
            tuple(value["steps"]),
            tuple(value["warnings"]),
            value["cwlVersion"],
            tuple(value.get("practice", ())),
        )
