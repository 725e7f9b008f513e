"""What processes cost, from /proc: CPU seconds of a tree (with its dead children), and proportional memory."""

from __future__ import annotations

import os
from pathlib import Path

from tests.peers.broker import descendants

TICKS = os.sysconf("SC_CLK_TCK")


def tree_cpu(root: int) -> float:
    """CPU seconds of a process, its descendants, and all their children that have ended and been waited for."""
    return sum(_cpu(pid) for pid in descendants(root))


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from the state (field 3) here
    return sum(int(value) for value in fields[11:15]) / TICKS


def tree_pss(root: int) -> dict[str, float]:
    """Proportional set size in MB of each process of a tree: shared pages count once in the sum."""
    found = {}
    for pid, command in descendants(root).items():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        found[f"{pid} {command[:60]}"] = kilobytes / 1000
    return found
