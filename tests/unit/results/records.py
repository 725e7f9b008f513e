"""A job with all that a record of provenance may hold, and the package that it ran."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from broker.jobs.model import Failure, Fault, Job, Needs, Phase, Reason, StageItem, Step
from broker.jobs.record import Context, build

JOB_ID = "01a204ae-db6f-7e5a-8c8d-b7b3b9d22a25"
SHA = "ab" * 32
SIGNED = "https://data.example/a b.tif?v=2&X-Amz-Signature=canary1&sig=canary2"
JOB = Job(
    id=JOB_ID,
    owner="p4h23umjie7ivba34xjz",
    project="lakes",
    process_id="Counts",
    process_revision=2,
    phase=Phase.SUCCESSFUL,
    platform="local@here",
    attempt=2,
    fence=9,
    title="A <run> & more",
    tags=("x",),
    request={"inputs": {"scene": {"href": SIGNED, "type": "image/tiff"}, "items": {"href": "https://stac.example/i"}}},
    job_order={
        "scene": {"class": "File", "location": "inputs/scene/a.tif"},
        "items": {"class": "Directory", "location": "inputs/items"},
        "words": ["a", "d"],
        "big": "x" * 70_000,
        "large": 2**40,
    },
    stage=(
        StageItem("scene/a.tif", SIGNED, size=7),
        StageItem("items", "https://stac.example/i", stac=True),
    ),
    needs=Needs(),
    created=1_800_000_000.0,
    updated=1_800_000_009.0,
    started=1_800_000_001.5,
    finished=1_800_000_009.0,
    outputs={
        "all": {"class": "File", "location": "all/all.txt", "secondaryFiles": []},
        "tiles": {"class": "Directory", "location": "tiles/t"},
        "number": 5,
    },
)
STEPS = (
    Step(
        "count", "successful", 1_800_000_002.0, 1_800_000_003.0, 0, "docker.io/library/python:3", f"sha256:{SHA}",
        ("grep", "-c", "a\x1b[1m", SIGNED), 0.5, 20.0, None, "package.cwl#count", {"cores": 1, "ramMiB": 256},
        ("inputs/scene/a.tif",), ("work/out2/a.txt",), "node-1",
    ),
    Step(
        "count_2", "replayed", 1_800_000_002.0, 1_800_000_003.0, 0, command=("grep",), tool="package.cwl#count",
        used=("inputs/items",), made=("work/out4/b.txt",), reused="01a204ae-0000-7e5a-8c8d-b7b3b9d22a25",
    ),
    Step(
        "join", "successful", 1_800_000_004.0, 1_800_000_005.0, 0, command=tuple(["cat", *["file.txt"] * 1000]),
        tool="package.cwl#join", used=("work/out2/a.txt", "work/out4/b.txt"), made=("work/out6/all.txt", "work/out6/t"),
    ),
    Step("never", "skipped"),
)  # fmt: skip
CONTEXT = Context(
    process={
        "id": "Counts",
        "revision": 2,
        "title": "Counts",
        "version": "1.2.0",
        "kind": "cwl",
        "digest": "cd" * 32,
        "submitted_digest": "ef" * 32,
        "mediaType": "application/cwl",
        "source": {
            "repository": "https://git.example/counts",
            "commit": "0" * 40,
            "license": "Apache-2.0",
            "authors": [{"name": "Ada L.", "identifier": "https://orcid.org/0000-0002-1825-0097"}, {"name": "Bo"}],
        },
    },
    platform={"name": "local@here", "adapter": "local", "reasons": {"far": ["it has no GPU."]}},
    agent={"person": "p4h23umjie7ivba34xjz", "name": "Ada", "orcid": "0000-0002-1825-0097", "delegate": "portal"},
    steps=STEPS,
    files={
        "all/all.txt": {"sha256": SHA, "size": 5_000_000_000, "mediaType": "text/plain"},
        "tiles/t/1.tif": {"sha256": SHA, "size": 4},
    },
    events=(("accepted", 1_800_000_000.0), ("successful", 1_800_000_009.0)),
    facts={
        "engine": {"name": "cwltool", "version": "3.3"},
        "isolation": "bubblewrap",
        "node": "here",
        "sources": {"all/all.txt": "work/out6/all.txt", "tiles/t": "work/out6/t"},
        "received": [
            {"path": "scene/a.tif", "size": 7, "sha256": SHA},
            {"path": "items/i1/b.tif", "size": 3, "sha256": SHA, "stacId": "i1", "location": "https://d.example/b"},
            {"path": "items/i2/b.tif", "size": 4, "sha256": SHA, "stacId": "i2", "location": "https://d.example/c"},
        ],
    },
    parent="01a204ae-db6f-7e5a-8c8d-b7b3b9d22a26",
    version="9.9",
)
FAILURE = Failure(Fault.PACKAGE, Reason.TOOL_FAILED, f"No {SIGNED}", "join", 1, "canary3 in the log")
_FILE, _TEXT = {"type": "File"}, {"type": ["null", {"type": "array", "items": "string"}]}
BUNDLE: dict[str, Any] = {
    "kind": "cwl",
    "entry": "package.cwl#main",
    "documents": {"package.cwl": "cwlVersion: v1.2\n", "https://x.example/tool.cwl": "class: CommandLineTool\n"},
    "files": {"data/é.txt": "aGk=", "empty/": ""},
    "digest": "cd" * 32,
}
INSPECTION: dict[str, Any] = {
    "process": {
        "inputs": [
            {"id": "scene", **_FILE, "label": "A scene"},
            {"id": "items", "type": "Directory"},
            {"id": "words", **_TEXT},
            {"id": "big", "type": "string"},
            {"id": "unused", "type": "int"},
        ],
        "outputs": [{"id": "all", **_FILE}, {"id": "tiles", "type": "Directory"}, {"id": "number", "type": "int"}],
    },
    "steps": ["count", "join", "never"],
}


def record(phase: Phase = Phase.SUCCESSFUL, *, steps: int = len(STEPS)) -> dict[str, Any]:
    """The record of that job, ended in this phase after so many steps."""
    job = JOB if phase is Phase.SUCCESSFUL else replace(JOB, phase=phase, outputs=None)
    context = replace(CONTEXT, steps=STEPS[:steps])
    if phase is Phase.FAILED:
        context = replace(context, steps=[*STEPS[:2], replace(STEPS[2], status="failed", exit_code=1)][:steps])
        job = replace(job, failure=FAILURE)
    return build(job, context)
