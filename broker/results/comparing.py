"""The process that compares two outputs and may do little else (`python -m broker.results.comparing`).

On standard input it is told, as JSON: left, right (paths), tolerance, and its limits: memory (bytes), cpu (seconds).
On standard output it says a judgement, or {"unreadable": which side and why}.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from broker.results.kinds import KINDS, kind_of
from broker.results.verdict import Tolerance
from broker.runner import kernel

MOST_SAID = 16 * 2**20  # bytes of an answer, its picture within
DESCRIPTORS = 256
# Libraries that would start a thread for each core, or look elsewhere for plug-ins.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "HDF5_PLUGIN_PATH": "/nowhere",
    "GDAL_DRIVER_PATH": "disable",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def main() -> int:
    asked = json.loads(sys.stdin.buffer.read(64 * 1024))
    kernel.limit(data=asked["memory"], cpu=asked["cpu"], files=DESCRIPTORS, written=MOST_SAID)
    answer = _answer(Path(asked["left"]), Path(asked["right"]), Tolerance(**asked["tolerance"]))
    text = json.dumps(answer, ensure_ascii=False)
    with os.fdopen(1, "wb", closefd=False) as stream:
        stream.write(text.encode("utf-8", "replace"))
    return 0


def _answer(left: Path, right: Path, tolerance: Tolerance) -> dict[str, Any]:
    kinds = kind_of(left), kind_of(right)
    if kinds[0] is None or kinds[0] != kinds[1]:
        names = [KINDS[kind].name if kind else "of an unknown kind" for kind in kinds]
        said = f"one is {names[0]}, the other {names[1]}" if kinds[0] != kinds[1] else "they are of no kind known here"
        return {"unreadable": said}
    kind = KINDS[kinds[0] or ""]
    module, _, function = kind.function.partition(":")
    try:
        found = getattr(import_module(f"broker.results.{module}"), function)(left, right, tolerance)
    except MemoryError:
        return {"unreadable": f"reading them as {kind.name} needs more memory than it may have"}
    except Exception as error:  # noqa: BLE001  the boundary of a process: hostile bytes make libraries raise anything
        return {"unreadable": f"they cannot be read as {kind.name}: {type(error).__name__}: {error}"[:400]}
    return {"by": kind.name, **found.to_json()}


if __name__ == "__main__":
    sys.exit(main())
