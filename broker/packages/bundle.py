"""The closed, digested package: every document and default file that it needs, by value."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.errors import LimitError, PackageError
from broker.packages import lint, ogcapi, openeo, openeotool
from broker.packages.closure import MAX_BUNDLE as MAX_BUNDLE
from broker.packages.closure import Closure, Listing, Read
from broker.packages.cwl import decode
from broker.packages.graph import Calls, choose
from broker.packages.keys import check_key, is_url

MAX_ENTRIES = 2000
KINDS = frozenset({"cwl", "openeo", "ogcapi"})  # ogcapi: a process of another server, by reference


@dataclass(frozen=True, slots=True)
class Bundle:
    """A closed package. `entry` is the document to run, with `#fragment` where it holds several processes.

    Keys of `documents` (text as written) and `files` (base64) are paths relative to the package's root or absolute
    URLs. An empty directory is a key of `files` that ends in `/`. `digest`: sha256 (hex) of the canonical JSON.
    """

    kind: str
    entry: str
    documents: Mapping[str, str]
    files: Mapping[str, str]
    digest: str

    @classmethod
    def make(cls, entry: str, documents: Mapping[str, str], files: Mapping[str, str], kind: str = "cwl") -> Bundle:
        """A bundle of these parts, with its digest. Raises PackageError, LimitError."""
        size = sum(len(text) for text in documents.values()) + sum(len(text) * 3 // 4 for text in files.values())
        if size > MAX_BUNDLE or len(documents) + len(files) > MAX_ENTRIES:
            raise LimitError(
                f"The package is larger than {MAX_BUNDLE // 2**20} MiB or has more than {MAX_ENTRIES} files.",
                hint="Pass data as inputs, or put it into the container image.",
            )
        for key in documents:
            check_key(key)
        for key in files:
            check_key(key.removesuffix("/"))
        if entry.partition("#")[0] not in documents:
            raise PackageError(f"The bundle does not hold its entry document {entry!r}.")
        return cls(kind, entry, dict(documents), dict(files), _digest(kind, entry, documents, files))

    @property
    def document(self) -> str:
        """The key of the entry document."""
        return self.entry.partition("#")[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "entry": self.entry,
            "documents": dict(self.documents),
            "files": dict(self.files),
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, value: Any) -> Bundle:
        """Read what `to_json` gave; the source may be hostile. Raises PackageError, LimitError."""
        if not isinstance(value, Mapping) or value.get("kind") not in KINDS or not isinstance(value.get("entry"), str):
            raise PackageError("This is not a package bundle.", hint="Make it with `broker deploy`.")
        documents, files = value.get("documents"), value.get("files") or {}
        for part in (documents, files):
            if not isinstance(part, Mapping) or not all(isinstance(text, str) for text in part.values()):
                raise PackageError("The documents and files of a package bundle are objects of texts.")
        assert isinstance(documents, Mapping)  # noqa: S101
        bundle = cls.make(value["entry"], documents, files, value["kind"])
        for key, text in files.items():
            try:
                base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise PackageError("This file of the bundle is not base64.", file=key) from None
        if value.get("digest") not in (None, bundle.digest):
            raise PackageError("The bundle's digest does not fit its contents.", hint="Send the package again.")
        return bundle


def _digest(kind: str, entry: str, documents: Mapping[str, str], files: Mapping[str, str]) -> str:
    whole = {"kind": kind, "entry": entry, "documents": dict(documents), "files": dict(files)}
    try:
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise PackageError("The package holds characters that are not Unicode text.") from None
    return hashlib.sha256(text).hexdigest()


def build(
    body: bytes | str,
    *,
    name: str = "package.cwl",
    process: str | None = None,
    read: Read | None = None,
    base: str | None = None,
    listing: Listing | None = None,
    trim: bool = False,
) -> Bundle:
    """Close a package over all it refers to: CWL, an openEO process, or the description of a process elsewhere.

    `name` is the document's path below the package's root (`read` is asked for paths relative to that root). `base`:
    the URL the document came from; what it refers to relatively is then read as URLs below it. `listing` gives the
    files of a default Directory. `trim` takes away the directories that all paths have in common.
    Raises PackageError with file, line and column; UnsupportedPackage, WorkflowNotFound, LimitError.
    """
    check_key(name)
    text = decode(body, name)
    if (found := openeo.documents(text, posixpath.basename(name) if trim else name, process, read)) is not None:
        return Bundle.make(found[0], found[1], {}, openeo.KIND)
    if (found := ogcapi.documents(text, base or name)) is not None:
        return Bundle.make(found[0], found[1], {}, ogcapi.KIND)
    closure = Closure(read, base, listing)
    closure.add(name, text)
    document = closure.parsed[name]
    lint.document(document, name, entry=True)
    chosen = choose(document, name, process)
    Calls(closure.parsed).check(name, chosen)
    documents, files = closure.documents, closure.files
    if trim:
        cut = _common([*documents, *files])
        documents = {_cut(key, cut): text for key, text in documents.items()}
        files = {_cut(key, cut): text for key, text in files.items()}
        name = _cut(name, cut)
    named = openeotool.namespaces((one for one in closure.parsed.values() if isinstance(one, dict)), read)
    documents = {**documents, **named, **openeotool.documents(document, chosen, named)}
    return Bundle.make(f"{name}#{chosen}" if chosen else name, documents, files)


def _common(keys: list[str]) -> int:
    """How many characters of leading directories all relative keys share."""
    heads = [posixpath.dirname(key) for key in keys if not is_url(key)]
    if "" in heads:
        return 0
    shared = posixpath.commonpath(heads)
    return len(shared) + 1 if shared else 0


def _cut(key: str, length: int) -> str:
    return key if is_url(key) else key[length:]
