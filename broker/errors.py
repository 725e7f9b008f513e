"""The exception tree of the broker. It knows nothing of HTTP; `broker.api.problems` maps it.

BrokerError                     fault     raised when
├── PackageError                package   a document is not a package that can be run; has file, line, column
│   ├── UnsupportedPackage      package   a valid package asks for a feature that is not here (cwltest: exit 33)
│   ├── UnsupportedMediaType    package   a deploy body in a media type we do not take
│   └── WorkflowNotFound        package   `?w=` or `#id` names no process of the document
├── InputError                  input     execute inputs do not fit the description; has JSON pointers
│   ├── InvalidParameter        input     a query parameter or header is not usable
│   └── CredentialRefused       input     the other side does not take a credential; says what it answered
├── Missing                     input
│   ├── NoSuchProcess · NoSuchJob · NoSuchUpload · NoSuchFile · NoSuchOutput · NoSuchPlatform ·
│   │   NoSuchCredential · NoSuchProject · NoSuchInvitation · NoSuchPublication ·
│   │   NoSuchComparison
│   ├── ResultNotReady                    the job has not ended yet
│   └── ResultsGone                       they were deleted: by the job's owner, or after their time
├── Conflict                    input
│   ├── DuplicatedProcess · ImmutableProcess · IdempotencyConflict · UploadConflict · WrongPhase · Held ·
│   │   ProjectConflict
├── AccessError                 input
│   ├── Unauthenticated                   no token, or one that is not valid
│   ├── Forbidden                         a valid token without the scope
│   └── IssuerSilent                      the issuer of a token does not answer, and its keys are not known yet
├── LimitError                  limit     too large, too many, too long
│   ├── QuotaExceeded · TooManyRequests
│   └── NoRoom                             a package that needs more than any platform has
├── EgressRefused               staging   an address that user-given URLs may not reach
├── StagingError                staging   an input could not be fetched
├── PlatformError               platform
│   ├── PlatformUnavailable               try later; the job is unharmed
│   └── PlatformRefused                   the job cannot run there; has a reason code
├── TargetError                 platform  what results are published to
│   ├── TargetUnavailable               try later; nothing was spoiled
│   └── TargetRefused                   it cannot be published there like this
├── StorageError                broker
│   └── StorageFull                       no space; retried when space is back
├── JobFailed                   (its own) results were asked of a job that failed or was dismissed
└── SetupError                  broker    the installation is not usable; says the command that mends it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class BrokerError(Exception):
    """What went wrong (`detail`) and what to do about it (`hint`), both one sentence for a person."""

    fault: ClassVar[str] = "broker"
    reason: ClassVar[str] = "broker-error"

    def __init__(self, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}" if self.hint else self.detail


class PackageError(BrokerError):
    """A package that cannot be run. `line` and `column` count from 1; None where unknown."""

    fault = "package"
    reason = "invalid-package"

    def __init__(
        self,
        detail: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.file = file
        self.line = line
        self.column = column

    @property
    def place(self) -> str:
        """`file:line:column`, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.place}: {text}" if self.place else text


class UnsupportedPackage(PackageError):
    reason = "unsupported-requirement"


class UnsupportedMediaType(PackageError):
    reason = "unsupported-media-type"


