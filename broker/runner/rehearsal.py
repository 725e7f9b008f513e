"""A rehearsal: an engine in waiting runs a small package of ours, so that the job's own run finds its memory ready.

A forked process shares its memory with the zygote until it writes to a page, and then each page costs microseconds: a
short job spends 4 ms of 52 on that (`make bench-echo`). What is rehearsed is the path of every job, from the bundle to
the report, with inputs of each kind; the tool is `true` as a plain process, which is ours and no stranger's.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from broker.jobs.model import Limits
from broker.packages.bundle import Bundle
from broker.runner import engine
from broker.runner.cgroups import Bounds
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir, read_json

NAME = "package.cwl"
_PACKAGE = """cwlVersion: v1.2
class: CommandLineTool
label: Rehearsal
doc: One input of each kind.
inputs:
  text: {type: string, label: Text, inputBinding: {prefix: --text}}
  record:
    type: ["null", string, {name: Pair, type: record, fields: {first: double, second: "string?"}}]
  file: {type: File?, format: https://www.iana.org/assignments/media-types/image/tiff}
  array: int[]?
  number: {type: int, default: 0, inputBinding: {position: 1}}
baseCommand: "true"
requirements:
  ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 16, ramMax: 64}
outputs:
  text: {type: string, outputBinding: {outputEval: $(inputs.text)}}
  files: {type: "File[]", outputBinding: {glob: "*.tif"}}
"""


def rehearse() -> Mapping[str, Any]:
    """Run it; what the engine reports. Leaves nothing behind but warm memory, and cwltool as the engine sets it up."""
    here = os.getcwd()  # noqa: PTH109
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(io.StringIO()):
        job = JobDir(directory)
        engine.run(job, _spec(job), {"found": {}, "runs": {}, "missing": {}})
        os.chdir(here)
        return read_json(job.report) or {}


def _spec(job: JobDir) -> dict[str, Any]:
    return {
        "jobId": "rehearsal",
        "bundle": Bundle.make(NAME, {NAME: _PACKAGE}, {}).to_json(),
        "jobOrder": {"text": "x"},
        "limits": Limits().to_json(),
        "settings": {
            "isolation": Isolation("process").to_json(),
            "software": {"directories": [], "path": []},
            "network": False,
            "replays": None,
            "elsewhere": False,
            "inplace": False,
            "bounds": Bounds(0, 0, 1).to_json(),
            "slots": str(job.path / "slots"),
            "cores": 1,
            "ramMiB": 1024,
        },
    }
