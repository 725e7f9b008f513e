"""The filter's search: every call gets the answer that the table says, after few steps."""

from __future__ import annotations

import errno
import struct

import pytest

from broker.runner import seccomp

ALLOW, REFUSE, UNKNOWN, KILL = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
X86, NEWUSER = 0xC000003E, 0x10000000
CLONE, UNSHARE, CLONE3, X32 = 56, 272, 435, 0x40000000


def interpret(program: bytes, number: int, first: int = 0, arch: int = X86) -> tuple[int, int]:
    """What classic BPF (linux/filter.h) makes of a call: (answer, steps)."""
    position = accumulator = steps = 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("<HBBI", program, 8 * position)
        position, steps = position + 1, steps + 1
        match code:
            case 0x20:
                accumulator = {0: number, 4: arch, 16: first}[value]
            case 0x06:
                return value, steps
            case _:
                tests = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
                position += if_true if tests[code] else if_false


def expected(number: int, first: int) -> int:
    if number in {numbers[0] for numbers in seccomp._REFUSED.values()}:
        return REFUSE
    if number in (CLONE, UNSHARE) and first & NEWUSER:
        return REFUSE
    return UNKNOWN if number == CLONE3 or number >= X32 else ALLOW


@pytest.mark.parametrize("first", [0, NEWUSER])
def test_every_call(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    seccomp.program.cache_clear()
    program = seccomp.program()
    seccomp.program.cache_clear()
    assert program is not None
    for number in [*range(600), X32, X32 + 56, 2**32 - 1]:
        answer, steps = interpret(program, number, first)
        assert answer == expected(number, first), number
        assert steps <= 15  # the kernel does this for every call there is, each time that a tool starts
    assert interpret(program, 1, arch=0xC00000B7)[0] == KILL
