"""Control groups: what the tools of one job may use together of memory, processes and CPU, kept by the kernel.

Version 2 where a subtree is ours to divide (as with `Delegate=yes` of systemd), version 1 where only that is there.
A group is entered before there is a job, for moving a process takes milliseconds; writing limits takes none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTROLLERS = ("memory", "pids", "cpu")
MOUNTINFO, OWN = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
TOP = "earthcode-broker"
_PERIOD = 100_000  # µs
# What all jobs together weigh where cores are short: a quarter of a process beside them. Niceness counts for nothing
# between groups, and the API is to answer on a machine full of jobs.
_WEIGHTS = {1: ("cpu.shares", 256), 2: ("cpu.weight", 25)}
_FILES = {
    1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us"),
    2: ("memory.max", "memory.swap.max", "cpu.max"),
}
PROCESSES = "processes"
UNGROUPED = (
    "No control groups can be made here (a service needs Delegate=yes, a container a writable /sys/fs/cgroup): memory"
    " is limited for each process of a job, not for the job."
)
MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a job may use: bytes of memory (swap included), processes and threads, cores."""

    memory: int
    processes: int
    cores: float

    def to_json(self) -> dict[str, Any]:
        return {"memory": self.memory, "processes": self.processes, "cores": self.cores}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Bounds:
        return cls(value["memory"], value["processes"], value["cores"])


class Group:
    """The group of one job. `directories`: by controller; in version 2 they are one."""

    def __init__(self, version: int, directories: Mapping[str, Path]) -> None:
        self.version = version
        self.directories = directories

    def enter(self) -> None:
        """Move this process in, and with it all that it starts. Raises OSError."""
        for directory in set(self.directories.values()):
            (directory / "cgroup.procs").write_text("0", encoding="ascii")

    def entered(self) -> bool:
        """As `enter`; whether that worked."""
        try:
            self.enter()
        except OSError:
            return False
        return True

    def bound(self, bounds: Bounds) -> None:
        """Raises OSError where memory or processes cannot be limited; the rest is limited where that is known."""
        quota = max(1000, int(bounds.cores * _PERIOD))
        memory, swap, cpu = _FILES[self.version]
        self._write(memory, bounds.memory)
        self._write("pids.max", bounds.processes)
        with contextlib.suppress(OSError, KeyError):
            self._write(swap, 0 if self.version == 2 else bounds.memory)  # version 1 counts both together
        with contextlib.suppress(OSError, KeyError):
            self._write(cpu, f"{quota} {_PERIOD}" if self.version == 2 else quota)

    def met(self) -> str | None:
        """The bound that was met since the group was made: PROCESSES, MEMORY, or None."""
        if self._count("memory.events" if self.version == 2 else "memory.oom_control", "oom_kill"):
            return MEMORY
        return PROCESSES if self._count("pids.events", "max") else None

    def remove(self) -> None:
        """Once all that was in it has ended; what does not go now goes with the next zygote."""
        for directory in set(self.directories.values()):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _write(self, name: str, value: object) -> None:
        self._file(name).write_text(str(value), encoding="ascii")

    def _count(self, name: str, key: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            for line in self._file(name).read_text(encoding="ascii").splitlines():
                word, _, number = line.partition(" ")
                if word == key:
                    return int(number)
        return 0

    def _file(self, name: str) -> Path:
        return self.directories[name.partition(".")[0]] / name


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups of jobs may be made, by controller."""

    version: int
    bases: Mapping[str, Path]

    def make(self, name: str) -> Group:
        """A new group. Raises OSError."""
        directories = {controller: base / name for controller, base in self.bases.items()}
        for directory in set(directories.values()):
            directory.mkdir()
        return Group(self.version, directories)

    def weigh(self) -> None:
        """Put all jobs behind what else runs here, where the kernel divides cores among groups."""
        name, weight = _WEIGHTS[self.version]
        with contextlib.suppress(OSError, KeyError):
            (self.bases["cpu"] / name).write_text(str(weight), encoding="ascii")

    def sweep(self) -> None:
        """Remove empty groups that a zygote before has left."""
        for base in set(self.bases.values()):
            for entry in base.iterdir():
                if entry.is_dir():
                    with contextlib.suppress(OSError):
                        entry.rmdir()


def find(mountinfo: Path = MOUNTINFO, own: Path = OWN) -> Groups | None:
    """Where this process may make groups that limit memory and processes, found by making one; None: nowhere."""
    try:
        hierarchies = dict(_hierarchies(mountinfo, own))
    except (OSError, ValueError):
        return None
    for base in hierarchies.pop("", ()):
        with contextlib.suppress(OSError):
            return _tried(Groups(2, _divided(base)))
    with contextlib.suppress(OSError):
        bases = {controller: base / TOP for controller, [base] in hierarchies.items()}
        for base in bases.values():
            base.mkdir(exist_ok=True)
        return _tried(Groups(1, bases))
    return None


def _divided(base: Path) -> dict[str, Path]:
    """A group below `base` whose children have the controllers. Raises OSError."""
    top = base / TOP
    there = (base / "cgroup.controllers").read_text(encoding="ascii").split()
    found = [name for name in CONTROLLERS if name in there]
    top.mkdir(exist_ok=True)
    for directory in (base, top):
        (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in found), encoding="ascii")
    return dict.fromkeys(found, top)


def _tried(groups: Groups) -> Groups:
    """The same, once a group was made and bounded there. Raises OSError."""
    if not {"memory", "pids"} <= set(groups.bases):
        raise FileNotFoundError("memory and pids are needed")
    groups.sweep()
    groups.weigh()
    group = groups.make(f"trial-{os.getpid()}")
    try:
        group.bound(Bounds(2**30, 100, 1.0))
    finally:
        group.remove()
    return groups


def _hierarchies(mountinfo: Path, own: Path) -> Iterator[tuple[str, list[Path]]]:
    """The directories of our own groups by controller; "" for version 2, with that of the group around ours.

    There a group that holds processes cannot be divided: the service's own (`DelegateSubgroup=`) is beside its jobs'.
    """
    places = {}
    for line in own.read_text(encoding="ascii").splitlines():
        _, names, path = line.split(":", 2)
        places.update({name: path for name in names.split(",")})
    for line in mountinfo.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" and "" in places:
            found = _below(point, root, places[""])
            yield "", [found, found.parent] if str(found) != point else [found]
        elif kind == "cgroup":
            for name in set(options.split(",")) & set(CONTROLLERS) & set(places):
                yield name, [_below(point, root, places[name])]


def _below(point: str, root: str, path: str) -> Path:
    relative = os.path.relpath(path, root)
    return Path(point) if relative.startswith("..") or relative == "." else Path(point, relative)
