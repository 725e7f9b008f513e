"""What the Linux kernel does for the runner: death signals, reaping, network namespaces, ends of processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000
_CLONE_NEWIPC = 0x08000000
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
NOBODY = 65534
_MS_NOSUID, _MS_NOEXEC = 0x2, 0x8
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
# mount_setattr(2) has one number on all architectures, and no function in older C libraries.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_MNT_DETACH = 0x2
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the parent ends; ends at once where it has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_with_parent(parent: int) -> None:
    """Get SIGTERM when the parent ends: time to put things in order."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they are found and measured."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave_network(*, as_user: bool = True) -> bool:
    """Move this process to a network namespace of its own, with nothing in it; whether that was permitted."""
    if _libc.unshare(_CLONE_NEWNET) == 0:
        return True
    return as_user and _as_user(_CLONE_NEWNET)


def leave_mounts() -> None:
    """Give this process a mount namespace of its own, from which nothing gets back. Raises OSError."""
    _check(_libc.unshare(_CLONE_NEWNS), Path("/"))
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), Path("/"))


def mount(kind: str, target: Path, options: str, *, programs: bool = True) -> None:
    """A new file system of a kind; `programs`: whether what is on it may be executed. Raises OSError."""
    flags = ctypes.c_ulong(_MS_NOSUID | (0 if programs else _MS_NOEXEC))
    _check(_libc.mount(kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode()), target)


def bind(source: Path, target: Path) -> None:
    """`source`, with what is mounted below it, also at `target`. Raises OSError."""
    flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None), target)


def unmount(target: Path) -> None:
    """Take away a mount with all that is mounted below it; none there is no error."""
    _libc.umount2(os.fsencode(target), _MNT_DETACH)


def close_mount(target: Path, *, below: bool = False, devices: bool = False) -> None:
    """Make a mount read-only, without set-user-id and (but for `devices`) without devices; `below`: and what is
    mounted below it. Raises OSError, also where the kernel is older than 5.12."""
    flags = _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | (0 if devices else _MOUNT_ATTR_NODEV)
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)  # to set, to clear, propagation, user namespace
    how = ctypes.c_uint(_AT_RECURSIVE if below else 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    arguments = (ctypes.c_int(_AT_FDCWD), os.fsencode(target), how, ctypes.byref(attributes), size)
    _check(_libc.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), *arguments), target)


def _check(result: int, path: Path) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def shut_in(nowhere: Path, *, keep: Iterable[int]) -> bool:
    """Give up the network, the file system (for the empty directory `nowhere`), rights, and all descriptors but
    `keep`; whether the kernel let us. Also other processes are out of reach then, even those of our own user."""
    kept = sorted(keep)
    for low, high in zip([-1, *kept], [*kept, 65536], strict=True):
        if low + 1 < high:  # an empty range ending at 0 would be taken for all there are
            os.closerange(low + 1, high)
    root = os.geteuid() == 0
    spaces = _CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWIPC
    if not (root and _libc.unshare(spaces) == 0) and not _as_user(spaces):
        return False
    os.chdir(nowhere)
    os.chroot(".")
    if root:
        with contextlib.suppress(OSError):  # in a user namespace of its own there is nobody else to become
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    _drop_rights()
    return True


def _as_user(spaces: int) -> bool:
    """A user namespace of its own, and these with it."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | spaces) != 0:
        return False
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    return True


def _drop_rights() -> None:
    """No capability in any set, and none to be had from a program."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())


def limit(
    *,
    memory: int | None = None,
    cpu: int | None = None,
    files: int | None = None,
    written: int | None = None,
    processes: int | None = None,
    data: int | None = None,
) -> None:
    """Bound this process and its children; no core files.

    Bytes of address space, seconds of CPU, open descriptors, bytes of a written file, processes of this user;
    `data`: bytes of private memory, which spares those that reserve more address space than they use.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if cpu is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for which, bound in (
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_DATA, data),
    ):
        if bound is not None:
            resource.setrlimit(which, (bound, bound))


def fork(child: Callable[[], int]) -> int:
    """Run `child` in a new process that ends with its result (1 after an exception); the new process's id."""
    pid = os.fork()
    if pid == 0:
        _run(child)
    return pid


def _run(child: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        status = child()
    except BaseException:  # noqa: BLE001  the boundary of a process: nothing above would report it
        traceback.print_exc()
    finally:
        # Never back into the parent's code: no exit handler and no buffer of the parent may run twice.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def ended(pid: int, seconds: float) -> bool:
    """Whether a child ends within the time; it is not reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def kill_group(pid: int) -> None:
    """SIGKILL to the process group that `pid` leads and to `pid`."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def end_processes_of(directory: Path) -> None:
    """Kill what works in a directory, or has it in its environment or among its mounts: for plain processes, and
    containers that are nothing else, whose keeper was killed."""
    mine = os.fsencode(directory)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(int(entry.name))
            try:
                # First the descriptor, then the look: what is killed is what was looked at.
                works = os.fsencode((entry / "cwd").readlink())
                here = works == mine or works.startswith(mine + b"/") or mine + b"/" in (entry / "environ").read_bytes()
                # Mounts are named from the root of their file system, which need not be ours.
                if here or b"/" + mine.rpartition(b"/")[2] + b"/" in (entry / "mountinfo").read_bytes():
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)


def end_children() -> None:
    """Kill and reap every child of this process, also those adopted meanwhile."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        try:
            pids = [int(pid) for pid in children.read_text(encoding="ascii").split()]
        except OSError:
            return
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
