"""Finds what a CWL document refers to: imports, includes, steps' tools and the Files of its defaults."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from broker.errors import PackageError
from broker.packages.keys import is_url

EXPRESSION = ("$(", "${")


class Use(StrEnum):
    """What a reference is for. IMPORT and RUN give documents that refer to more, INCLUDE gives text, BESIDE a file
    that need not be there."""

    IMPORT = "$import"
    INCLUDE = "$include"
    RUN = "run"
    FILE = "File"
    DIRECTORY = "Directory"
    BESIDE = "secondaryFiles"


@dataclass(frozen=True, slots=True)
class Reference:
    """`target` as written, and where; lines and columns count from 1."""

    use: Use
    target: str
    line: int | None
    column: int | None


def position(node: Any, key: Any) -> tuple[int | None, int | None]:
    """Line and column (from 1) of the value at `key` of a parsed mapping or list; None where unknown."""
    try:
        data = node.lc.data[key]
    except (AttributeError, KeyError, TypeError):
        return None, None
    return (data[2] + 1, data[3] + 1) if len(data) == 4 else (data[0] + 1, data[1] + 1)


def references(document: Any) -> Iterator[Reference]:
    """Every reference of a parsed document, local `#fragments` and expressions left out."""
    yield from _walk(document, steps=False)


def _walk(node: Any, *, steps: bool) -> Iterator[Reference]:
    """`steps`: the node is the value of a workflow's `steps`, so that a `run` in its entries names a process."""
    if isinstance(node, Mapping):
        yield from _directives(node)
        yield from _beside(node)
        for key, value in node.items():
            if key in ("$schemas", "$namespaces"):
                continue
            if steps and isinstance(value, Mapping):
                yield from _run(value)
            yield from _walk(value, steps=key == "steps")
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            if steps and isinstance(value, Mapping):
                yield from _run(value)
            yield from _walk(value, steps=False)


def _run(step: Mapping[str, Any]) -> Iterator[Reference]:
    target = step.get("run")
    if isinstance(target, str) and not target.startswith("#"):
        yield Reference(Use.RUN, target, *position(step, "run"))


def _directives(node: Mapping[str, Any]) -> Iterator[Reference]:
    for key, use in (("$import", Use.IMPORT), ("$mixin", Use.IMPORT), ("$include", Use.INCLUDE)):
        target = node.get(key)
        if isinstance(target, str) and not target.startswith("#"):
            yield Reference(use, target, *position(node, key))
    kind = node.get("class")
    if kind == "File" or kind == "Directory":
        for key in ("location", "path"):
            target = node.get(key)
            if isinstance(target, str) and not any(mark in target for mark in EXPRESSION):
                yield Reference(Use(kind), target, *position(node, key))
                break


def _beside(parameter: Mapping[str, Any]) -> Iterator[Reference]:
    """The secondary files of a parameter's default File, by the parameter's patterns."""
    default, entries = parameter.get("default"), parameter.get("secondaryFiles")
    if entries is None or default is None:
        return
    for file in default if isinstance(default, list) else [default]:
        where = (file.get("location") or file.get("path")) if isinstance(file, Mapping) else None
        if not isinstance(where, str) or any(mark in where for mark in EXPRESSION):
            continue
        for entry in entries if isinstance(entries, list) else [entries]:
            pattern = entry.get("pattern") if isinstance(entry, Mapping) else entry
            if isinstance(pattern, str) and not any(mark in pattern for mark in EXPRESSION):
                target = patterned(where, pattern.removesuffix("?"))
                yield Reference(Use.BESIDE, target, *position(parameter, "secondaryFiles"))


def patterned(path: str, pattern: str) -> str:
    """CWL's rule: each leading caret takes one extension off, then the rest is appended."""
    while pattern.startswith("^"):
        head, dot, _ = path.rpartition(".")
        path, pattern = head if dot and "/" not in path[len(head) :] and head else path, pattern[1:]
    return path + pattern


def resolve(base: str, reference: Reference) -> str:
    """The key of what `reference` means in the document `base`: a path below the package's root, or a URL.

    Raises PackageError for `file:`, other schemes, and paths that leave the package.
    """
    target = urldefrag(reference.target)[0]
    place: dict[str, Any] = {"file": base, "line": reference.line, "column": reference.column}
    scheme = urlsplit(target).scheme.lower() if ":" in target else ""
    if scheme == "file" or target.startswith(("/", "\\", "~")):
        raise PackageError(
            f"{reference.target!r} names a file of one computer.",
            hint="Write a path relative to this document, or an https link.",
            **place,
        )
    if scheme in ("http", "https"):
        return target
    if scheme:
        raise PackageError(
            f"{reference.target!r} cannot be read: {scheme}: is not a scheme that a package may use.",
            hint="Write a path relative to this document, or an https link.",
            **place,
        )
    if is_url(base):
        return urljoin(base, target)
    key = posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(target)))
    if key == ".." or key.startswith("../"):
        raise PackageError(
            f"{reference.target!r} lies outside the package.",
            hint="Move the file below the package's directory, or link to it by https.",
            **place,
        )
    return key
