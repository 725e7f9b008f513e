"""What cwltool made of a package, as plain JSON: short ids, types by name, inputs in the order of their author."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.packages.describe import SCHEMA
from broker.packages.graph import fragment, processes, steps
from broker.packages.keys import is_url
from broker.packages.needs import Part


def shortname(identifier: str) -> str:
    """cwltool's short name of an id: the last part of its fragment, or of its path."""
    path, _, name = identifier.partition("#")
    return (name or path).rpartition("/")[2]


def plain(value: Any, base: str) -> Any:
    """Plain JSON, with the package's own URIs made relative to its root."""
    if isinstance(value, Mapping):
        return {str(key): plain(one, base) for key, one in value.items()}
    if isinstance(value, str):
        return str(value).replace(base, "") if base in value else str(value)
    if isinstance(value, Sequence):
        return [plain(one, base) for one in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    return value


def _number(value: Any) -> float | None:
    """A number as JSON knows it: no infinities, and no integers that others would not read."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    return float(value) if abs(value) < 1e300 else None


def written(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The process as its author wrote it: cwltool sorts inputs by name and forgets which output is a stream."""
    for one in processes(document):
        if not name or fragment(one.get("id")) == name:
            return one
    return {}


def expand(name: str, namespaces: Mapping[str, Any]) -> str:
    prefix, _, rest = name.partition(":")
    base = namespaces.get(prefix)
    return f"{base}{rest}" if isinstance(base, str) else name


def step_names(part: Part, written: Mapping[str, Any]) -> tuple[str, ...]:
    """All steps, those of the package itself in the order they are written in."""
    order = {name: index for index, (name, _) in enumerate(steps(written))}
    names = [one.name for one in part.walk() if one.name]
    return tuple(sorted(names, key=lambda name: order.get(name.partition("/")[0], len(order))))


def process(tool: dict[str, Any], written: Mapping[str, Any], namespaces: Mapping[str, Any]) -> dict[str, Any]:
    """The description part of a resolved process: no steps, bindings or expressions."""
    left_out = ("steps", "baseCommand", "arguments", "expression", "stdin", "stdout", "stderr", "successCodes",
                "temporaryFailCodes", "permanentFailCodes")  # fmt: skip
    found = {key: value for key, value in tool.items() if key not in left_out}
    found["id"] = shortname(str(tool.get("id", "")))
    found["requirements"] = [
        {"class": one["class"]} if one.get("class") == "SchemaDefRequirement" else one
        for one in tool.get("requirements", [])
    ]
    for field in ("inputs", "outputs"):
        parameters = {shortname(one["id"]): parameter(one) for one in tool.get(field, [])}
        found[field] = []
        for name, one in _parameters(written.get(field)):
            if name in parameters:
                found[field].append(parameters.pop(name))
                if one.get("type") in ("stdout", "stderr"):
                    found[field][-1]["stream"] = one["type"]
                for key in one:
                    if expand(str(key), namespaces) == SCHEMA:  # schema-salad takes its `format` for an IRI
                        found[field][-1][SCHEMA] = plain(one[key], "\0")
        found[field].extend(parameters.values())
    return found


def _parameters(parameters: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and body of parameters, in the order and as they are written."""
    if isinstance(parameters, Mapping):
        for name, one in parameters.items():
            yield fragment(name), one if isinstance(one, Mapping) else {"type": one}
    elif isinstance(parameters, Sequence) and not isinstance(parameters, str):
        for one in parameters:
            if isinstance(one, Mapping):
                yield fragment(one.get("id")).rpartition("/")[2], one


def parameter(resolved: dict[str, Any]) -> dict[str, Any]:
    """An input or output of a resolved process, with short names."""
    return {**resolved, "id": shortname(resolved["id"]), "type": types(resolved.get("type"))}


def types(value: Any) -> Any:
    """A resolved type with short names of fields and symbols, and package-relative names of custom types."""
    if isinstance(value, list):
        return [types(one) for one in value]
    if isinstance(value, str):
        return type_name(value)
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    found = dict(value)
    if "name" in found:
        found["name"] = type_name(found["name"])
    if kind == "record":
        fields = value.get("fields") or []
        found["fields"] = [{**one, "name": shortname(one["name"]), "type": types(one.get("type"))} for one in fields]
    elif kind == "enum":
        found["symbols"] = [_symbol(one) for one in value.get("symbols", [])]
    elif kind == "array":
        found["items"] = types(value.get("items"))
    elif isinstance(kind, dict | list):
        found["type"] = types(kind)
    return found


def type_name(name: str) -> str:
    return (
        name.removeprefix("https://w3id.org/cwl/cwl#")
        .removeprefix("https://w3id.org/cwl/salad#")
        .removeprefix("http://www.w3.org/2001/XMLSchema#")
    )


def _symbol(symbol: str) -> str:
    """Symbols that are URIs themselves (coordinate reference systems) stay as they are."""
    return symbol if is_url(symbol) and "#" not in symbol else shortname(symbol)


def used(custom: Mapping[str, Any], types: Any) -> dict[str, Any]:
    """Those custom types that the given ones name, directly or through others."""
    used: dict[str, Any] = {}
    open_types = [types]
    while open_types:
        one = open_types.pop()
        if isinstance(one, str) and one in custom and one not in used:
            used[one] = custom[one]
            open_types.append(custom[one])
        elif isinstance(one, dict):
            open_types.extend(value for key, value in one.items() if key in ("type", "items", "fields"))
        elif isinstance(one, list):
            open_types.extend(one)
    return used