class WorkflowNotFound(PackageError):
    reason = "workflow-not-found"


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One wrong input: a JSON pointer into the execute request (`/inputs/bbox`), and what is wrong."""

    pointer: str
    detail: str


class InputError(BrokerError):
    fault = "input"
    reason = "invalid-input"

    def __init__(self, *problems: InputProblem, hint: str | None = None) -> None:
        super().__init__("; ".join(f"{p.pointer}: {p.detail}" if p.pointer else p.detail for p in problems), hint=hint)
        self.problems = problems


class InvalidParameter(InputError):
    reason = "invalid-parameter"


class CredentialRefused(InputError):
    reason = "credential-refused"


class Missing(BrokerError):
    fault = "input"
    reason = "not-found"


class NoSuchProcess(Missing):
    reason = "no-such-process"


class NoSuchJob(Missing):
    reason = "no-such-job"


class NoSuchUpload(Missing):
    reason = "no-such-upload"


class NoSuchFile(Missing):
    reason = "no-such-file"


class NoSuchOutput(Missing):
    reason = "no-such-output"


class NoSuchPlatform(Missing):
    reason = "no-such-platform"


class NoSuchCredential(Missing):
    reason = "no-such-credential"


class NoSuchProject(Missing):
    reason = "no-such-project"


class NoSuchInvitation(Missing):
    reason = "no-such-invitation"


class NoSuchPublication(Missing):
    reason = "no-such-publication"


class NoSuchComparison(Missing):
    reason = "no-such-comparison"


class ResultNotReady(Missing):
    reason = "result-not-ready"


class ResultsGone(Missing):
    reason = "results-gone"


class Conflict(BrokerError):
    fault = "input"
    reason = "conflict"


class DuplicatedProcess(Conflict):
    reason = "duplicated-process"


class ImmutableProcess(Conflict):
    reason = "immutable-process"


class IdempotencyConflict(Conflict):
    reason = "idempotency-key-reused"


class UploadConflict(Conflict):
    reason = "upload-conflict"


class ProjectConflict(Conflict):
    """A project's id is taken, something still belongs to it, or it would be left without a maintainer."""

    reason = "project-conflict"


class WrongPhase(Conflict):
    reason = "wrong-phase"


class Held(Conflict):
    """Something still needs what was to be deleted."""

    reason = "held"


class AccessError(BrokerError):
    fault = "input"
    reason = "access"


class Unauthenticated(AccessError):
    reason = "unauthenticated"


class Forbidden(AccessError):
    reason = "forbidden"


class IssuerSilent(AccessError):
    reason = "issuer-silent"


class LimitError(BrokerError):
    fault = "limit"
    reason = "too-large"


class QuotaExceeded(LimitError):
    """`quota`: kind, subject, name, used and allowed; `retry_after`: seconds after which it may be otherwise."""

    reason = "quota-exceeded"

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        quota: Mapping[str, Any] | None = None,
        retry_after: float = 60.0,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.quota = quota
        self.retry_after = retry_after


class TooManyRequests(LimitError):
    """More requests than the rate allows; `retry_after` seconds."""

    reason = "too-many-requests"

    def __init__(self, detail: str, *, hint: str | None = None, retry_after: float = 60.0) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after = retry_after


class NoRoom(LimitError):
    reason = "needs-too-much"


class EgressRefused(BrokerError):
    fault = "staging"
    reason = "address-refused"


class StagingError(BrokerError):
    fault = "staging"
    reason = "staging-failed"


class PlatformError(BrokerError):
    fault = "platform"
    reason = "platform-error"


class PlatformUnavailable(PlatformError):
    """Try again; `retry_after` in seconds where the platform said so. `sent` False: nothing can have arrived there (no
    connection was made), so that a submission may go to another platform. `personal`: it is one person's account that
    does not work there, not the platform."""

    reason = "platform-unavailable"

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
        personal: bool = False,
    ) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after = retry_after
        self.sent = sent
        self.personal = personal


class PlatformRefused(PlatformError):
    """The job fails. `fault_of` and `code` say whose fault and which reason (values of `jobs.model`)."""

    reason = "platform-refused"

    def __init__(
        self, detail: str, *, hint: str | None = None, fault_of: str = "platform", code: str = "platform-refused"
    ) -> None:
        super().__init__(detail, hint=hint)
        self.fault_of = fault_of
        self.code = code


class TargetError(BrokerError):
    fault = "platform"
    reason = "target-error"


class TargetUnavailable(TargetError):
    """The same step may work later; `retry_after` in seconds where the target said so."""

    reason = "target-unavailable"

    def __init__(self, detail: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after = retry_after


class TargetRefused(TargetError):
    reason = "target-refused"


class StorageError(BrokerError):
    reason = "storage-unavailable"


class StorageFull(StorageError):
    reason = "storage-full"


class JobFailed(BrokerError):
    """Results were asked of a job that ended without any. `failed_fault` and `failed_reason` are the job's own."""

    reason = "job-failed"

    def __init__(self, detail: str, *, failed_fault: str, failed_reason: str, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.failed_fault = failed_fault
        self.failed_reason = failed_reason


class SetupError(BrokerError):
    reason = "setup"
