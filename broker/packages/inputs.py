"""Checks the inputs of an execute request against an inspected package, and makes the CWL job order of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from broker.errors import InputError, InputProblem
from broker.jobs.model import StageItem
from broker.packages.bounds import FORMATS, misfits
from broker.packages.cwl import MAX_DEPTH, Inspection
from broker.packages.describe import holds_files, refinement
from broker.packages.geometry import bounding_box, complete
from broker.packages.staged import Misfit, Stager, UploadRef, Uploads, said
from broker.packages.types import crs_symbols, eoap, is_bbox, members, resolve, string_format

__all__ = ["Order", "UploadRef", "check", "job_order"]
MAX_PROBLEMS = 50
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_NUMBERS = (int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Order:
    """A CWL job order whose Files and Directories have a `location` relative to the job's directory
    (`inputs/<id>/<basename>`: a path, not percent-encoded), and what puts their bytes there."""

    job_order: dict[str, Any]
    stage: tuple[StageItem, ...]


def check(inspection: Inspection, inputs: Mapping[str, Any], *, uploads: Uploads | None = None) -> None:
    """Raise InputError where `job_order` would. Without `uploads`, any link with /uploads/ is taken for one."""
    job_order(inspection, inputs, uploads=uploads or _any_upload)


def _any_upload(href: str) -> UploadRef | None:
    return UploadRef(href, "upload") if "/uploads/" in href else None


def job_order(inspection: Inspection, inputs: Mapping[str, Any], *, uploads: Uploads) -> Order:
    """The job order of the `inputs` of an execute request.

    `uploads` gives the upload that an href names, None where it names none. Inputs that are left out stay out:
    the package's defaults fill them in. Raises InputError with every problem and its JSON pointer.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(InputProblem("/inputs", f"is {said(inputs)}, but must be an object of input names"))
    odd = list(islice(unstorable("/inputs", inputs), MAX_PROBLEMS))
    if odd:
        raise InputError(*odd)
    reader = _Reader(inspection.custom_types, Stager(uploads))
    known = {one["id"]: one for one in inspection.process["inputs"]}
    order: dict[str, Any] = {}
    for name in inputs:
        if name not in known and len(reader.problems) < MAX_PROBLEMS:
            reader.problem(pointer("inputs", name), unknown("an input of this process", str(name), list(known)))
    for name, parameter in known.items():
        at = pointer("inputs", name)
        _, nullable = members(parameter["type"])
        if inputs.get(name) is not None:
            order[name] = reader.parameter(at, parameter, inputs[name])
        elif parameter.get("default") is not None:
            if remote(parameter["default"]):
                mark = reader.stager.mark()
                order[name] = reader.value(at, parameter["type"], parameter["default"], name, parameter)
                reader.stager.of_package(mark)
        elif not nullable and "default" not in parameter:
            reader.problem(at, "is missing, and has no default")
    if reader.problems:
        raise InputError(*reader.problems[:MAX_PROBLEMS])
    return Order(order, tuple(reader.stager.items))


