"""Closes a package over everything it refers to, within limits, and checks it on the way."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.resources import files as resource_files
from typing import Any
from urllib.parse import quote, urljoin

from broker.errors import BrokerError, LimitError, PackageError
from broker.packages import lint
from broker.packages.cwl import MAX_DEPTH, decode, parse
from broker.packages.keys import is_url
from broker.packages.references import Reference, Use, references, resolve

MAX_BUNDLE = 8 * 2**20  # bytes of documents and files together
MAX_REMOTE = 20  # documents read from the network
# Gives the bytes of a reference: a path relative to the package's root, or an https URL.
Read = Callable[[str], bytes]
# Gives the paths of all files below a directory, relative to it.
Listing = Callable[[str], list[str]]

EOAP = "https://raw.githubusercontent.com/eoap/schemas/"


@cache
def _eoap(path: str) -> str | None:
    """The text of an eoap schema file (`string_format.yaml`) that is bundled with the broker."""
    found = resource_files("broker.packages").joinpath("eoap")
    for part in path.split("/"):
        found = found.joinpath(part)
    return found.read_text("utf-8") if found.is_file() else None


def warm_schemas() -> None:
    """Read all eoap schema files, for a process that will have no files."""
    whole = resource_files("broker.packages").joinpath("eoap")
    for found in (*whole.iterdir(), *whole.joinpath("experimental").iterdir()):
        if found.name.endswith(".yaml"):
            _eoap(found.name)
            _eoap(f"experimental/{found.name}")


def eoap_schema(url: str) -> str | None:
    """The text of an eoap schema, whatever branch or tag the URL names; None for any other URL."""
    if not url.startswith(EOAP):
        return None
    parts = url.removeprefix(EOAP).split("/")
    if parts[:2] in (["refs", "heads"], ["refs", "tags"]):
        parts = parts[2:]
    path = "/".join(parts[1:])
    known = path in ("string_format.yaml", "geojson.yaml", "ogc.yaml", "stac.yaml") or (
        path.startswith("experimental/") and path.count("/") == 1 and path.endswith(".yaml") and ".." not in path
    )
    return _eoap(path) if known else None


class Closure:
    """Documents and files found so far. A reader may be slow or hostile; what it gives is only parsed as data."""

    def __init__(self, read: Read | None, base: str | None, listing: Listing | None) -> None:
        self.read = read
        self.base = base
        self.listing = listing
        self.documents: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.parsed: dict[str, Any] = {}
        self.open: list[str] = []  # documents whose references are being followed
        self.remote = 0
        self.size = 0

    def add(self, key: str, text: str) -> None:
        """Take a document in, and all it refers to."""
        self.grow(len(text))
        self.documents[key] = text
        self.parsed[key] = document = parse(text, key)
        if len(self.open) >= MAX_DEPTH:
            raise LimitError(f"Documents import each other more than {MAX_DEPTH} levels deep.")
        self.open.append(key)
        for reference in references(document):
            self.follow(key, reference)
        self.open.pop()

    def grow(self, size: int) -> None:
        self.size += size
        if self.size > MAX_BUNDLE:
            raise LimitError(
                f"The package is larger than {MAX_BUNDLE // 2**20} MiB.",
                hint="Pass data as inputs, or put it into the container image.",
            )

    def follow(self, base: str, reference: Reference) -> None:
        if reference.use is Use.BESIDE:
            with suppress(PackageError):  # it may be a Directory, or not be there at all
                self.default(base, reference)
            return
        if reference.use in (Use.FILE, Use.DIRECTORY):
            self.default(base, reference)
            return
        key = resolve(base, reference)
        if reference.use is Use.INCLUDE:
            if key not in self.documents:
                self.documents[key] = self.text(key, base, reference)
                self.grow(len(self.documents[key]))
            return
        if reference.use is Use.IMPORT and key in self.open:
            line = {"file": base, "line": reference.line, "column": reference.column}
            chain = " -> ".join([*self.open[self.open.index(key) :], key])
            raise PackageError(f"These documents import each other in a circle: {chain}.", hint=None, **line)  # type: ignore[arg-type]
        if key not in self.parsed:
            self.add(key, self.documents.get(key) or self.text(key, base, reference))
            if reference.use is Use.RUN:
                lint.document(self.parsed[key], key)

    def default(self, base: str, reference: Reference) -> None:
        """Take in a File or Directory that the package itself brings; those at URLs are staged for each job."""
        if is_url(reference.target) or reference.target.startswith("_:"):
            return
        key = resolve(base, reference)
        if reference.use is not Use.DIRECTORY:
            if key not in self.files:
                self.file(key, base, reference)
            return
        key = key.rstrip("/")
        names = self.names(key, base, reference)
        if not names:
            self.files[key + "/"] = ""
        for name in names:
            one = posixpath.normpath(f"{key}/{name}")
            if one.startswith(f"{key}/") and one not in self.files:
                self.file(one, base, reference)

    def names(self, key: str, base: str, reference: Reference) -> list[str]:
        place = {"file": base, "line": reference.line, "column": reference.column}
        if self.listing is None:
            raise PackageError(
                f"The default directory {reference.target!r} cannot be read here.",
                hint="Deploy the package with `broker deploy`, which sends its files along.",
                **place,  # type: ignore[arg-type]
            )
        try:
            return self.listing(key)
        except OSError as error:
            raise PackageError(
                f"{reference.target!r} cannot be read: {error.strerror or error}.",
                **place,  # type: ignore[arg-type]
            ) from error

    def file(self, key: str, base: str, reference: Reference) -> None:
        data = self.bytes(key, base, reference)
        self.grow(len(data))
        self.files[key] = base64.b64encode(data).decode()

    def text(self, key: str, base: str, reference: Reference) -> str:
        known = eoap_schema(key)
        return known if known is not None else decode(self.bytes(key, base, reference), key)

    def bytes(self, key: str, base: str, reference: Reference) -> bytes:
        place: dict[str, Any] = {"file": base, "line": reference.line, "column": reference.column}
        target = key
        if self.base and not is_url(key):
            target = urljoin(self.base, quote(key))
        if is_url(target):
            self.remote += 1
            if self.remote > MAX_REMOTE:
                raise LimitError(f"The package reads more than {MAX_REMOTE} documents from the network.")
        if self.read is None:
            raise PackageError(
                f"{reference.target!r} is not part of what was sent.",
                hint="Send all its files (broker deploy, or the deploy page, does), one document ($graph), or a link.",
                **place,
            )
        try:
            return self.read(target)
        except (LimitError, PackageError):
            raise
        except BrokerError as error:
            raise PackageError(
                f"{reference.target!r} cannot be read: {error.detail}", hint=error.hint, **place
            ) from error
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise PackageError(f"{reference.target!r} cannot be read: {why}.", **place) from error
