"""The keeper's last act: measure and hash what the engine left, and write how the job ended."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from broker.jobs.model import Failure, Fault, Limits, Reason
from broker.runner import cgroups
from broker.runner.jobdir import JobDir, write_json

CHUNK = 1024 * 1024
MAX_DEPTH = 100  # levels of an output object


def write(
    job: JobDir, state: str, started: float, failure: Failure | None, facts: dict[str, Any], needs: Sequence[Any] = ()
) -> None:
    """Write exit.json; from then on the job has ended, whatever becomes of its keeper."""
    write_json(
        job.exit,
        {
            "state": state,
            "started": started,
            "finished": time.time(),
            "failure": failure.to_json() if failure else None,
            "facts": facts,
            "needs": needs,
        },
    )


def bounded(failure: Failure, met: str | None) -> Failure:
    """The same failure, or, where a bound of the job was met, that: what a tool says of it is seldom clear."""
    if met is None or failure.fault != Fault.PACKAGE:
        return failure
    reason = Reason.OUT_OF_MEMORY if met == cgroups.MEMORY else Reason.TOO_MANY_PROCESSES
    why = "more memory" if met == cgroups.MEMORY else "more processes at one time"
    message = f"{failure.message.rstrip('.')}. The job used {why} than a job may have here."
    return replace(failure, fault=Fault.LIMIT, reason=reason, message=message)


def collect(job: JobDir, outputs: dict[str, Any], limits: Limits) -> Failure | None:
    """Hash every file below `outputs/` and write outputs.json; a Failure where they are not acceptable.

    The files are taken as they lie there, not as the engine says: links, devices and the like are refused.
    """
    total = 0
    files: list[tuple[str, int]] = []
    for path, status in _walk(job.outputs, ""):
        if not stat.S_ISREG(status.st_mode):
            message = f"The output {path} is neither a file nor a directory."
            return Failure(Fault.PACKAGE, Reason.OUTPUT_REFUSED, message)
        total += status.st_size
        files.append((path, status.st_size))
        if len(files) > limits.output_files:
            message = f"The package gave more than {limits.output_files} output files."
            return Failure(Fault.LIMIT, Reason.OUTPUT_TOO_LARGE, message)
    try:
        outputs = storable(outputs)
        storable([path for path, _ in files])
    except ValueError as error:
        return Failure(Fault.PACKAGE, Reason.OUTPUT_REFUSED, f"The output {error}.")
    if total > limits.output_bytes:
        message = f"The outputs take {total / 2**20:.0f} MiB; {limits.output_bytes / 2**20:.0f} MiB are allowed."
        return Failure(Fault.LIMIT, Reason.OUTPUT_TOO_LARGE, message)
    made: list[dict[str, Any]] = []
    checksums: dict[str, tuple[str, int]] = {}
    for path, _ in files:
        size, sha256, sha1 = digest(job.outputs / path)
        made.append({"path": path, "size": size, "sha256": sha256})
        checksums[path] = (f"sha1${sha1}", size)
    _complete(outputs, checksums)
    formats = {entry["location"]: entry["format"] for entry in _entries(outputs) if entry.get("format")}
    for one in made:
        if one["path"] in formats:
            one["format"] = formats[one["path"]]
    write_json(job.collected, {"outputs": outputs, "files": made})
    return None


def storable(value: Any, depth: int = 0) -> Any:
    """What a tool wrote into cwl.output.json (or called its files), as JSON that everybody can read.

    Whole numbers beyond 64 bits become doubles. Raises ValueError for text that is no Unicode, and deep nesting.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {storable(key): storable(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [storable(one, depth + 1) for one in value]
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"holds text that is no Unicode: {ascii(value)[:200]}") from None
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(str(value))
    return value


def digest(path: Path) -> tuple[int, str, str]:
    """Size, sha256 and sha1 (hex) of a file, read once; sha1 is what CWL's `checksum` holds."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    size = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", 0) as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            sha256.update(chunk)
            sha1.update(chunk)
    return size, sha256.hexdigest(), sha1.hexdigest()


def _walk(root: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    if not root.is_dir():
        return
    with os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            path = f"{below}/{entry.name}" if below else entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(root, path)
            else:
                yield path, status


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("class") in ("File", "Directory") and "location" in value:
            yield value
        for one in value.values():
            yield from _entries(one)
    elif isinstance(value, list):
        for one in value:
            yield from _entries(one)


def _complete(outputs: dict[str, Any], checksums: dict[str, tuple[str, int]]) -> None:
    for entry in _entries(outputs):
        if entry["class"] == "File" and entry["location"] in checksums:
            entry["checksum"], entry["size"] = checksums[entry["location"]]
