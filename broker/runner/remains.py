"""What a job may leave running: containers, found by the names it noted, and plain processes."""

from __future__ import annotations

import shutil
import subprocess

from broker.runner import apptainer, kernel
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir, read_json
from broker.runner.probe import engine_environment


def end_containers(job: JobDir, isolation: Isolation) -> None:
    """Remove the containers that a job may have left running."""
    if not isolation.engine or not job.containers.is_dir():
        return
    names = [entry.name for entry in job.containers.iterdir()]
    at_once = ["--time=0"] if isolation.engine == "podman" else []  # docker kills at once when forced
    for start in range(0, len(names), 100):
        subprocess.run(
            [*isolation.engine_argv, "rm", "--force", "--volumes", *at_once, *names[start : start + 100]],
            env=engine_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    shutil.rmtree(job.containers, ignore_errors=True)


def sweep(job: JobDir) -> None:
    """End what a job without a keeper may have left: containers, and what plain processes started."""
    spec = read_json(job.spec)
    if spec is None or job.alive():
        return
    isolation = Isolation.from_json(spec["settings"]["isolation"])
    if isolation.tools == "process" or isolation.engine == apptainer.NAME:
        kernel.end_processes_of(job.path)
    end_containers(job, isolation)
