"""Steps that need not run, since an earlier job of the same owner ran them with the same inputs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from schema_salad.exceptions import ValidationException
from schema_salad.ref_resolver import file_uri

from broker.jobs.model import Step
from broker.packages.resolved import plain
from broker.runner import beneath, outputs, replaystore
from broker.runner.confinement import Confined, confine
from broker.runner.contents import Contents

if TYPE_CHECKING:
    from broker.runner.run import Run
    from broker.runner.steps import StepJob

EPOCH = 1  # raised when a release of ours gives a step other results
_FAILED = (WorkflowException, ValidationException, outputs.TooMany, OSError, ValueError, TypeError, KeyError)


class Replays:
    """The steps of one owner's jobs, for a run that may have their results and leaves its own."""

    def __init__(self, run: Run, files: type[Confined], directory: Path, job_id: str, surroundings: Mapping[str, Any]):
        """`directory`: of the owner, in the store; `surroundings`: what the results of every step of the run depend on
        (JSON)."""
        self.run = run
        self.files = files
        self.directory = directory
        self.job_id = job_id
        self.surroundings = surroundings
        self.base = f"{file_uri(str(run.job.package))}/"
        self.contents = Contents(run.job, files, run.most_files)

    def replay(self, job: StepJob, context: RuntimeContext) -> bool:
        """Let a step have the results of an earlier one; False where there is none, so that it has to run."""
        try:
            job.replay_key = self._key(job)
            found = replaystore.find(self.directory, job.replay_key) if job.replay_key else None
            if found is None:
                return False
            place, result = found
            again = self._brought(place, result["outputs"], Path(job.outdir))
            earlier, job_id = Step.from_json(result["step"]), str(result["job"])
        except _FAILED as error:
            self._say(job, error)
            beneath.remove_tree(Path(job.outdir))
            Path(job.outdir).mkdir()
            return False
        job.replay(context, again, earlier.replayed(time.time(), job_id))
        return True

    def keep(self, job: StepJob, made: Any) -> None:
        """Leave what a step gave to later ones."""
        if job.replay_key is None:
            return
        try:
            replaystore.add(self.directory, self.job_id, job.replay_key, partial(self._filled, job, made))
        except _FAILED as error:
            self._say(job, error)

    def _say(self, job: StepJob, error: Exception) -> None:
        self.run.log.warning("[job %s] no results are used again: %s", job.name, error)

    def _filled(self, job: StepJob, made: Any, place: Path) -> tuple[Mapping[str, Any], int]:
        kept = outputs.gather(made, place, self.files, self.run.most_files)
        return {"job": self.job_id, "step": job.record.to_json(), "outputs": kept}, _size(kept)

    def _brought(self, place: Path, kept: Any, outdir: Path) -> Any:
        """The outputs with their files in the output directory of the step, where it would have made them. Raises
        ValueError where they are not as they were kept."""
        there, _ = confine(place)
        brought = outputs.gather(_located(kept, place), outdir, there, self.run.most_files)
        if brought != kept:
            raise ValueError("some of their files are gone or have another size")
        return _located(brought, outdir)

    def _key(self, job: StepJob) -> str | None:
        """The sha256 (hex) of all that the results of a step depend on; None for one that has to run each time.

        Of the package it is the tool, with what is required of it, and the files that it is given: the rest may change.
        """
        reuse, _ = job.get_requirement("WorkReuse")
        if reuse and job.builder.do_eval(reuse["enableReuse"]) is not True:
            return None
        if job.networkaccess and self.run.network:
            return None
        image = job.image()
        if image is not None and not self.run.images.get(image):
            return None
        whole = {
            **self.surroundings,
            "epoch": EPOCH,
            "tool": plain({key: one for key, one in job.document.items() if key != "id"}, self.base),
            "requirements": plain(job.requirements, self.base),
            "hints": plain(job.hints, self.base),
            "image": self.run.images[image] if image is not None else None,
            "resources": job.builder.resources,
            "inputs": self.contents.of(job.builder.job),
            "staged": self.contents.of(job.generatefiles.get("listing")),
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _located(value: Any, root: Path) -> Any:
    """What `outputs.gather` gave, with absolute locations; what a directory holds is looked up there when needed."""
    if isinstance(value, Mapping):
        found = {key: _located(one, root) for key, one in value.items() if key != "listing" or "location" not in value}
        if value.get("class") in ("File", "Directory"):
            found["location"] = file_uri(str(root / value["location"]))
        return found
    if isinstance(value, list):
        return [_located(one, root) for one in value]
    return value


def _size(value: Any) -> int:
    """Bytes of the files in what `outputs.gather` gave."""
    if isinstance(value, Mapping):
        own = value.get("size", 0) if value.get("class") == "File" else 0
        return int(own) + sum(_size(one) for one in value.values())
    return sum(_size(one) for one in value) if isinstance(value, list) else 0
