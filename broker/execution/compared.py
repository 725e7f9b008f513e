"""The files of two runs that are compared: what is known of each, and their bytes, brought here where those differ."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

import orjson
from sqlalchemy import Connection

from broker.egress import Egress, FetchError
from broker.errors import EgressRefused, NoSuchFile, NoSuchJob, SetupError
from broker.execution.collect import key
from broker.jobs.model import Phase
from broker.packages.describe import holds_files
from broker.results.compare import Judge, Output, gathered, whole
from broker.results.confined import confinement, only_bytes
from broker.results.verdict import Judgement, Tolerance, Verdict
from broker.storage import Storage
from broker.store import files, jobs

SECONDS = 3600.0  # of one comparison; what is left then is compared by checksums only
RESERVE = 256 * 2**20  # bytes left free on the disk
MOST_PATH = 1024


class Uncomparable(Exception):
    """A run has no outputs to compare, and never will: a sentence."""


class Lost(Exception):
    """The comparison is somebody else's now, or nobody's."""


class _Unreadable(Exception):
    """The bytes of one output cannot be had; why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a run. `output`: its checksum ("" where nobody knows it) and size; `read` gives its bytes, None where
    nobody has them."""

    output: Output
    read: Callable[[], Iterable[bytes]] | None


def of_job(tx: Connection, storage: Storage, job_id: str, *, values: bool) -> dict[str, Source]:
    """The files of a job and, with `values`, its outputs that are none, each as JSON. Raises Uncomparable."""
    try:
        job = jobs.get(tx, job_id)
    except NoSuchJob:
        raise Uncomparable(f"The job {job_id} was deleted.") from None
    if job.phase is not Phase.SUCCESSFUL:
        raise Uncomparable(f"The job {job_id} ended as {job.phase.value}: it has no outputs to compare.")
    if job.swept is not None:
        raise Uncomparable(f"The results of the job {job_id} were deleted.")
    found = {
        one.path: Source(
            Output(one.sha256 or "", one.size or 0), partial(storage.open, key(job, one.attempt, one.path))
        )
        for one in files.of_job(tx, job_id)
    }
    for name, value in (job.outputs or {}).items() if values else ():
        if not holds_files(value):
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            digest = hashlib.sha256(text).hexdigest()
            found.setdefault(f"{name} (value)", Source(Output(digest, len(text)), partial(iter, (text,))))
    return found


def of_record(egress: Egress, outputs: Mapping[str, Any]) -> dict[str, Source]:
    """The outputs that a record tells of: {path: {sha256, size, href}}. Raises Uncomparable."""
    found = {}
    for path, told in outputs.items():
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or len(path) > MOST_PATH or not path.isprintable():
            raise Uncomparable(f"The record names an output by what is no path: {path[:80]!r}.")
        href = told.get("href")
        read = None if href is None else partial(egress.open, href)
        found[path] = Source(Output(told.get("sha256") or "", told.get("size") or 0), read)
    return found


class Scratch:
    """A directory for the two outputs that are being compared, and no longer. `lost`: nobody waits for the result any
    more. `last`: nobody will try again, so what cannot be had now counts as lost."""

    def __init__(self, root: Path, lost: Event, *, last: bool) -> None:
        self._root = root
        self._lost = lost
        self._last = last
        self._ends = time.monotonic() + SECONDS
        self._sources: dict[Path, Mapping[str, Source]] = {}

    def side(self, found: Mapping[str, Source]) -> dict[str, Output]:
        """The outputs of one run. Raises ValueError for more than are compared."""
        outputs = {}
        for name, members in gathered(found).items():
            output = whole({path: one.output for path, one in members.items()})
            if all(one.read is not None for one in members.values()):
                place = self._root / str(len(self._sources)) / f"output{_suffix(name)}"
                self._sources[place] = members
                output = replace(output, path=place)
            outputs[name] = output
        return outputs

    def judge(self, left: Path, right: Path, tolerance: Tolerance) -> tuple[str, Judgement]:
        """Bring two outputs here, and compare them by their format. Raises StorageError, and FetchError for what may
        be had later, Lost."""
        if self._lost.is_set():
            raise Lost
        if time.monotonic() > self._ends:
            return only_bytes("the comparison had taken too long by then")
        try:
            digests = [self._bring(place, self._sources[place]) for place in (left, right)]
            if digests[0] == digests[1]:
                return "checksum", Judgement(Verdict.IDENTICAL, "The same bytes.")
            found = self._judge(left, right, tolerance)
            if self._lost.is_set():
                raise Lost
            return found
        except _Unreadable as error:
            return only_bytes(str(error))
        except OSError as error:  # names that no file can have, say
            return only_bytes(f"they cannot be kept here: {error.strerror}")
        finally:
            for place in (left, right):
                shutil.rmtree(place.parent, ignore_errors=True)

    @cached_property
    def _judge(self) -> Judge:
        """Asked for when there is something to judge: most outputs are equal."""
        try:
            return confinement(given_up=self._lost.is_set).judge
        except SetupError as error:
            why = error.detail
            return lambda left, right, tolerance: only_bytes(why)

    def _bring(self, place: Path, members: Mapping[str, Source]) -> str:
        """The digest of what came."""
        came = {}
        for name, source in members.items():
            path = place / name if name else place
            path.parent.mkdir(parents=True, exist_ok=True)
            came[name] = self._copy(source, path)
        return whole(came).sha256

    def _copy(self, source: Source, path: Path) -> Output:
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("xb") as file:
                for chunk in self._chunks(source):
                    size += len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
        except (EgressRefused, NoSuchFile) as error:
            raise _Unreadable(error.detail.removesuffix(".")) from error
        except FetchError as error:
            if error.transient and not self._last:
                raise
            raise _Unreadable(error.detail.removesuffix(".")) from error
        came = Output(digest.hexdigest(), size)
        if source.output.sha256 not in ("", came.sha256):
            raise _Unreadable("what is there now is not what the record tells of")
        return came

    def _chunks(self, source: Source) -> Iterator[bytes]:
        """Bytes of a source while there is room and time for them."""
        assert source.read is not None  # noqa: S101 - see `side`
        room = shutil.disk_usage(self._root).free - RESERVE
        for chunk in source.read():
            room -= len(chunk)
            if self._lost.is_set():
                raise Lost
            if room < 0:
                raise _Unreadable("there is no room for them here")
            if time.monotonic() > self._ends:
                raise _Unreadable("bringing them here took too long")
            yield chunk


def _suffix(name: str) -> str:
    """Of a name, where it is one that says something about a format."""
    suffix = PurePosixPath(name).suffix
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 10 else ""
