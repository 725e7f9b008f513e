"""Files below a directory that somebody else may have filled: opened without following any link on the way."""

from __future__ import annotations

import errno
import os
import stat

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
