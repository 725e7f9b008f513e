"""From a cwltool job order (or an OGC execute request) on this computer to the inputs of an execution."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.cli.package import NOTHING, Beside
from broker.cli.problems import UsageError
from broker.errors import InputError, InputProblem
from broker.packages.cwl import parse

# Puts a local file on the server under a name; gives the href that names it there.
Upload = Callable[[Path, str], str]
BY_VALUE = 16 * 2**10  # bytes up to which a text goes in the request itself
ALL_BY_VALUE = 256 * 2**10

EXECUTE = frozenset(
    {"inputs", "outputs", "response", "mode", "title", "tags", "platform", "subscriber", "reuse", "process", "$schema"}
)
REQUIREMENTS = ("cwl:requirements", "https://w3id.org/cwl/cwl#requirements")
_LEFT_OUT = frozenset({"$namespaces", "$schemas", "cwl:tool", "id", *REQUIREMENTS})
_OF_FILE = frozenset({"location", "path", "secondaryFiles", "dirname", "nameroot", "nameext", "checksum", "size"})


@dataclass(frozen=True, slots=True)
class JobOrder:
    """Inputs as written. Paths in them are relative to `directory`; `request` are the other members of an execute
    request, None for a CWL job order."""

    inputs: Mapping[str, Any]
    directory: Path
    namespaces: Mapping[str, str] = field(default_factory=dict)
    requirements: Any = None
    request: Mapping[str, Any] | None = None


def read(reference: str | None, settings: Sequence[str], *, stdin: Callable[[], str]) -> JobOrder:
    """The job order in the file `reference` (YAML or JSON; `-` is the standard input), with `name=value` settings
    over it: values are YAML, `name=@path` is a file, a name given several times an array. Raises InputError,
    PackageError, UsageError where there is no such file."""
    order = JobOrder({}, Path.cwd()) if reference is None else _read(reference, stdin)
    if not settings:
        return order
    extra = settings_of(settings)
    return JobOrder({**order.inputs, **extra}, order.directory, order.namespaces, order.requirements, order.request)


def _read(reference: str, stdin: Callable[[], str]) -> JobOrder:
    directory = Path.cwd()
    if reference == "-":
        text = stdin()
    else:
        file = Path(unquote(urlsplit(reference).path)) if reference.startswith("file:") else Path(reference)
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise UsageError(
                f"The job order {reference} cannot be read: {error.strerror}.",
                hint="Name a file of inputs (YAML or JSON), or give them with -i NAME=VALUE.",
            ) from None
        except UnicodeDecodeError:
            raise InputError(InputProblem("", f"{reference} is not UTF-8 text")) from None
        directory = file.resolve().parent
    document = parse(text, reference)
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise InputError(InputProblem("", f"{reference} is not a mapping of input names to values"))
    inputs = document.get("inputs")
    if isinstance(inputs, Mapping) and "class" not in inputs and document.keys() <= EXECUTE:
        return JobOrder(
            inputs, directory, request={k: v for k, v in document.items() if k not in ("inputs", "$schema")}
        )
    requirements = next((document[key] for key in REQUIREMENTS if key in document), None)
    plain = {key: value for key, value in document.items() if key not in _LEFT_OUT}
    return JobOrder(plain, directory, document.get("$namespaces") or {}, requirements)


def settings_of(texts: Sequence[str], option: str = "--input") -> dict[str, Any]:
    """Name -> value; of a name that is given several times, the array of its values in their order. `option`: what
    these texts are called where one is wrong. Raises InputError, PackageError."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, value = _setting(text, option)
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _setting(text: str, option: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(InputProblem("", f"{option} {text} is not of the form name=value"))
    if value.startswith("@"):
        path = Path(value[1:]).expanduser().absolute()
        return name, {"class": "Directory" if path.is_dir() else "File", "path": str(path)}
    return name, parse(value, f"{option} {name}") if value else ""


@dataclass(frozen=True, slots=True)
class Converter:
    """Gives the inputs of an execution for a job order; local files go to the server on the way.

    `namespaces` expand the `format` of files; `beside` names, for each input, the secondary files that belong to its
    files and lie beside them.
    """

    order: JobOrder
    upload: Upload
    namespaces: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, Beside] = field(default_factory=dict)
    room: list[int] = field(default_factory=lambda: [ALL_BY_VALUE])  # bytes of text that may still go by value
    pretend: bool = False  # empty files in place of all files: for a check, which reads none

    def inputs(self) -> dict[str, Any]:
        """Raises InputError with every file that is not there."""
        _Missing().check(self)
        if self.order.request is not None:
            return {name: self.linked(value) for name, value in self.order.inputs.items()}
        found = {}
        for name, value in self.order.inputs.items():
            if value is not None:
                converted = self.value(value, self.beside.get(name, NOTHING))
                bare = isinstance(converted, Mapping) and "class" not in converted
                found[name] = {"value": converted} if bare else converted
        return found

    def linked(self, value: Any) -> Any:
        """A value of an execute request: links to files of this computer become links to the server's."""
        if isinstance(value, Mapping):
            href = value.get("href")
            if isinstance(href, str) and (path := self.local(href)) is not None:
                if path.is_dir() or is_catalog(path):  # a catalog without what it links to would be of no use
                    folder = path if path.is_dir() else path.parent
                    return self.directory({"class": "Directory", "path": str(folder)})
                return {"value": ""} if self.pretend else {**value, "href": self.upload(path, path.name)}
            if is_data(value):
                return self.value(value)
            return {key: self.linked(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.linked(one) for one in value]
        return value

    def value(self, value: Any, beside: Beside = NOTHING) -> Any:
        """A CWL value with every File and Directory on the server."""
        if isinstance(value, Mapping):
            if value.get("class") == "File":
                return self.file(value, beside.patterns)
            if value.get("class") == "Directory":
                return self.directory(value)
            return {key: self.value(one, beside.fields.get(key, NOTHING)) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one, beside) for one in value]
        return value

    def file(self, value: Mapping[str, Any], patterns: Sequence[str]) -> dict[str, Any]:
        found = {key: one for key, one in value.items() if key not in _OF_FILE}
        if isinstance(found.get("format"), str):
            found["format"] = self.expand(found["format"])
        secondary = list(value.get("secondaryFiles") or ())
        path = self.path(value)
        if path is not None:
            found.setdefault("basename", path.name)
            found |= self.content(path, found["basename"])
            secondary += self.found(path, patterns, secondary)
        elif "location" in value or "path" in value:
            found["location"] = value.get("location") or value["path"]
        if secondary:
            found["secondaryFiles"] = [self.value(one) for one in secondary]
        return found

    def directory(self, value: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: one for key, one in value.items() if key not in _OF_FILE and key != "listing"}
        path = self.path(value)
        if path is not None:
            found.setdefault("basename", path.name)
            found |= {"path": path.name, "listing": self.listing(path)}  # with a path it is no literal
        elif "location" in value or "path" in value:
            found["location"] = value.get("location") or value["path"]
        elif "listing" in value:
            found["listing"] = [self.value(one) for one in value["listing"] or ()]
        return found

    def listing(self, directory: Path) -> list[dict[str, Any]]:
        """The files of a local directory, on the server; directories below it as nested listings."""
        found: list[dict[str, Any]] = []
        for entry in sorted(os.scandir(directory), key=lambda one: one.name):
            path = Path(entry.path)
            if entry.is_dir():
                if entry.is_symlink() and directory.resolve().is_relative_to(path.resolve()):
                    raise InputError(InputProblem("", f"{path} is a link to a directory that holds it"))
                found.append(self.directory({"class": "Directory", "path": str(path)}))
            else:
                found.append({"class": "File", "basename": entry.name, **self.content(path, entry.name)})
        return found

    def content(self, path: Path, name: str) -> dict[str, str]:
        """A small text by value, anything else by the link of its upload."""
        if self.pretend:
            return {"contents": ""}
        try:
            if path.stat().st_size <= min(BY_VALUE, self.room[0]):
                text = path.read_bytes().decode()
                if "\0" not in text:
                    self.room[0] -= len(text.encode())
                    return {"contents": text}
        except UnicodeDecodeError:
            pass
        except OSError as error:
            raise InputError(InputProblem("", f"{path} cannot be read: {error.strerror}")) from error
        return {"location": self.upload(path, name)}

    def found(self, path: Path, patterns: Sequence[str], given: Sequence[Any]) -> list[dict[str, Any]]:
        """Secondary files that the job order does not name, and that lie beside the file, as cwltool finds them."""
        known = set()
        for one in given:
            if isinstance(one, Mapping):
                local = self.path(one)
                known.add(one.get("basename") or (local.name if local else ""))
        found = []
        for pattern in patterns:
            name = secondary_name(path.name, pattern)
            candidate = path.parent / name
            if name not in known and candidate.exists():
                kind = "Directory" if candidate.is_dir() else "File"
                found.append({"class": kind, "path": str(candidate)})
        return found

    def path(self, value: Mapping[str, Any]) -> Path | None:
        """The local file that a File or Directory names; None for a remote one and for a literal."""
        location = value.get("location")
        if isinstance(location, str):
            return self.local(location)
        plain = value.get("path")
        if isinstance(plain, str):
            return self.local(plain) if "://" in plain else self.order.directory / plain
        return None

    def local(self, location: str) -> Path | None:
        """The path that a location means; None where it is a URL of something else, or a literal's (`_:…`)."""
        scheme = urlsplit(location).scheme.lower() if ":" in location else ""
        if scheme == "file":
            return Path(unquote(urlsplit(location).path))
        if scheme or location.startswith("_:"):
            return None
        path = self.order.directory / location
        return path if path.exists() else self.order.directory / unquote(location)

    def expand(self, name: str) -> str:
        prefix, colon, rest = name.partition(":")
        spaces = {**self.namespaces, **self.order.namespaces}
        return f"{spaces[prefix]}{rest}" if colon and prefix in spaces else name