def unstorable(at: str, value: Any, depth: int = 0) -> Iterator[InputProblem]:
    """Texts that no database keeps (NUL, halves of surrogate pairs), and values that are nested without end."""
    if isinstance(value, str):
        if _NO_TEXT.search(value):
            yield InputProblem(at, "holds a character that is no text (NUL, or half a surrogate pair)")
    elif depth > MAX_DEPTH and isinstance(value, Mapping | list):
        yield InputProblem(at[:200], f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from unstorable(at, str(key), depth)
            if type(one) not in _NUMBERS:
                yield from unstorable(f"{at}{pointer(key)}", one, depth + 1)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            if type(one) not in _NUMBERS:  # there may be millions of them
                yield from unstorable(f"{at}/{index}", one, depth + 1)


def default_problems(parameters: Sequence[Mapping[str, Any]], custom: Mapping[str, Any]) -> list[str]:
    """What is wrong with the defaults of a package's inputs; those that hold Files are not looked at."""
    reader = _Reader(custom, Stager(lambda href: None))
    for one in parameters:
        if one.get("default") is not None and not holds_files(one["default"]):
            reader.value(one["id"], one["type"], one["default"], "default", one)
    return [f"The default of {one.pointer} {one.detail}." for one in reader.problems]


def pointer(*parts: Any) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def unknown(what: str, name: str, known: list[str]) -> str:
    near = get_close_matches(name[:100], known[:200], 1, 0.6)
    if near:
        return f"is not {what}; did you mean {near[0]!r}?"
    more = ", …" if len(known) > 30 else ""
    return f"is not {what}; it has {', '.join(known[:30]) or 'none'}{more}"


def remote(value: Any) -> bool:
    """True for a default File or Directory that lies at a URL: it is staged like an input."""
    if isinstance(value, list):
        return any(remote(one) for one in value)
    return (
        isinstance(value, Mapping)
        and value.get("class") in ("File", "Directory")
        and str(value.get("location", value.get("path", ""))).startswith(("https://", "http://", "s3://"))
    )


def _nested(raw: Any) -> str | None:
    """`process` or `collection` where a value is a request of Part 3 (a STAC item has a `collection`, too)."""
    if isinstance(raw, Mapping):
        if isinstance(raw.get("process"), str) and set(raw) <= {"process", "inputs", "outputs"}:
            return "process"
        if isinstance(raw.get("collection"), str) and set(raw) <= {"collection", "filter", "properties", "sortBy"}:
            return "collection"
    return None


class _Reader:
    """Reads values by their CWL types. Problems are collected; what a value with problems gives is not used."""

    def __init__(self, custom: Mapping[str, Any], stager: Stager) -> None:
        self.custom = custom
        self.stager = stager
        self.problems: list[InputProblem] = []

    def problem(self, at: str, detail: str) -> None:
        self.problems.append(InputProblem(at, detail))

    def parameter(self, at: str, parameter: Mapping[str, Any], raw: Any) -> Any:
        before = len(self.problems)
        name = parameter["id"]
        value = self.value(at, parameter["type"], raw, folder(name), parameter)
        extra = refinement(parameter)
        if extra and len(self.problems) == before:
            self.problems.extend(InputProblem(at + place, detail) for place, detail in misfits(value, extra))
        return value

    def value(self, at: str, kind: Any, raw: Any, place: str, parameter: Mapping[str, Any]) -> Any:
        """The CWL value of `raw`, read as `kind`; `place` is its folder below `inputs/`."""
        kinds, nullable = members(kind)
        if raw is None:
            if not nullable and kinds != ["Any"]:
                self.problem(at, "is null, but needs a value")
            return None
        if nested := _nested(raw):
            self.problem(at, f"is a nested {nested}, which this server does not take; run it first, and use its result")
            return None
        if len(kinds) == 1:
            return self.single(at, kinds[0], raw, place, parameter)
        return self.either(at, kinds, raw, place, parameter)

    def either(self, at: str, kinds: list[Any], raw: Any, place: str, parameter: Mapping[str, Any]) -> Any:
        """The first alternative that fits; where none does, the problems of the one that came furthest."""
        before, mark = len(self.problems), self.stager.mark()
        best: list[InputProblem] = []
        for kind in kinds:
            value = self.single(at, kind, raw, place, parameter)
            found = self.problems[before:]
            if not found:
                return value
            del self.problems[before:]
            self.stager.reset(mark)
            if not best or max(len(one.pointer) for one in found) > max(len(one.pointer) for one in best):
                best = found
        if all(one.pointer == at for one in best):
            names = ", ".join(self.name(kind) for kind in kinds)
            best = [InputProblem(at, f"is {said(raw)}, but must be one of: {names}")]
        self.problems.extend(best)
        return None

    def name(self, kind: Any) -> str:
        kind = kind if isinstance(kind, str) and kind not in self.custom else resolve(kind, self.custom)
        if isinstance(kind, str):
            return kind
        if isinstance(kind, dict):
            return "one of its symbols" if kind.get("type") == "enum" else str(kind.get("type"))
        return "a value"

    def single(self, at: str, kind: Any, raw: Any, place: str, parameter: Mapping[str, Any]) -> Any:
        if kind in ("File", "Directory"):
            return self.staged(at, kind, raw, place, parameter)
        if kind == "Any":
            return self.anything(at, raw, place)
        if string_format(kind):
            return self.wrapped(at, string_format(kind) or "", raw)
        found = resolve(kind, self.custom)
        if isinstance(found, list):
            return self.value(at, found, raw, place, parameter)
        if isinstance(found, dict):
            return self.structured(at, kind, found, raw, place, parameter)
        return self.scalar(at, found, unqualified(raw))

    def structured(
        self, at: str, kind: Any, found: Mapping[str, Any], raw: Any, place: str, parameter: Mapping[str, Any]
    ) -> Any:
        if found["type"] == "array":
            return self.array(at, found, raw, place, parameter)
        if found["type"] == "enum":
            return self.enum(at, found, unqualified(raw))
        if is_bbox(found):
            return self.bbox(at, found, raw)
        if found["type"] == "record":
            return self.record(at, kind, found, raw, place)
        self.problem(at, f"has a type that this server does not know: {found['type']}")
        return None

    def scalar(self, at: str, kind: Any, raw: Any) -> Any:
        if kind == "string":
            if isinstance(raw, str):
                return raw
            if isinstance(raw, Mapping) and "href" in raw:
                self.problem(at, "is a link, but must be a text given by value")
                return None
        elif kind == "boolean":
            if isinstance(raw, bool):
                return raw
        elif kind in ("int", "long"):
            whole = raw if isinstance(raw, int) else int(raw) if isinstance(raw, float) and raw.is_integer() else None
            if whole is not None and not isinstance(raw, bool):
                bits = 31 if kind == "int" else 63
                if -(2**bits) <= whole < 2**bits:
                    return whole
                self.problem(at, f"is {whole}, which is out of the range of {kind} ({bits + 1} bits)")
                return None
        elif kind in ("float", "double") and isinstance(raw, int | float) and not isinstance(raw, bool):
            if math.isfinite(raw):
                return raw
            self.problem(at, "is not a finite number")
            return None
        wanted = {"string": "a text", "boolean": "true or false", "int": "a whole number", "long": "a whole number"}
        self.problem(at, f"is {said(raw)}, but must be {wanted.get(str(kind), 'a number')}")
        return None

    def wrapped(self, at: str, form: str, raw: Any) -> Any:
        """eoap's string types: a text for the client, a record `{value}` for the package."""
        while isinstance(raw, Mapping) and "value" in raw:
            raw = raw["value"]
        if not isinstance(raw, str):
            self.problem(at, f"is {said(raw)}, but must be a text ({form})")
            return None
        pattern = FORMATS.get(form)
        if pattern and not re.fullmatch(pattern, raw):
            self.problem(at, f"is {raw[:100]!r}, which is not a {form}")
        return {"value": raw}

    def enum(self, at: str, kind: Mapping[str, Any], raw: Any) -> Any:
        symbols = [str(one) for one in kind["symbols"]]
        short = {one.rpartition("/")[2] if one.startswith("http") else one: one for one in symbols}
        if isinstance(raw, str):
            for name, full in short.items():
                if raw in (name, full):
                    return name  # cwltool knows a symbol that is a URI by its last part
            near = get_close_matches(raw, symbols, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            shown = ", ".join(symbols[:20]) + (", …" if len(symbols) > 20 else "")
            self.problem(at, f"is {raw[:100]!r}, but must be one of {shown}{hint}")
        else:
            self.problem(at, f"is {said(raw)}, but must be one of {', '.join(symbols[:20])}")
        return None

    def array(self, at: str, kind: Mapping[str, Any], raw: Any, place: str, parameter: Mapping[str, Any]) -> Any:
        """A list; a bare single value is a list of one."""
        if isinstance(raw, Mapping) and isinstance(raw.get("value"), list):
            raw = raw["value"]
        items = kind["items"]
        if isinstance(raw, list):
            return [
                self.value(f"{at}/{index}", items, one, f"{place}/{index}", parameter) for index, one in enumerate(raw)
            ]
        before = len(self.problems)
        only = self.value(at, items, raw, f"{place}/0", parameter)
        if len(self.problems) > before and not isinstance(raw, Mapping):
            del self.problems[before:]
            self.problem(at, f"is {said(raw)}, but must be an array of {self.name(items)} (or one of them)")
        return [only]

    def record(self, at: str, kind: Any, found: Mapping[str, Any], raw: Any, place: str) -> Any:
        fields = {one["name"]: one for one in found.get("fields", [])}
        if isinstance(raw, Mapping) and isinstance(raw.get("value"), Mapping):
            inner = raw["value"]
            if "value" not in fields or not set(inner).isdisjoint(fields):
                raw = inner
        if not isinstance(raw, Mapping):
            self.problem(at, f"is {said(raw)}, but must be an object with {', '.join(fields)}")
            return None
        own = eoap(kind if isinstance(kind, str) else found)
        if own and own[0] == "geojson":
            raw = complete(raw, own[1])
        value: dict[str, Any] = {}
        for name in raw:
            if name not in fields:
                if own:
                    value[name] = raw[name]  # GeoJSON and STAC objects may hold more
                else:
                    self.problem(f"{at}{pointer(name)}", unknown("a field of this record", str(name), list(fields)))
        for name, field in fields.items():
            inside = f"{at}{pointer(name)}"
            if name in raw:
                value[name] = self.value(inside, field["type"], raw[name], f"{place}/{folder(name)}", field)
            elif not members(field["type"])[1]:
                self.problem(inside, "is missing")
        return value

    def bbox(self, at: str, kind: Mapping[str, Any], raw: Any) -> Any:
        if isinstance(raw, Mapping) and "bbox" not in raw and isinstance(raw.get("value"), Mapping | list):
            raw = raw["value"]
        try:
            return bounding_box(raw, crs_symbols(kind, self.custom), [one["name"] for one in kind["fields"]])
        except Misfit as error:
            self.problem(at, str(error))
            return None

    def staged(self, at: str, kind: str, raw: Any, place: str, parameter: Mapping[str, Any]) -> Any:
        try:
            if kind == "File":
                return self.stager.file(raw, place, parameter)
            return self.stager.directory(raw, place)
        except Misfit as error:
            self.problem(at, str(error))
            return None

    def anything(self, at: str, raw: Any, place: str) -> Any:
        """A value of type Any as it is, but its Files and Directories are staged."""
        if isinstance(raw, list):
            return [self.anything(f"{at}/{index}", one, f"{place}/{index}") for index, one in enumerate(raw)]
        if isinstance(raw, Mapping):
            if raw.get("class") in ("File", "Directory"):
                return self.staged(at, raw["class"], raw, place, {})
            if set(raw) <= {"value", "mediaType", "encoding", "schema"} and "value" in raw:
                return self.anything(at, raw["value"], place)
            return {
                key: self.anything(f"{at}{pointer(key)}", one, f"{place}/{folder(str(key))}")
                for key, one in raw.items()
            }
        return raw


def unqualified(raw: Any) -> Any:
    """The value of `{value, mediaType, …}`."""
    return raw["value"] if isinstance(raw, Mapping) and "value" in raw else raw


def folder(name: str) -> str:
    """An input's name as the name of a directory."""
    safe = re.sub(r"[^\w.-]", "_", name).strip(".")
    return safe[:100] or "_"
