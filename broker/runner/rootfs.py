"""The root of the sandboxes of one job, mounted once: a sandbox then costs a few mounts instead of thirty.

The engine makes it in a mount namespace of its own, so that it is gone when the engine is, however that ends. Each tool
gets it by one recursive bind, with all flags as they are set here; what a tool may write to is mounted over it. Nothing
in that namespace may remove the job's work directory: there the host's own files lie below it, if read-only.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from broker.runner import isolation, kernel

_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
# Where a step's own directories are mounted: what lies below is the step's.
_OF_STEPS = (isolation.TMPDIR, isolation.OUTDIR, isolation.STAGEDIR, "/proc", "/dev/shm")  # noqa: S108  inside


def make(root: Path, directories: Iterable[str], *, network: bool) -> bool:
    """Mount at `root` (a new directory) what `isolation.bubblewrap_base` mounts; whether the kernel let us.

    `directories` of software are bound too, but for those that lie below a step's own. Only for a process that
    starts no container engine: what that mounts must be seen by others.
    """
    try:
        kernel.leave_mounts()
        root.mkdir()
        kernel.mount("tmpfs", root, "mode=755")
        for path in _OF_STEPS:
            _inside(root, path).mkdir(parents=True)
        for path, source in isolation.system_mounts(network=network):
            _add(root, path, source)
        isolation.write_accounts(root / "etc")
        _devices(root / "dev")
        for directory in directories:
            if not of_steps(directory):
                _add(root, directory, Path(directory))
        kernel.close_mount(root, devices=True)
    except OSError:
        # Whoever cleans up below the job's directory must not find the host's files there.
        kernel.unmount(root)
        return False
    return True


def of_steps(directory: str) -> bool:
    """Whether a directory lies below one that each step has of its own."""
    return any(f"{directory}/".startswith(f"{path}/") for path in _OF_STEPS)


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _add(root: Path, path: str, source: Path) -> None:
    target = _inside(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() and path in isolation.ROOTS:
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir(exist_ok=True)
        kernel.bind(source, target)
        kernel.close_mount(target, below=True)
    else:
        shutil.copyfile(source, target)  # small ones: each mount costs every step its time
        target.chmod(0o644)


def _devices(dev: Path) -> None:
    for name in _DEVICES:
        with contextlib.suppress(FileNotFoundError):
            (dev / name).touch()
            kernel.bind(Path("/dev", name), dev / name)
    (dev / "pts").mkdir()
    kernel.mount("devpts", dev / "pts", "newinstance,ptmxmode=0666,mode=620", programs=False)
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