def is_data(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class") in ("File", "Directory")


def is_catalog(path: Path) -> bool:
    """Whether a file is a STAC catalog, which stands for the directory it lies in (20-089r1)."""
    if path.name != "catalog.json":
        return False
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, Mapping) and "stac_version" in document


def secondary_name(name: str, pattern: str) -> str:
    """The name of a secondary file (CWL v1.2, `SecondaryFileSchema`): each `^` takes one extension away."""
    while pattern.startswith("^"):
        pattern = pattern[1:]
        stem, dot, _ = name.rpartition(".")
        name = stem if dot and stem else name
    return name + pattern


class _Missing:
    """Looks for every local file before anything is sent."""

    def __init__(self) -> None:
        self.problems: list[InputProblem] = []

    def check(self, converter: Converter) -> None:
        for name, value in converter.order.inputs.items():
            self.look(converter, value, f"/inputs/{name}")
        if self.problems:
            raise InputError(*self.problems, hint=f"Paths are relative to {converter.order.directory}.")

    def look(self, converter: Converter, value: Any, pointer: str) -> None:
        if isinstance(value, Mapping):
            path = converter.path(value) if is_data(value) else None
            if path is None and isinstance(value.get("href"), str) and converter.order.request is not None:
                path = converter.local(value["href"])
            if path is not None:
                kind = "Directory" if "href" in value and path.is_dir() else value.get("class")
                self.exists(path, kind, pointer)
            for key, one in value.items():
                self.look(converter, one, f"{pointer}/{key}")
        elif isinstance(value, list):
            for number, one in enumerate(value):
                self.look(converter, one, f"{pointer}/{number}")

    def exists(self, path: Path, kind: Any, pointer: str) -> None:
        if not path.exists():
            self.problems.append(InputProblem(pointer, f"there is no file {path}"))
        elif kind == "Directory" and not path.is_dir():
            self.problems.append(InputProblem(pointer, f"{path} is not a directory"))
        elif kind != "Directory" and not path.is_file():
            self.problems.append(InputProblem(pointer, f"{path} is not a file"))
        elif not os.access(path, os.R_OK):
            self.problems.append(InputProblem(pointer, f"{path} may not be read"))
