"""The Platform protocol and its promises. An adapter implements it; `tests/contract` tests it.

Promises, each tested with a failure injected at each stage:

1. The name of a job on the platform is `spec.name`, a pure function of job id and attempt: a second `submit`
   of the same spec adopts what the first one left, at whatever point that one was killed.
2. Nothing sleeps, polls in a loop, or touches the broker's database; each call is bounded by the adapter's
   own timeouts.
3. Two families of errors leave an adapter: `PlatformUnavailable` (try later, the job is unharmed) and
   `PlatformRefused` (the job fails, with a reason).
4. The adapter object remembers nothing about jobs: the handle (opaque JSON, kept by the broker) and the
   platform itself do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Protocol, runtime_checkable

from broker.errors import PlatformUnavailable
from broker.jobs.model import Attempt, Capabilities, JobSpec, Step
from broker.jobs.observation import Handle, Observation, State

__all__ = [
    "Accounts",
    "Attempt",
    "Collected",
    "Describing",
    "Entered",
    "Estimate",
    "Estimating",
    "Eventful",
    "Handle",
    "Health",
    "Listing",
    "LogChunk",
    "LogPage",
    "Near",
    "Observation",
    "OutputFile",
    "Personal",
    "Platform",
    "Replaying",
    "State",
    "only_asked",
]


@contextmanager
def only_asked() -> Iterator[None]:
    """A part of `submit` that changes nothing on the platform: where it fails, the job may still go elsewhere."""
    try:
        yield
    except PlatformUnavailable as error:
        error.sent = False
        raise


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of one log. `stream` is the step's name, or `engine` for the runner's own log."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Chunks after the cursor, and the cursor to go on from (opaque; None at the very start)."""

    chunks: tuple[LogChunk, ...]
    cursor: str | None
    more: bool = False


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One output file: `path` below the job's outputs, `ref` what `open` needs; the rest where known."""

    path: str
    ref: str
    size: int | None = None
    media_type: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """What a successful attempt left: the CWL output object (locations are `OutputFile.path`s), its files,
    the steps that ran, and facts for the provenance record."""

    outputs: Mapping[str, Any]
    files: tuple[OutputFile, ...]
    steps: tuple[Step, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """What `check` found: capabilities, and one line for operators where something is not well."""

    available: bool
    capabilities: Capabilities
    message: str = ""


@runtime_checkable
class Platform(Protocol):
    """A place where jobs run."""

    name: str
    page: int  # how many handles one `observe` takes

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        """Start the attempt; yield a handle after each remote step (each is saved at once).

        A handle with the key `pending` says that another step follows; the last one has no such key.
        Adopts an attempt of the same name. Raises PlatformUnavailable, PlatformRefused.
        """
        ...

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        """One observation per attempt, at most `page` of them. Raises PlatformUnavailable."""
        ...

    def cancel(self, attempt: Attempt) -> None:
        """End the attempt and everything it started. Idempotent; also between intent and handle."""
        ...

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        """Log text after `cursor`, at most about 1 MiB a page."""
        ...

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        """The steps known so far, also of an attempt that failed."""
        ...

    def collect(self, attempt: Attempt) -> Collected:
        """References to what a SUCCEEDED attempt left. Moves no bytes."""
        ...

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        """Stream one output file from `offset`."""
        ...

    def release(self, attempt: Attempt) -> None:
        """Remove what is left of the attempt there. Idempotent."""
        ...

    def check(self) -> Health:
        """Capabilities and health now."""
        ...


@runtime_checkable
class Describing(Protocol):
    """A platform with processes of its own, which can be registered here by their addresses."""

    def describe(self, url: str) -> bytes | None:
        """The description of the process at an address; None for an address that is not one of the platform's.

        Raises PlatformUnavailable, and PlatformRefused where it has no such process.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """A platform that looks at a page of jobs by some requests, however many jobs they are."""

    listed: ClassVar[Literal[True]]


class Accounts(Protocol):
    """What the broker keeps of accounts that people have at platforms, released for the jobs of whose they are."""

    def opened(self, account: str, at: str) -> tuple[float, Mapping[str, str]] | None:
        """Since when a credential is what it is, and its fields; None where it is gone, or is for another place."""
        ...

    def renewing(self, account: str, at: str) -> AbstractContextManager[tuple[str, Callable[[str], None]]]:
        """The refresh token, which nobody else uses meanwhile, and what keeps the one that comes in its place.

        Raises PlatformUnavailable where somebody else uses it now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Entered:
    """A step of a login: the `fields` to keep of the account, and what a person is told. `login`: where they confirm it
    in a browser, while that is waited for: address, code, interval (seconds between two looks), expires (time)."""

    fields: Mapping[str, str] = field(repr=False)
    message: str
    login: Mapping[str, Any] | None = None


@runtime_checkable
class Personal(Protocol):
    """A platform where people may have accounts of their own: `Attempt.account`. `account_at`: the origin that such
    credentials are for; `accounts` is given to it."""

    accounts: Accounts | None

    @property
    def account_at(self) -> str | None: ...

    def tried(self, fields: Mapping[str, str]) -> str:
        """What the platform says of an account. Raises PlatformError where it does not take it."""
        ...

    def entered(self, fields: Mapping[str, str]) -> Entered:
        """Begin a login in a browser, or go on with it: one short step. Raises PlatformError where it is refused."""
        ...


@runtime_checkable
class Near(Protocol):
    """A platform on the worker's own machine: its files can be adopted instead of copied."""

    def path(self, attempt: Attempt, ref: str) -> Path:
        """Where an output file lies; nobody writes to it any more."""
        ...


@runtime_checkable
class Replaying(Protocol):
    """A platform that keeps results of steps for later jobs of the same owner (`JobSpec.reuse`)."""

    def forget(self, job_id: str) -> None:
        """Remove the step results that a job left. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would take there, as far as the platform says: `costs` with the `currency` they are in ("credits"
    for the platform's own), `duration` in seconds, `size` of what it makes in bytes; `text` for what else it says."""

    costs: float | None = None
    currency: str = "credits"
    duration: float | None = None
    size: int | None = None
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        full = {"costs": self.costs, "duration": self.duration, "size": self.size, "text": self.text or None}
        known = {name: value for name, value in full.items() if value is not None}
        return known | ({"currency": self.currency} if self.costs is not None else {})


@dataclass(frozen=True, slots=True)
class Trial:
    """A small package of the platform's kind, and inputs for it: `broker platforms check` deploys and runs it there."""

    package: str
    media_type: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Proving(Protocol):
    """A platform that cannot run CWL, and brings what tries it end to end."""

    def trial(self) -> Trial | None:
        """None where there is nothing of which it is certain that it runs there."""
        ...


@runtime_checkable
class Estimating(Protocol):
    """A platform that says what a job would take before it runs."""

    def estimate(self, spec: JobSpec) -> Estimate:
        """Nothing is left there of what it takes to find out. The spec has no secrets, and attempt 0.

        Raises PlatformUnavailable, and PlatformRefused where the job could not run.
        """
        ...


@runtime_checkable
class Eventful(Protocol):
    """A platform that says which jobs changed, so that nothing waits for a poll."""

    def events(self) -> Iterator[str]:
        """Job ids, as they change. Blocks; ends when the connection does (the caller starts it again)."""
        ...
