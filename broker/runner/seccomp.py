"""A filter of system calls for tools in bubblewrap: none that makes more rights, or that only reaches for the kernel.

Classic BPF, as bwrap's --seccomp takes it. A refused call gives EPERM (clone3: ENOSYS, so that the C library falls back
to clone, whose flags can be looked at); a process of another architecture than the kernel's own is ended.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from functools import cache

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; of an argument: its lower half
_NEWUSER = 0x10000000
_X32 = 0x40000000

# Name -> number on x86-64 and on 64-bit ARM (None: not there).
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "vhangup": (153, 58),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
}
_UNSHARE, _CLONE, _CLONE3 = (272, 97), (56, 220), (435, 435)
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


_ALLOWED = [_step(_RETURN, _ALLOW)]


@cache
def program() -> bytes | None:
    """The filter for this machine; None for an architecture that is not known here."""
    known = _ARCHES.get(platform.machine())
    if known is None:
        return None
    which, arch = known
    refuse = [_step(_RETURN, _ERRNO | errno.EPERM)]
    answers = {numbers[which]: refuse for numbers in _REFUSED.values()}
    for numbers in (_UNSHARE, _CLONE):
        answers[numbers[which]] = [_step(_LOAD, _FIRST), _step(_ANY_BIT, _NEWUSER, 0, 1), *refuse, *_ALLOWED]
    answers[_CLONE3[which]] = [_step(_RETURN, _ERRNO | errno.ENOSYS)]
    code = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    return b"".join(code + _search(_ranges(answers, x32=which == 0)))


def _ranges(answers: Mapping[int | None, list[bytes]], *, x32: bool) -> list[tuple[int, list[bytes]]]:
    """(first number, answer) of each range of numbers with the same answer, in order; all that is not named is allowed.

    `x32`: from a number on, calls mean those of another interface, which is refused whole.
    """
    found = {0: _ALLOWED}
    for number in sorted(number for number in answers if number is not None):
        found |= {number: answers[number], number + 1: _ALLOWED}
    if x32:
        found[_X32] = [_step(_RETURN, _ERRNO | errno.ENOSYS)]
    merged: list[tuple[int, list[bytes]]] = []
    for number, answer in found.items():
        if not merged or merged[-1][1] != answer:
            merged.append((number, answer))
    return merged


def _search(ranges: Sequence[tuple[int, list[bytes]]]) -> list[bytes]:
    """A binary search: the kernel runs the filter once for every call there is when a tool installs it."""
    if len(ranges) == 1:
        return ranges[0][1]
    half = len(ranges) // 2
    below, above = _search(ranges[:half]), _search(ranges[half:])
    return [_step(_AT_LEAST, ranges[half][0], len(below), 0), *below, *above]


def file() -> int | None:
    """An open file that holds the filter, for one bwrap to read."""
    found = program()
    if found is None:
        return None
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, found)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
