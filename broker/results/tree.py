"""The files of a catalog by path, wherever they lie: in memory, in a folder, changed on top of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol


class Tree(Protocol):
    """Paths are relative to the catalog's root, with `/` between their parts."""

    def paths(self) -> Iterable[str]:
        """Of all files."""

    def read(self, path: str) -> bytes | None:
        """A file; None where there is none."""


class Files:
    """A catalog in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def paths(self) -> Iterable[str]:
        return self.files

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


class Folder:
    """A catalog in a folder of this machine; links and what is not below the folder are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        self._paths = {one for path in files if not (one := path.relative_to(root).as_posix()).startswith(".git/")}

    def paths(self) -> Iterable[str]:
        return self._paths

    def read(self, path: str) -> bytes | None:
        return (self.root / path).read_bytes() if path in self._paths else None


class Changed:
    """A catalog with some files changed or added."""

    def __init__(self, below: Tree, files: Mapping[str, bytes]) -> None:
        self.below, self.files = below, files

    def paths(self) -> Iterable[str]:
        return set(self.below.paths()) | set(self.files)

    def read(self, path: str) -> bytes | None:
        return self.files[path] if path in self.files else self.below.read(path)
