"""The nouns of a job: pure values, no I/O. Times are seconds since the epoch (UTC, float)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from broker.jobs.secrets import Released


class Phase(StrEnum):
    """Where a job is in its life; legal moves are in `jobs.lifecycle`. OGC status is a projection of it."""

    CREATED = "created"
    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    RUNNING = "running"
    WAITING = "waiting"
    COLLECTING = "collecting"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


TERMINAL = frozenset({Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED})
ACTIVE = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.RUNNING, Phase.COLLECTING})


class Fault(StrEnum):
    """Whose failure it is."""

    PACKAGE = "package"
    INPUT = "input"
    PLATFORM = "platform"
    STAGING = "staging"
    LIMIT = "limit"
    BROKER = "broker"


class Reason(StrEnum):
    """Why a job failed: low-cardinality, drives retry and metrics (after jupyterhub's SpawnException.reason)."""

    TOOL_FAILED = "tool-failed"  # a step's exit code says so
    INVALID_PACKAGE = "invalid-package"
    UNSUPPORTED = "unsupported-requirement"
    EXPRESSION = "expression-failed"
    OUTPUT_MISSING = "output-missing"
    OUTPUT_REFUSED = "output-refused"  # a symlink or glob that leaves the output directory
    INVALID_INPUT = "invalid-input"
    INPUT_UNREACHABLE = "input-unreachable"
    TIME_LIMIT = "time-limit"
    OUT_OF_MEMORY = "out-of-memory"
    TOO_MANY_PROCESSES = "too-many-processes"
    OUTPUT_TOO_LARGE = "output-too-large"
    DISK_LIMIT = "disk-limit"  # more on disk, while it ran, than a job may have
    LOST = "lost"  # the platform no longer knows the job, or its keeper was killed
    PLATFORM_REFUSED = "platform-refused"
    NO_PLATFORM = "no-platform"
    SCATTER_TOO_WIDE = "scatter-too-wide"
    STORAGE = "storage"
    BROKER_ERROR = "broker-error"


@dataclass(frozen=True, slots=True)
class Failure:
    """Whose fault, why, a sentence a scientist can act on, and the failing step with its last log lines."""

    fault: Fault
    reason: Reason
    message: str
    step: str | None = None
    exit_code: int | None = None
    log_tail: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "fault": self.fault.value,
            "reason": self.reason.value,
            "message": self.message,
            "step": self.step,
            "exitCode": self.exit_code,
            "logTail": self.log_tail,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        return cls(
            Fault(value["fault"]),
            Reason(value["reason"]),
            value["message"],
            value.get("step"),
            value.get("exitCode"),
            value.get("logTail") or "",
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Honest progress: finished steps of the steps known so far; `total` None where it is unknown."""

    done: int
    total: int | None = None

    @property
    def percent(self) -> int | None:
        """Whole percent, below 100 until all steps are done; None where the total is unknown."""
        if not self.total:
            return None
        return min(100, self.done * 100 // self.total)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a package asks of a platform, read at deploy time.

    `cores` and `ram_mib` are the largest of any one step; `features` are CWL requirement class names (of a
    process elsewhere: the address of its server), of which the platform must offer each; `images` maps an image to
    True where it is required (not a hint). `reusable`: no step says that its results may not be used again (WorkReuse).
    `shape`: what some platforms do not take (`placement.SHAPES`); `data_types`: input or output -> its media types.
    `elsewhere`: the platforms that steps name ("openEO": any such), whose own needs are left to those;
    `images_elsewhere`: the images of those steps.
    """

    kind: str = "cwl"
    cores: float = 1.0
    ram_mib: int = 256
    tmp_mib: int = 0
    out_mib: int = 0
    features: frozenset[str] = frozenset()
    images: Mapping[str, bool] = field(default_factory=dict)
    network: bool = False
    gpu: bool = False
    time_limit: float | None = None
    reusable: bool = True
    shape: frozenset[str] = frozenset()
    data_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    images_elsewhere: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "cores": self.cores,
            "ramMiB": self.ram_mib,
            "tmpMiB": self.tmp_mib,
            "outMiB": self.out_mib,
            "features": sorted(self.features),
            "images": dict(self.images),
            "network": self.network,
            "gpu": self.gpu,
            "timeLimit": self.time_limit,
            "reusable": self.reusable,
            "shape": sorted(self.shape),
            "dataTypes": {port: list(types) for port, types in self.data_types.items()},
            "elsewhere": sorted(self.elsewhere),
            "imagesElsewhere": sorted(self.images_elsewhere),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Needs:
        return cls(
            value["kind"],
            value["cores"],
            value["ramMiB"],
            value["tmpMiB"],
            value["outMiB"],
            frozenset(value["features"]),
            dict(value["images"]),
            value["network"],
            value["gpu"],
            value["timeLimit"],
            value.get("reusable", False),  # nobody looked when the package was deployed
            frozenset(value.get("shape", ())),
            {port: tuple(types) for port, types in value.get("dataTypes", {}).items()},
            frozenset(value.get("elsewhere", ())),
            frozenset(value.get("imagesElsewhere", ())),
        )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform offers; `cores` and `ram_mib` are the total it may give to jobs at one time.

    `features` empty means: every CWL requirement class. `slots` bounds the number of jobs at one time.
    `isolation`: how tools are confined ("none": they cannot be). `data_types`: media types or names of formats that it
    reads and writes; empty: any. `without`: shapes of packages and requests that it does not take (`placement`).
    `accounts_at`: the origin that accounts of people there are for.
    """

    kinds: frozenset[str] = frozenset({"cwl"})
    features: frozenset[str] = frozenset()
    cores: float = 1.0
    ram_mib: int = 1024
    slots: int | None = None
    container_engine: str | None = None
    isolation: str = "platform"
    network: bool = False
    gpu: bool = False
    data_types: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    accounts_at: str | None = None

    @property
    def images(self) -> bool:
        """Whether tools may run in the images that packages name."""
        return self.container_engine is not None or self.isolation not in ("bubblewrap", "process", "none")

    def to_json(self) -> dict[str, Any]:
        return {
            "kinds": sorted(self.kinds),
            "features": sorted(self.features),
            "cores": self.cores,
            "ramMiB": self.ram_mib,
            "slots": self.slots,
            "containerEngine": self.container_engine,
            "isolation": self.isolation,
            "network": self.network,
            "gpu": self.gpu,
            "dataTypes": sorted(self.data_types),
            "without": sorted(self.without),
            **({"accountsAt": self.accounts_at} if self.accounts_at is not None else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Capabilities:
        return cls(
            frozenset(value["kinds"]),
            frozenset(value["features"]),
            value["cores"],
            value["ramMiB"],
            value["slots"],
            value["containerEngine"],
            value["isolation"],
            value["network"],
            value["gpu"],
            frozenset(value.get("dataTypes", ())),  # an older release did not ask
            frozenset(value.get("without", ())),
            value.get("accountsAt"),
        )


@dataclass(frozen=True, slots=True)
class StageItem:
    """Bytes to put under the job's `inputs/` before the package starts. Exactly one source is given.

    `path` is relative to `inputs/` (no `..`). `url`: http(s), s3, or a `file:`/signed link that the broker
    itself made (`trusted`). `text`/`data` (base64): by value. `stac`: expand a STAC document at `url` into a
    directory `path` that holds a self-contained `catalog.json` with its assets. `packaged`: a default of the package,
    which nobody's credentials are used for. `files`: sha256 (hex) of what the directory has to hold, by path below it;
    it may hold more.
    """

    path: str
    url: str | None = None
    text: str | None = None
    data: str | None = None
    trusted: bool = False
    stac: bool = False
    directory: bool = False
    size: int | None = None
    sha256: str | None = None
    packaged: bool = False
    files: Mapping[str, str] | None = None

    @property
    def public(self) -> bool:
        """Whether it is a link to a file that everybody may read."""
        link = self.url is not None and self.url.startswith(("https://", "http://"))
        return link and not (self.trusted or self.stac or self.directory)

    def to_json(self) -> dict[str, Any]:
        full = {
            "path": self.path,
            "url": self.url,
            "text": self.text,
            "data": self.data,
            "trusted": self.trusted,
            "stac": self.stac,
            "directory": self.directory,
            "size": self.size,
            "sha256": self.sha256,
            "packaged": self.packaged,
            "files": self.files,
        }
        return {key: value for key, value in full.items() if value not in (None, False)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StageItem:
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job: seconds of wall time, bytes and number of outputs, runs of one scattered step, and what it may
    have on disk at one time while it runs: bytes, and number of files and directories."""

    time: float = 24 * 3600.0
    output_bytes: int = 100 * 2**30
    output_files: int = 100_000
    scatter_width: int | None = None
    disk_bytes: int = 500 * 2**30
    disk_files: int = 1_000_000

    def to_json(self) -> dict[str, Any]:
        return {
            "time": self.time,
            "outputBytes": self.output_bytes,
            "outputFiles": self.output_files,
            "scatterWidth": self.scatter_width,
            "diskBytes": self.disk_bytes,
            "diskFiles": self.disk_files,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Limits:
        names = ("time", "outputBytes", "outputFiles", "scatterWidth", "diskBytes", "diskFiles")
        return cls(*(value[name] for name in names))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """All that an adapter is told of a job. `name` is a pure function of job id and attempt (`remote_name`).

    `bundle` is the closed package (`packages.bundle.Bundle.to_json()`), `job_order` the CWL inputs whose
    Files and Directories have a `location` relative to the job's directory: `inputs/<path>`. `images`: digests of
    those that were pinned when the package was deployed. `reuse`: steps may have the results of steps of the
    owner's other jobs, and leave theirs to them. `brought`: what other platforms gave for steps of this job, by the
    key of the need: {"outputs": as a job order, "step": Step as JSON}. `first`: nothing of this attempt was ever sent
    to the platform, which need not look for it. `account`: as in `Attempt`. `secrets` go to staging and image pulls
    only: nothing that sees the package, its logs or its records may have them.
    """

    job_id: str
    attempt: int
    name: str
    owner: str
    project: str
    process: str
    bundle: Mapping[str, Any]
    job_order: Mapping[str, Any]
    stage: tuple[StageItem, ...] = ()
    needs: Needs = Needs()
    limits: Limits = Limits()
    title: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    reuse: bool = False
    first: bool = False
    brought: Mapping[str, Any] = field(default_factory=dict)
    secrets: Released = field(default_factory=Released, repr=False)
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One executed step of a package (a scatter makes one each). `exit_code` None while running.

    `requested`: what it got of cores, ramMiB, tmpMiB and outMiB; `used` and `made`: its files and directories, by paths
    below the job's directory (`inputs/…`, `work/…`), the first of very many; `node`: where it ran, if not where the
    engine did. One that was `replayed` did not run: `reused` names the job in which it did, and it starts and ends when
    its results are taken from there.
    """

    name: str
    status: str  # running · successful · failed · skipped · replayed
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    image: str | None = None
    image_digest: str | None = None
    command: tuple[str, ...] = ()
    cpu_seconds: float | None = None
    max_rss_mib: float | None = None
    log: str | None = None  # name of its log stream
    tool: str | None = None  # the process that it runs, as the package names it: document#fragment
    requested: Mapping[str, float] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    node: str | None = None
    reused: str | None = None

    def replayed(self, at: float, job_id: str) -> Step:
        """The same in a job where it did not run, since it had run in the job `job_id`."""
        same = replace(self, cpu_seconds=None, max_rss_mib=None, log=None)
        return replace(same, status="replayed", started=at, finished=at, reused=self.reused or job_id)

    def to_json(self) -> dict[str, Any]:
        full = {
            "name": self.name,
            "status": self.status,
            "started": self.started,
            "finished": self.finished,
            "exitCode": self.exit_code,
            "image": self.image,
            "imageDigest": self.image_digest,
            "command": list(self.command),
            "cpuSeconds": self.cpu_seconds,
            "maxRssMiB": self.max_rss_mib,
            "log": self.log,
        }
        known = {
            "tool": self.tool,
            "requested": dict(self.requested),
            "used": list(self.used),
            "made": list(self.made),
            "node": self.node,
            "reused": self.reused,
        }
        return full | {name: value for name, value in known.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Step:
        return cls(
            value["name"],
            value["status"],
            value.get("started"),
            value.get("finished"),
            value.get("exitCode"),
            value.get("image"),
            value.get("imageDigest"),
            tuple(value.get("command") or ()),
            value.get("cpuSeconds"),
            value.get("maxRssMiB"),
            value.get("log"),
            value.get("tool"),
            value.get("requested") or {},
            tuple(value.get("used") or ()),
            tuple(value.get("made") or ()),
            value.get("node"),
            value.get("reused"),
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Names one attempt of a job on a platform; `handle` is None between intent and the first handle. `account`: the
    credential of its owner (its id) whose account there it was submitted with; None: the platform's own."""

    job_id: str
    attempt: int
    name: str
    handle: Mapping[str, Any] | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job row. `handle` is the adapter's own JSON; `job_order` and `stage` are the checked inputs.

    `shared`: private | project | public; `shared_with`: the project that it is shared with; `delegate`: the
    platform that asked for it in the owner's name; `swept`: when its results were deleted. `retries` counts fruitless
    calls of the platform in a row, `losses` attempts that the platform lost. `reused`: the job whose results it has,
    instead of having run. `reproduces`: the address of an experiment, or the id of a job, that it does again. `parent`:
    the job of which it runs a step; `children`: how many such jobs it has itself.
    `request` keeps `outputs`, `response` and `mode` as the client gave them; `outputs` is the CWL output
    object whose Files have a `location` relative to the job's kept files (the `path` in `job_files`).
    `subscriber`: whom to tell: {"base": this broker's address, "success" | "inProgress" | "failed": URI}.
    `placement`: why it is where it is (`jobs.placement`); None where there was nothing to choose. `account`: as in
    `Attempt`.
    """

    id: str
    owner: str
    project: str
    process_id: str
    process_revision: int
    phase: Phase
    platform: str
    attempt: int
    fence: int
    title: str
    tags: tuple[str, ...]
    request: Mapping[str, Any]
    job_order: Mapping[str, Any]
    stage: tuple[StageItem, ...]
    needs: Needs
    created: float
    updated: float
    started: float | None = None
    finished: float | None = None
    handle: Mapping[str, Any] | None = None
    progress: Progress | None = None
    message: str = ""
    dismiss_requested: bool = False
    failure: Failure | None = None
    outputs: Mapping[str, Any] | None = None
    log_cursor: str | None = None
    retries: int = 0
    losses: int = 0
    priority: int = 0
    shared: str = "private"
    shared_with: str | None = None
    delegate: str | None = None
    swept: float | None = None
    reused: str | None = None
    reproduces: str | None = None
    parent: str | None = None
    children: int | None = None
    subscriber: Mapping[str, str] | None = None
    placement: Mapping[str, Any] | None = None
    account: str | None = None

    @property
    def terminal(self) -> bool:
        return self.phase in TERMINAL

    @property
    def name(self) -> str:
        return remote_name(self.id, self.attempt)

    def attempt_of(self, number: int | None = None) -> Attempt:
        """The current attempt, or an earlier one (whose handle is not kept)."""
        if number is None or number == self.attempt:
            return Attempt(self.id, self.attempt, self.name, self.handle, self.account)
        return Attempt(self.id, number, remote_name(self.id, number), account=self.account)


def remote_name(job_id: str, attempt: int) -> str:
    """The job's name on its platform: valid as DNS label (Kubernetes), as file name and as a title marker."""
    return f"eb-{job_id}-{attempt}"
