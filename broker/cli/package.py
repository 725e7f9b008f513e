"""A package on this computer: closed over its files, named, and what its inputs want of the files beside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from broker.errors import InputError, InputProblem, LimitError, PackageError
from broker.packages import openeo
from broker.packages.bundle import Bundle, build
from broker.packages.cwl import MAX_DOCUMENT, parse
from broker.packages.graph import fragment, processes
from broker.packages.keys import is_url

MAX_FILE = 8 * 2**20  # bytes of one file that a package brings along
_UNTOLD = frozenset({"", "main", "package", "workflow", "tool"})  # ids that do not tell packages apart


@dataclass(frozen=True, slots=True)
class LocalPackage:
    """A closed package and the process of it that runs, as written (not resolved)."""

    bundle: Bundle
    process: Mapping[str, Any]
    namespaces: Mapping[str, str]
    process_id: str

    def with_requirements(self, requirements: Any) -> LocalPackage:
        """The package with the `cwl:requirements` of a job order: they win over those of the package itself."""
        if isinstance(requirements, Mapping):
            requirements = [{"class": name, **body} for name, body in requirements.items()]
        document = parse(self.bundle.documents[self.bundle.document], self.bundle.document)
        if str(document.get("cwlVersion")) == "v1.0":
            raise InputError(
                InputProblem("/cwl:requirements", "requirements in a job order came with CWL v1.1; this is v1.0")
            )
        process = choose(document, self.bundle.entry)
        own = process.get("requirements") or []
        if isinstance(own, Mapping):
            own = [{"class": name, **(body or {})} for name, body in own.items()]
        given = {one.get("class") for one in requirements}
        process["requirements"] = [one for one in own if one.get("class") not in given] + list(requirements)
        documents = {**self.bundle.documents, self.bundle.document: json.dumps(document, indent=1)}
        bundle = Bundle.make(self.bundle.entry, documents, self.bundle.files)
        return LocalPackage(bundle, process, self.namespaces, self.process_id)


def load(reference: str, *, root: Path | None = None) -> LocalPackage:
    """Close the package `path/to/package.cwl[#process]` (or a file: URL) over the files it refers to.

    Only files below `root` are read (default: the work tree around the package, or else its directory): a package
    that came from somewhere must not pick up files of this computer. Raises PackageError, InputError, LimitError.
    """
    path, _, name = reference.partition("#")
    file = Path(unquote(urlsplit(path).path)) if path.startswith("file:") else Path(path)
    if not file.is_file() and Path(reference).is_file():
        file, name = Path(reference), ""  # a # in the file's name
    try:
        file = file.resolve(strict=True)
        body = file.read_bytes()
    except OSError as error:
        raise InputError(InputProblem("", f"{path} cannot be read: {error.strerror}")) from None
    top = (root or _work_tree(file.parent)).resolve()
    reader = _Reader(top)
    try:
        bundle = build(
            body,
            name=file.relative_to(top).with_name(file.name.replace("#", "_")).as_posix(),  # # sets off a process
            process=name or None,
            read=reader,
            listing=reader.listing,
            trim=True,
        )
    except PackageError as error:
        if error.hint and error.hint.startswith("Move the file below"):
            error.hint = "Say which directory holds the whole package, with --root DIR, or move the file below it."
        raise
    document = parse(bundle.documents[bundle.document], bundle.document)
    if bundle.kind == openeo.KIND:
        found = openeo.process_of(bundle.documents, bundle.entry)
        return LocalPackage(bundle, found, {}, process_name(bundle.entry, found, file))
    process = choose(document, bundle.entry)
    namespaces = document.get("$namespaces") if isinstance(document, Mapping) else None
    return LocalPackage(bundle, process, namespaces or {}, process_name(bundle.entry, process, file))


def choose(document: Any, entry: str) -> dict[str, Any]:
    """The process that the entry of a bundle names."""
    wanted = entry.partition("#")[2]
    found = processes(document)
    for one in found:
        if not wanted or fragment(one.get("id")) == wanted:
            # `processes` gives copies where $graph is a mapping; then the original is the one to change
            graph = document.get("$graph")
            original = graph[one["id"]] if isinstance(graph, Mapping) else one
            assert isinstance(original, dict)  # noqa: S101 - as our parser makes them
            return original
    raise PackageError("The document holds no process.", hint="A CWL document has a class, for instance Workflow.")


def process_name(entry: str, process: Mapping[str, Any], file: Path) -> str:
    """The id that a process gets if nobody gives one: its own, else the file's name, else the directory's."""
    own = entry.partition("#")[2] or fragment(process.get("id")) or str(process.get("id") or "")
    for name in (own, file.stem, file.parent.name):
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")
        if safe.lower() not in _UNTOLD:
            return safe[:100]
    return file.stem


@dataclass(frozen=True, slots=True)
class Beside:
    """Which files belong to a File: patterns of its secondary files (`.bai`, `^.idx`); or of a record's fields."""

    patterns: Sequence[str] = ()
    fields: Mapping[str, Beside] = field(default_factory=dict)


