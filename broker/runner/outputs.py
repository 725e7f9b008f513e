"""What a run made, brought together below `outputs/` without leaving the job's directories."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from schema_salad.ref_resolver import uri_file_path

from broker.runner.beneath import open_file
from broker.runner.confinement import Confined, OutsideJob

MOST = 1_000_000


class TooMany(Exception):
    """More output files than a job may give."""


# What engine and cwltool add to File and Directory objects for their own use.
_INTERNAL = (
    "path",
    "dirname",
    "nameroot",
    "nameext",
    "contents",
    "listing",
    "streamable",
    "writable",
    "checksum",
    "http://commonwl.org/cwltool#generation",
)


def gather(
    outputs: Any, root: Path, roots: type[Confined], most: int = MOST, sources: dict[str, str] | None = None
) -> dict[str, Any]:
    """The CWL output object with each File and Directory put at `root/<output id>/<basename>`.

    `location` is the path relative to `root`. Basenames that would meet are put into numbered directories beside
    each other, secondary files stay with their primary, the inside of a Directory stays as it is (so that relative
    links hold). Files are hard-linked where that is possible. Raises OutsideJob for what leads out of the job or is
    neither file nor directory, and TooMany for more than `most` files and directories: a few links to each other can
    stand for any number. `sources` takes down what the files and directories of the object itself were before.
    """
    root.mkdir(exist_ok=True)
    gathering = _Gathering(root, roots, most, {} if sources is None else sources)
    return {str(name): gathering.value(value, _segment(str(name))) for name, value in (outputs or {}).items()}


class _Gathering:
    def __init__(self, root: Path, roots: type[Confined], most: int, sources: dict[str, str]) -> None:
        self.sources = sources
        self.most = most
        self.count = 0
        self.root = root
        self.roots = roots
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def value(self, value: Any, under: str) -> Any:
        """The value with its Files and Directories put below `under`."""
        if isinstance(value, Mapping):
            if value.get("class") in ("File", "Directory"):
                return self._entry(value, self._place(value, under))
            return {str(key): self.value(one, under) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one, under) for one in value]
        return value

    def _place(self, entry: Mapping[str, Any], under: str) -> str:
        """A directory where neither the entry nor its secondary files meet others."""
        names = [_basename(one) for one in (entry, *(entry.get("secondaryFiles") or ()))]
        place = under
        while any(f"{place}/{name}" in self._taken for name in names):
            # Once a name was met, go on from the last number: a scatter gives thousands of the same name.
            key = f"{under}/{names[0]}"
            number = self._next[key] = self._next.get(key, 1) + 1
            place = f"{under}/{number}"
        # A numbered directory may itself meet a file of that name.
        self._taken.update(f"{place}/{name}" for name in names)
        self._taken.add(place)
        return place

    def _entry(self, entry: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Put one File or Directory into the directory `place`."""
        target = f"{place}/{_basename(entry)}"
        self._one_more()
        (self.root / place).mkdir(parents=True, exist_ok=True)
        source = _source(entry)
        if source is not None:
            self.sources[target] = source
        made = {str(key): _plain(one) for key, one in entry.items() if key not in _INTERNAL}
        made["basename"], made["location"] = _basename(entry), target
        if entry["class"] == "Directory":
            made["listing"] = self._directory(entry, source, target)
        elif source is None:
            content = str(entry.get("contents", "")).encode()
            (self.root / target).write_bytes(content)
            made["size"] = len(content)
        else:
            made["size"] = self._file(source, target)
        if entry.get("secondaryFiles"):
            made["secondaryFiles"] = [self._entry(one, place) for one in entry["secondaryFiles"]]
        else:
            made.pop("secondaryFiles", None)
        return made

    def _directory(self, entry: Mapping[str, Any], source: str | None, target: str) -> list[dict[str, Any]]:
        (self.root / target).mkdir()
        if source is None:
            children = entry.get("listing") or ()
            for child in children:
                if f"{target}/{_basename(child)}" in self._taken:
                    raise OutsideJob(repr(_basename(child)), f"the directory {_basename(entry)} would hold it twice.")
                self._taken.add(f"{target}/{_basename(child)}")
            return [self._entry(child, target) for child in children]
        self.roots.require(source)
        return list(self._tree((os.path.realpath(source),), target))

    def _tree(self, sources: tuple[str, ...], target: str) -> Iterator[dict[str, Any]]:
        """The entries of a directory, the last of `sources`; the others are those that it was reached through."""
        source = sources[-1]
        if os.lstat(source).st_mode & 0o500 != 0o500:
            Path(source).chmod(0o700)
        with os.scandir(source) as entries:
            for found in sorted(entries, key=lambda one: one.name):
                self._one_more()
                self.roots.require(found.path)
                place = f"{target}/{found.name}"
                made: dict[str, Any] = {"class": "File", "basename": found.name, "location": place}
                if found.is_dir():
                    (self.root / place).mkdir()
                    real = os.path.realpath(found.path)
                    if real in sources:
                        raise OutsideJob(found.name, "it is a symbolic link to a directory that holds it.")
                    made["class"], made["listing"] = "Directory", list(self._tree((*sources, real), place))
                else:
                    made["size"] = self._file(found.path, place)
                yield made

    def _one_more(self) -> None:
        self.count += 1
        if self.count > self.most:
            raise TooMany(f"The package gave more than {self.most} output files and directories.")

    def _file(self, source: str, target: str) -> int:
        """Link or copy one file; its size."""
        real = self.roots.real(source)
        status = os.lstat(real)
        if not stat.S_ISREG(status.st_mode):
            raise OutsideJob(Path(source).name, "it is not a regular file.")
        if not status.st_mode & stat.S_IRUSR:
            Path(real).chmod(0o600)
        try:
            descriptor = open_file("/", real[1:])
        except OSError as error:
            raise OutsideJob(Path(source).name, "it changed while it was collected.") from error
        try:
            # By its descriptor: what was looked at is what is kept, whatever stands under the name by now.
            put(f"/proc/self/fd/{descriptor}", self.root / target, descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)


def put(source: str, target: Path, descriptor: int | None = None) -> None:
    """A second name for a file, or a copy where the file system gives none. `descriptor`: what `source` links to."""
    try:
        # Python follows a link only where it is given a directory too, which means nothing to an absolute path.
        os.link(source, target, src_dir_fd=descriptor, follow_symlinks=descriptor is not None)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES):
            raise
        shutil.copyfile(source, target, follow_symlinks=descriptor is not None)


def _source(entry: Mapping[str, Any]) -> str | None:
    """The host's path of an entry; None for one that exists by value."""
    location = str(entry.get("location") or entry.get("path") or "")
    if not location or location.startswith("_:"):
        return None
    if location.startswith("file://"):
        return str(uri_file_path(location))
    if location.startswith("/"):
        return location
    raise OutsideJob(location, "an output must be a file that the run made or was given.")


def _basename(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("basename") or "") or unquote(str(entry.get("location", ""))).rstrip("/").rpartition("/")[2]
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise OutsideJob(repr(name), "it is not the name of a file.")
    return name


def _segment(name: str) -> str:
    return name.replace("/", "_").strip(".") or "_"


def _plain(value: Any) -> Any:
    """Plain JSON types for what ruamel and cwltool subclass."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
