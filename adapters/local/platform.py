"""Jobs on this machine: a directory each, kept by the runner's zygote; this object only reads and writes those."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from adapters.local import logs, machine
from adapters.local.settings import LocalSettings
from broker.errors import PlatformError, PlatformRefused, PlatformUnavailable, SetupError
from broker.jobs.model import Capabilities, Failure, Fault, JobSpec, Progress, Reason, StageItem, Step
from broker.jobs.observation import Need
from broker.packages.lint import EXTENSIONS, REQUIREMENTS
from broker.platform import (
    Attempt,
    Collected,
    Handle,
    Health,
    LogPage,
    Observation,
    OutputFile,
    State,
)
from broker.runner import replaystore
from broker.runner.beneath import remove_tree
from broker.runner.cgroups import UNGROUPED, Bounds
from broker.runner.client import Zygote
from broker.runner.isolation import INSTALL_ENGINE
from broker.runner.jobdir import JobDir, read_json, write_json, write_private
from broker.runner.remains import sweep
from broker.runner.report import read_progress, read_steps

# What a package may require where several people use the broker: not the changing of inputs in their place.
_SHARED_FEATURES = frozenset({*REQUIREMENTS, *EXTENSIONS}) - {"InplaceUpdateRequirement"}
END_SECONDS = 10.0  # for a keeper to end what it started
_ENDED = {"succeeded": State.SUCCEEDED, "needs": State.NEEDS, "failed": State.FAILED, "cancelled": State.CANCELLED}


class LocalPlatform:
    """Implements `broker.platform.Platform` and `Eventful`."""

    Settings: ClassVar[type[LocalSettings]] = LocalSettings
    page = 500

    def __init__(self, name: str, settings: LocalSettings) -> None:
        self.name = name
        self.settings = settings
        self.zygote = Zygote(settings.socket)

    @property
    def replays(self) -> Path:
        """Where steps leave their results to later jobs."""
        return self.settings.root / ".replays"

    def _job(self, name: str) -> JobDir:
        if "/" in name or name.startswith("."):
            raise PlatformRefused(f"{name!r} is not the name of a job.", fault_of="broker", code="broker-error")
        return JobDir(self.settings.root / name)

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        """One handle, after the keeper has the job. A second submit finds the directory of the first."""
        job = self._job(spec.name)
        handle = {"name": spec.name}
        if not job.spec.exists() and not job.cancel.exists():
            self._place(spec, job)
        if not job.started.exists() and not job.cancel.exists():
            self.zygote.start(job.path)
        yield handle

    def _place(self, spec: JobSpec, job: JobDir) -> None:
        """Make the job's directory under another name first: it is there with its spec, or not at all."""
        value = self._spec(spec)
        partial = job.path.with_name(f".{job.name}.{os.getpid()}")
        with _disk():
            self.settings.root.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            if spec.stage:
                write_private(partial / "stage.json", self._stage(spec, value["settings"]["isolation"]["tools"]))
            if spec.secrets.registries:
                write_private(partial / "pull.json", spec.secrets.registries)
            write_json(partial / "spec.json", value)
            try:
                partial.rename(job.path)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
                if not job.spec.exists() and not job.cancel.exists():
                    raise

    def _spec(self, spec: JobSpec) -> dict[str, Any]:
        """spec.json: the job, and what the runner must know of this platform. Raises PlatformRefused."""
        shared = self.settings.shared()
        found = machine.isolation(self.settings, shared=shared)
        network = self._network(shared)
        required = sorted(image for image, needed in spec.needs.images.items() if needed)
        if required and not found.engine:
            raise PlatformRefused(
                f"The package requires the container image {required[0]}, and this machine has no container engine.",
                hint=f"{INSTALL_ENGINE}.",
            )
        if found.tools == "none":
            raise PlatformRefused("This machine has no way to isolate tools.", hint=" ".join(found.notes))
        if shared and (missing := spec.needs.features - _SHARED_FEATURES):
            raise PlatformRefused(f"The platform does not offer {', '.join(sorted(missing))} to several people.")
        try:
            software = machine.software(self.settings)
        except SetupError as error:
            raise PlatformUnavailable(
                f"The platform {self.name} runs no job: {error.detail}", hint=error.hint
            ) from error
        return {
            "jobId": spec.job_id,
            "attempt": spec.attempt,
            "bundle": dict(spec.bundle),
            "jobOrder": dict(spec.job_order),
            "brought": dict(spec.brought),
            "limits": spec.limits.to_json(),
            "images": sorted(spec.needs.images),
            "settings": {
                "isolation": found.to_json(),
                "software": {"directories": list(software.directories), "path": list(software.path)},
                "network": network and spec.needs.network,
                "replays": self._replays(spec),
                "elsewhere": bool(spec.needs.elsewhere),
                "inplace": not shared and "InplaceUpdateRequirement" in spec.needs.features,
                "bounds": Bounds(self.settings.ram_mib * 2**20, self.settings.processes, self.settings.cores).to_json(),
                "nice": self.settings.nice,
                "slots": str(self.settings.root / ".slots"),
                "images": str(self.settings.root / ".images"),
                "pull": {
                    "pins": dict(spec.images),
                    "insecure": list(self.settings.insecure_registries),
                    # of one person alone, a registry on the own machine is as good as any
                    "egress": dict(self.settings.egress) if shared else None,
                },
                "cores": self.settings.cores,
                "ramMiB": self.settings.ram_mib,
            },
        }

    def _replays(self, spec: JobSpec) -> str | None:
        """Where steps find results: of the owner's jobs where he allows that, else of earlier attempts at this one."""
        if not spec.reuse and not spec.needs.elsewhere:
            return None
        return str(replaystore.of_owner(self.replays, spec.owner if spec.reuse else f"job {spec.job_id}"))

    def _stage(self, spec: JobSpec, tools: str) -> dict[str, Any]:
        """stage.json: what to fetch, and from where it may come."""
        return {
            "items": [item.to_json() for item in spec.stage],
            "egress": dict(self.settings.egress),
            # secrets: only where something may need them, and gone with this file before the package is opened
            "s3": self.settings.s3 if any(item.stac or _on_s3(item) for item in spec.stage) else {},
            "ownS3": dict(spec.secrets.s3),
            "http": dict(spec.secrets.http),
            # A tool that may change its inputs, or could reach them, must not share their bytes with the storage.
            "hardLinks": tools != "process" and "InplaceUpdateRequirement" not in spec.needs.features,
        }

    def _network(self, shared: bool) -> bool:
        """Whether tools that ask for the network get it: where several people use the broker, an operator says so."""
        return not shared if self.settings.network is None else self.settings.network

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        """Reads a few small files per attempt; needs no zygote."""
        return [self._observe(attempt) for attempt in attempts[: self.page]]

    def _observe(self, attempt: Attempt) -> Observation:
        job = self._job(attempt.name)
        ended = read_json(job.exit)
        if ended is None and not job.alive():
            ended = read_json(job.exit)  # between the two looks it may have ended
            if ended is None:
                return self._without_keeper(attempt, job)
        if ended is not None:
            failure = Failure.from_json(ended["failure"]) if ended["failure"] else None
            return Observation(
                attempt.name,
                _ENDED[ended["state"]],
                failure.message if failure else "",
                ended["started"],
                ended["finished"],
                read_progress(job),
                failure,
                facts=ended["facts"],
                needs=tuple(Need(**need) for need in ended.get("needs", ())),
            )
        started = read_json(job.started)
        progress = read_progress(job)
        message = _message(progress)
        return Observation(
            attempt.name, State.RUNNING, message, started["started"] if started else None, None, progress
        )

    def _without_keeper(self, attempt: Attempt, job: JobDir) -> Observation:
        started = read_json(job.started)
        if job.cancel.exists():
            return Observation(attempt.name, State.CANCELLED)
        if started is None and job.spec.exists():
            # Placed, but no zygote took it (yet): the next submit does that.
            return Observation(attempt.name, State.QUEUED, "Waiting for the runner to take the job.")
        message = "The job's keeper was killed." if started else "The platform does not know the job."
        return Observation(
            attempt.name,
            State.LOST,
            message,
            started["started"] if started else None,
            failure=Failure(Fault.PLATFORM, Reason.LOST, message),
        )

    def cancel(self, attempt: Attempt) -> None:
        """Wake the keeper, which ends everything; where none lives, end what its death may have left."""
        job = self._job(attempt.name)
        with _disk():
            # Also where nothing was submitted yet: a submit that is under way finds the wish.
            job.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            job.ask_to_end()
            if not job.alive() and not job.exit.exists():
                sweep(job)

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        return logs.page(self._job(attempt.name), cursor)

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        return read_steps(self._job(attempt.name))

    def collect(self, attempt: Attempt) -> Collected:
        """Of one that needs other platforms: the job order of each need. Raises PlatformError where the attempt did not
        succeed or was released."""
        job = self._job(attempt.name)
        found, ended = read_json(job.collected), read_json(job.exit)
        if found is None or ended is None or ended["state"] not in ("succeeded", "needs"):
            raise PlatformRefused(f"The job {attempt.name} has no outputs here.", code="lost")
        files = tuple(
            OutputFile(one["path"], one["path"], one["size"], one.get("mediaType"), one["sha256"])
            for one in found["files"]
        )
        return Collected(found["outputs"], files, read_steps(job))

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        """One output file; follows no link. Raises PlatformRefused where it is not there."""
        job = self._job(attempt.name)
        parts = Path(ref).parts
        if not parts or Path(ref).is_absolute() or ".." in parts:
            raise PlatformRefused(
                f"{ref!r} is not an output of {attempt.name}.", fault_of="broker", code="broker-error"
            )
        try:
            descriptor = os.open(job.outputs / ref, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise PlatformRefused(f"The output {ref} of {attempt.name} is gone.", code="lost") from error
        except OSError as error:
            raise PlatformUnavailable(f"The output {ref} cannot be read: {error.strerror}.") from error
        stream = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            stream.close()
            raise PlatformRefused(f"The output {ref} is not a file.", fault_of="package", code="output-refused")
        stream.seek(offset)
        return stream

    def path(self, attempt: Attempt, ref: str) -> Path:
        """Where an output file lies, for a storage on the same machine to adopt."""
        return self._job(attempt.name).outputs / ref

    def release(self, attempt: Attempt) -> None:
        """Remove the job's directory; ends the job first where it runs."""
        job = self._job(attempt.name)
        if not job.path.is_dir():
            return
        if job.alive() and not job.exit.exists():
            job.ask_to_end()
            if not job.wait(END_SECONDS):
                raise PlatformUnavailable(f"The job {attempt.name} is still ending.", retry_after=END_SECONDS)
        if not job.exit.exists():
            sweep(job)
        gone = job.path.with_name(f".{job.name}.gone.{os.getpid()}")
        with _disk(), contextlib.suppress(FileNotFoundError):
            # Out of sight in one step: a release that is killed leaves nothing that looks like a job.
            job.path.rename(gone)
        remove_tree(gone)

    def forget(self, job_id: str) -> None:
        """What the steps of a job left to later ones."""
        with _disk():
            replaystore.forget(self.replays, self._job(job_id).name)

    def check(self) -> Health:
        """Ask the zygote, and try each kind of isolation that the settings allow."""
        with _disk():
            replaystore.prune(self.replays, self.settings.replay_days * 86400.0, self.settings.replay_bytes)
        notes: list[str] = []
        shared = self.settings.shared()
        found = machine.isolation(self.settings, shared=shared, again=True)
        notes += found.notes
        available = found.tools != "none"
        try:
            machine.software(self.settings)
        except SetupError as error:
            available = False
            notes.append(str(error))
        try:
            if self.zygote.ping().get("groups") is None:
                notes.append(UNGROUPED)
        except PlatformError as error:
            available = False
            notes.append(str(error))
        capabilities = Capabilities(
            kinds=frozenset({"cwl"}),
            cores=float(self.settings.cores),
            ram_mib=self.settings.ram_mib,
            slots=self.settings.slots,
            container_engine=found.engine,
            isolation=found.tools,
            features=_SHARED_FEATURES if shared else frozenset(),
            network=self._network(shared),
        )
        return Health(available, capabilities, " ".join(notes))

    def events(self) -> Iterator[str]:
        """Ids of jobs as they end."""
        names = self.zygote.events()
        return (name.removeprefix("eb-").rpartition("-")[0] for name in names if name.startswith("eb-"))


def _on_s3(item: StageItem) -> bool:
    return item.url is not None and item.url.startswith("s3:")


def _message(progress: Progress | None) -> str:
    if progress is None:
        return "Fetching inputs."
    return f"{progress.done} of {progress.total} steps done." if progress.total else f"{progress.done} steps done."


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlatformUnavailable(f"The platform's directory cannot be used: {error}") from error
