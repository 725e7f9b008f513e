"""The part of the file system that a package's files may be in: cwltool's file access and path mapper, bounded."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import MutableSequence
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urlsplit

from cwl_utils.types import CWLDirectoryType, CWLFileType
from cwltool.errors import WorkflowException
from cwltool.pathmapper import PathMapper
from cwltool.stdfsaccess import StdFsAccess, abspath
from schema_salad.ref_resolver import file_uri

from broker.runner.beneath import open_file

NOT_FETCHED = "a run opens no address; inputs are fetched before it starts."


class OutsideJob(WorkflowException):
    """A path that leads out of the job's directories (`refused`: what was named)."""

    def __init__(self, refused: str, why: str) -> None:
        super().__init__(f"{refused} is refused: {why}")


class OutsideInput(OutsideJob):
    """An input that is somewhere else than with the job."""

    def __init__(self, refused: str) -> None:
        super().__init__(refused, NOT_FETCHED)


class Confined:
    """Directories, as real paths, below which everything must lie that a run opens."""

    roots: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def inside(cls, path: str) -> str | None:
        """Where `path` leads once every symbolic link is followed; None where that is not below a root."""
        for root in cls.roots:
            if path.startswith(root + "/") and _without_links(root, path[len(root) + 1 :]):
                return path
        real = os.path.realpath(path)
        return real if any(real == root or real.startswith(root + os.sep) for root in cls.roots) else None

    @classmethod
    def require(cls, path: str) -> str:
        """The same path, if it leads to something inside."""
        cls.real(path)
        return path

    @classmethod
    def real(cls, path: str) -> str:
        """Where the path leads: looked up once, so that what is opened (without links) is what was looked at."""
        real = cls.inside(path)
        if real is None:
            raise OutsideJob(Path(path).name, "it leads to a file outside of the job's own directories.")
        return real

    @classmethod
    def require_tree(cls, path: str, most: int) -> None:
        """Raise OutsideJob where a directory, its links followed, leads out, into itself, or to more than `most`."""
        waiting: list[tuple[str, tuple[str, ...]]] = [(path, (os.path.realpath(path),))]
        count = 0
        while waiting:
            directory, above = waiting.pop()
            cls.require(directory)
            with os.scandir(directory) as entries:
                for entry in entries:
                    count += 1
                    if count > most:
                        raise OutsideJob(Path(path).name, f"it holds more than {most} files.")
                    cls.require(entry.path)
                    if entry.is_dir():
                        real = os.path.realpath(entry.path)
                        if real in above:
                            raise OutsideJob(entry.name, "it is a symbolic link to a directory that holds it.")
                        waiting.append((entry.path, (*above, real)))
                    elif not entry.is_file():
                        raise OutsideJob(entry.name, "it is neither a file nor a directory.")


def _without_links(root: str, below: str) -> bool:
    """Whether a path below a real directory is certainly one without links and `..`: most are, and asked of often."""
    path = root
    for part in below.split("/"):
        if part in ("", ".", ".."):
            return False
        path = f"{path}/{part}"
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                return False
        except OSError:
            return False
    return True


class JobFiles(Confined, StdFsAccess):
    """cwltool's file access, which follows no link and no `..` out of the job, and no URL."""

    def _abs(self, p: str) -> str:
        if urlsplit(p).scheme in ("http", "https", "ftp", "s3"):
            raise OutsideInput(p)
        if p.startswith("_:"):
            return super()._abs(p)  # by value: cwltool asks all the same, and takes "not there" for an answer
        return self.require(super()._abs(p))

    def glob(self, pattern: str) -> list[str]:
        """URIs of what matches; `pattern` is the output directory (`basedir`) or lies below it."""
        absolute = abspath(pattern, self.basedir).rstrip("/")
        if absolute == self.basedir:
            return [file_uri(absolute)]
        below = absolute.removeprefix(self.basedir).lstrip("/")
        if ".." in Path(below).parts or not absolute.startswith(self.basedir):
            raise OutsideJob(repr(below), "a glob may not leave the output directory.")
        # root_dir: characters that mean something to glob may be in the directory's own name
        return [file_uri(self._regular(f"{self.basedir}/{name}")) for name in self._matches(below)]

    def _matches(self, below: str) -> list[str]:
        # Not Path.glob: CWL asks for POSIX glob(3), which gives no hidden files and takes `[` as it is.
        return [name.rstrip("/") or "." for name in glob.glob(below, root_dir=self.basedir)]  # noqa: PTH207

    def _regular(self, path: str) -> str:
        self.require(path)
        try:
            mode = Path(path).stat().st_mode
        except FileNotFoundError:
            raise OutsideJob(Path(path).name, "it is a symbolic link to nothing.") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OutsideJob(Path(path).name, "it is neither a file nor a directory.")
        return path

    def open(self, fn: str, mode: str) -> IO[Any]:
        if any(letter in mode for letter in "wax+"):
            raise OutsideJob(fn, "the engine only reads.")
        real = self.real(self._abs(fn))
        try:
            # Nothing on that way is a link, and no FIFO is waited for.
            descriptor = open_file("/", real[1:])
        except OSError as error:
            raise OutsideJob(Path(fn).name, "it is not a file that can be read.") from error
        if "b" in mode:
            return os.fdopen(descriptor, mode)
        return os.fdopen(descriptor, mode, encoding="utf-8")

    def exists(self, fn: str) -> bool:
        # Asked of secondary files that may not be there: outside means no.
        return self.inside(super()._abs(fn)) is not None and super().exists(fn)


class JobPaths(Confined, PathMapper):
    """cwltool's path mapper, which maps only files of the job."""

    def visit(
        self,
        obj: CWLFileType | CWLDirectoryType,
        stagedir: str,
        basedir: str,
        copy: bool = False,
        staged: bool = False,
    ) -> None:
        location = obj["location"]
        if not location.startswith("_:") and location not in self._pathmap:
            if urlsplit(location).scheme not in ("", "file"):
                raise OutsideInput(location)
            self.require(abspath(location, basedir))
        super().visit(obj, stagedir, basedir, copy, staged)

    def setup(self, referenced_files: MutableSequence[CWLFileType | CWLDirectoryType], basedir: str) -> None:
        """One directory per file below the stage directory, numbered: cheaper than cwltool's uuid."""
        for number, entry in enumerate(referenced_files):
            stagedir = f"{self.stagedir}/{number}" if self.separateDirs else self.stagedir
            self.visit(entry, stagedir, basedir, copy=bool(entry.get("writable", False)), staged=True)


def confine(*roots: Path) -> tuple[type[JobFiles], type[JobPaths]]:
    """The two classes for a run whose files are below `roots`."""
    real = {"roots": tuple(os.path.realpath(root) for root in roots)}
    return type("RunFiles", (JobFiles,), real), type("RunPaths", (JobPaths,), real)
