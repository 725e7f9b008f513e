"""What is below a directory that somebody else has filled: opened and removed without following any link there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path

_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_file(root: str, below: str) -> int:
    """A descriptor to read the regular file `below` the directory `root`.

    Nothing on the way may be a link (`root` itself may lie behind some), also where it becomes one meanwhile; a FIFO
    or device is not waited for. Raises OSError.
    """
    *parents, name = below.split("/")
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parents:
            if part in ("", ".", ".."):
                raise OSError(errno.EINVAL, "not a path without detours", below)
            deeper = os.open(part, _STEP, dir_fd=directory)
            os.close(directory)
            directory = deeper
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not the name of a file", below)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", below)
    return descriptor


def leads_astray(root: str, below: str) -> bool:
    """Whether a directory on the way from `root` to `below` is a link by now (or no directory)."""
    path = root
    for part in below.split("/")[:-1]:
        path = f"{path}/{part}"
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return False
        if part in ("", ".", "..") or not stat.S_ISDIR(mode):
            return True
    return False


def open_directory(name: str | Path, parent: int | None = None) -> int:
    """A descriptor to list the directory `name` (in one that is open), also where it was closed to its owner: that is
    undone. Raises OSError."""
    try:
        return os.open(name, _LISTED | os.O_NOFOLLOW, dir_fd=parent)
    except PermissionError:
        place = os.open(name, _STEP, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101  the one that was opened, whatever has its name now
        return os.open(f"/proc/self/fd/{place}", _LISTED)
    finally:
        os.close(place)


def remove_tree(path: Path) -> None:
    """Remove a directory and what is below it, however deep that is; no error is raised, what cannot go stays.

    Directories in it are moved up before they are looked into: going down takes a descriptor or a call for each level,
    and a tool can make more of these than there are.
    """
    with contextlib.suppress(OSError):
        top = open_directory(path)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()


def _empty(top: int) -> None:
    mark = uuid.uuid4().hex
    waiting = _without_files(top, top, mark, 0)
    made = len(waiting)
    while waiting:
        name = waiting.pop()
        with contextlib.suppress(OSError):
            directory = open_directory(name, top)
            try:
                found = _without_files(directory, top, mark, made)
            finally:
                os.close(directory)
            made += len(found)
            waiting += found
            os.rmdir(name, dir_fd=top)


def _without_files(directory: int, top: int, mark: str, number: int) -> list[str]:
    """Remove what is in a directory but for its directories, which get new names at the top, from `number` on."""
    os.fchmod(directory, 0o700)
    moved: list[str] = []
    with os.scandir(directory) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, holds in names:
        with contextlib.suppress(OSError):
            if not holds:
                os.unlink(name, dir_fd=directory)
                continue
            place = f"{mark}.{number + len(moved)}"
            try:
                os.rename(name, place, src_dir_fd=directory, dst_dir_fd=top)
            except PermissionError:  # one that is to be moved has to be open to its owner
                os.close(open_directory(name, directory))
                os.rename(name, place, src_dir_fd=directory, dst_dir_fd=top)
            moved.append(place)
    return moved