NOTHING = Beside()


def inputs_of(process: Mapping[str, Any]) -> dict[str, Any]:
    """Input id -> what is declared of it, as written."""
    inputs = process.get("inputs")
    if isinstance(inputs, Mapping):
        return {_last(name): body for name, body in inputs.items() if not name.startswith("$")}
    return {_last(one["id"]): one for one in inputs or () if isinstance(one, Mapping) and "id" in one}


def _last(identifier: str) -> str:
    """The name of an input: `reads`, also where a packed document writes `#main/reads`."""
    return (fragment(identifier) or identifier).rpartition("/")[2]


def secondary_files(process: Mapping[str, Any]) -> dict[str, Beside]:
    """Input id -> the secondary files that it wants; patterns that are expressions are left out."""
    named: dict[str, Any] = {}
    requirements = process.get("requirements") or {}
    if isinstance(requirements, Mapping):
        requirements = [{"class": name, **(body or {})} for name, body in requirements.items() if name[0] != "$"]
    for one in requirements:
        if isinstance(one, Mapping) and one.get("class") == "SchemaDefRequirement":
            types = (kind for kind in one.get("types") or () if isinstance(kind, Mapping))
            named |= {fragment(kind["name"]) or kind["name"]: kind for kind in types if "name" in kind}
    return {name: _beside(body, named, 0) for name, body in inputs_of(process).items()}


def _beside(body: Any, named: Mapping[str, Any], depth: int) -> Beside:
    if isinstance(body, str):
        body = named.get(fragment(body) or body)
    if isinstance(body, Sequence) and not isinstance(body, str):
        found = [_beside(one, named, depth + 1) for one in body]
        return next((one for one in found if one != NOTHING), NOTHING)
    if not isinstance(body, Mapping) or depth > 16:
        return NOTHING
    patterns = list(_patterns(body))
    if patterns:
        return Beside(patterns)
    fields = body.get("fields") if body.get("type") == "record" else None
    if fields:
        pairs = fields.items() if isinstance(fields, Mapping) else ((one.get("name"), one) for one in fields)
        return Beside(fields={fragment(name) or name: _beside(one, named, depth + 1) for name, one in pairs})
    return _beside(body.get("items" if body.get("type") == "array" else "type"), named, depth + 1)


def _patterns(body: Mapping[str, Any]) -> Iterator[str]:
    entries = body.get("secondaryFiles")
    for one in entries if isinstance(entries, Sequence) and not isinstance(entries, str) else [entries]:
        pattern = one.get("pattern") if isinstance(one, Mapping) else one
        if isinstance(pattern, str) and "$(" not in pattern and "${" not in pattern:
            yield pattern.removesuffix("?")


def _work_tree(directory: Path) -> Path:
    """The top of the git work tree around a directory, or else the directory."""
    for parent in (directory, *directory.parents):
        if (parent / ".git").exists():
            return parent
    return directory


class _Reader:
    """Gives a package the files below `root`, and https documents."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, key: str) -> bytes:
        if is_url(key):
            return _fetch(key)
        path = self._below(key)
        if path.stat().st_size > MAX_FILE:
            raise LimitError(f"{key} has more than {MAX_FILE // 2**20} MiB.", hint="Pass data as inputs.")
        return path.read_bytes()

    def listing(self, key: str) -> list[str]:
        top = self._below(key)
        found = []
        for directory, _, names in os.walk(top):
            found += [(Path(directory) / name).relative_to(top).as_posix() for name in sorted(names)]
        return found

    def _below(self, key: str) -> Path:
        path = (self.root / key).resolve(strict=True)
        if not path.is_relative_to(self.root):
            raise PackageError(
                f"{key} is a link to a file outside {self.root}.",
                hint="Say which directory holds the whole package, with --root DIR.",
            )
        return path


def _fetch(url: str) -> bytes:
    """A document that a package imports by https; at most MAX_DOCUMENT bytes."""
    if not url.startswith("https://"):
        raise PackageError(f"{url} is not an https link.")
    try:
        with requests.get(url, timeout=(10, 30), stream=True) as response:
            response.raise_for_status()
            body = response.raw.read(MAX_DOCUMENT + 1, decode_content=True)
    except requests.RequestException as error:
        raise PackageError(f"{url} cannot be read: {error}") from error
    if len(body) > MAX_DOCUMENT:
        raise LimitError(f"{url} has more than {MAX_DOCUMENT // 2**20} MiB.")
    return bytes(body)
