"""What a step's inputs hold, whatever their files are called on this disk: a part of the key of its results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from schema_salad.ref_resolver import uri_file_path

from broker.runner import beneath
from broker.runner.confinement import Confined
from broker.runner.jobdir import JobDir, read_json

# what says where a file is, or follows from what it holds
_ELSEWHERE = ("location", "path", "dirname", "checksum", "nameroot", "nameext", "size", "contents", "listing",
              "http://commonwl.org/cwltool#generation")  # fmt: skip


class Contents:
    """Values of one run by content; each file is read once."""

    def __init__(self, job: JobDir, files: type[Confined], most_files: int) -> None:
        self.files = files
        self.most_files = most_files
        received = (read_json(job.path / "staged.json") or {}).get("received") or ()
        self._known = {str(job.inputs / one["path"]): str(one["sha256"]) for one in received}

    def of(self, value: Any) -> Any:
        """A value with what its files hold instead of where they are. Raises OSError and OutsideJob."""
        if isinstance(value, list | tuple):
            return [self.of(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("class") not in ("File", "Directory"):
            return {str(key): self.of(one) for key, one in value.items()}
        found = {str(key): self.of(one) for key, one in value.items() if key not in _ELSEWHERE}
        location = str(value.get("location") or "")
        if location.startswith("file://"):
            path = str(uri_file_path(location))
            if value["class"] == "File":
                return found | {"sha256": self._digest(path)}
            self.files.require_tree(path, self.most_files)
            return found | {"tree": self._tree(path)}
        return found | {key: self.of(value[key]) for key in ("contents", "listing") if key in value}

    def _tree(self, path: str) -> dict[str, Any]:
        with os.scandir(path) as entries:
            return {
                entry.name: self._tree(entry.path) if entry.is_dir() else self._digest(entry.path) for entry in entries
            }

    def _digest(self, path: str) -> str:
        """Of a file that nobody changes any more: a tool sees the files of others, and cannot write to them."""
        real = self.files.real(path)
        if real not in self._known:
            with os.fdopen(beneath.open_file("/", real[1:]), "rb") as stream:
                self._known[real] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._known[real]
