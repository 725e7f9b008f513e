"""The documents that go with the runs of a publication: what was run, with what, what came of it, and how."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.execution.publishsubject import Run
from broker.packages.media import BUNDLE_TYPE
from broker.results import crate
from broker.results.assets import guessed, safe_name
from broker.results.cratezip import packed
from broker.results.experimentfiles import experiment_files
from broker.results.target import File
from broker.storage import Storage

YAML = "application/yaml"


@dataclass(frozen=True, slots=True)
class Document:
    """One document: `key` of its asset; `path`: of the input that it is, if it is one."""

    key: str
    name: str
    media_type: str
    content: bytes = field(repr=False)
    path: str | None = None

    def file(self, source: str) -> File:
        digest = hashlib.sha256(self.content).hexdigest()
        return File(self.path or self.name, source, len(self.content), digest, self.media_type)


def package_document(bundle: Mapping[str, Any]) -> Document:
    """A package as one file that can be deployed as it is: its document, else the whole bundle."""
    if len(bundle["documents"]) == 1 and not bundle.get("files"):
        (text,) = bundle["documents"].values()
        return Document("package", "package.cwl", "application/cwl+yaml", text.encode())
    return Document("package", "package.json", BUNDLE_TYPE, _json(bundle))


def documents(run: Run, home: str | None) -> Iterator[Document]:
    """`home`: address of this broker, if others can reach it."""
    record = run.record
    here = f"{home or 'urn:earthcode-broker'}/jobs/{run.job.id}"
    yield package_document(run.bundle)
    for name, content in experiment_files(record, {}, None, run.bundle["entry"]).items():
        yield Document(name.partition(".")[0], name, YAML, content)
    if run.log:
        yield Document("log", "log.txt", "text/plain", run.log.encode("utf-8", "replace"))
    yield Document("provenance", "provenance.json", "application/json", _json(record))
    metadata = crate.metadata(record, run.bundle, run.inspection, here)
    yield Document("crate", "run-crate.zip", "application/zip", packed(metadata, record, run.bundle))
    if run.report is not None:
        yield Document("comparison", "comparison.json", "application/json", run.report)
    for path, content in run.values.items():
        yield Document(_key(path), _key(path), guessed(path), content, path)


def documentation(run: Run, found: list[Document], prefix: str) -> dict[str, File]:
    """Asset key -> file; `prefix`: below which the documents are in storage, in `keep`."""
    files = {one.key: one.file(f"{prefix}/{run.job.id}/{one.name}") for one in found}
    return files | {_key(path): file for path, file in run.uploads.items()}


def keep(storage: Storage, run: Run, found: list[Document], prefix: str) -> None:
    """Put the documents into storage; the same again harms nothing. Raises StorageError."""
    for one in found:
        key = f"{prefix}/{run.job.id}/{one.name}"
        storage.keep(key, io.BytesIO(one.content), media_type=one.media_type)


def _key(path: str) -> str:
    """The asset of an input file: `input-<path>`."""
    return safe_name("input-" + path.removeprefix("inputs/").replace("/", "-"))


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
