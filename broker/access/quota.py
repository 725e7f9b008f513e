"""Quotas: how much a person, a project and a delegating platform may have, and what to say when it is used up.

Pure decisions: the numbers come from `broker.store.usage`, the limits from the settings and the table of quotas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from broker.errors import QuotaExceeded

HOUR = 3600.0
WAITS = "Waiting: "  # how the message of a job begins that waits for a quota


class Kind(StrEnum):
    """Whose quota it is."""

    PERSON = "person"
    PROJECT = "project"
    DELEGATE = "delegate"


@dataclass(frozen=True, slots=True)
class Quota:
    """What one of them may have; None: as much as there is.

    `queued`, `running`: jobs at one time; `cpu_hours`: core-hours per calendar month (UTC) of jobs that have ended;
    `storage_bytes`: kept results and uploads; `scatter_width`: runs of one scattered step. Days until results, logs
    and uploads are deleted, where that is sooner than for everybody.
    """

    queued: int | None = None
    running: int | None = None
    cpu_hours: float | None = None
    storage_bytes: int | None = None
    scatter_width: int | None = None
    results_days: float | None = None
    logs_days: float | None = None
    uploads_days: float | None = None

    def over(self, default: Quota) -> Quota:
        """This one, with what it leaves open from `default`."""
        said = {one: value for one in NAMES if (value := getattr(self, one)) is not None}
        return replace(default, **said)

    @property
    def counts(self) -> bool:
        """Whether it limits anything that has to be counted."""
        return any(getattr(self, one) is not None for one in NAMES if one not in DAYS)

    def to_json(self) -> dict[str, float]:
        """Only what is limited."""
        return {one: value for one in NAMES if (value := getattr(self, one)) is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Quota:
        """Names that a later release wrote are left out."""
        return cls(**{name: value[name] for name in NAMES if name in value})


NAMES = tuple(one.name for one in fields(Quota))
DAYS = tuple(name for name in NAMES if name.endswith("_days"))
UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Tenant:
    """One of those whose quota counts for a job or an upload."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.id}"


@dataclass(slots=True)
class Used:
    """What a tenant has now: jobs, jobs, core-seconds of this month, bytes."""

    queued: int = 0
    running: int = 0
    core_seconds: float = 0.0
    storage_bytes: int = 0


@dataclass(frozen=True)
class Quotas:
    """All limits at one moment: defaults by kind, and those that were set for one tenant."""

    defaults: Mapping[Kind, Quota] = field(default_factory=dict)
    rows: Mapping[Tenant, Quota] = field(default_factory=dict)

    def of(self, tenant: Tenant) -> Quota:
        default = self.defaults.get(tenant.kind, UNLIMITED)
        own = self.rows.get(tenant)
        return default if own is None else own.over(default)

    def limited(self, owner: str, project: str, delegate: str | None) -> Iterator[tuple[Tenant, Quota]]:
        """The tenants that count for a row and have any limit, always in the same order."""
        if not self:
            return
        for tenant in tenants(owner, project, delegate):
            quota = self.of(tenant)
            if quota.counts:
                yield tenant, quota

    def scatter_width(self, owner: str, project: str, delegate: str | None) -> int | None:
        """The narrowest of them, None where there is none."""
        widths = [quota.scatter_width for _, quota in self.limited(owner, project, delegate)]
        return min((width for width in widths if width is not None), default=None)

    def days(self, name: str, owner: str, project: str, delegate: str | None) -> float | None:
        """The fewest days that one of them keeps what `name` (of DAYS) says, None where none says anything."""
        said = [getattr(self.rows[one], name) for one in tenants(owner, project, delegate) if one in self.rows]
        return min((days for days in said if days is not None), default=None)

    @cached_property
    def of_running(self) -> bool:
        """Whether anybody's running jobs are limited."""
        return any(quota.running is not None for quota in (*self.defaults.values(), *self.rows.values()))

    def __bool__(self) -> bool:
        return bool(self.rows) or any(quota != UNLIMITED for quota in self.defaults.values())


NONE = Quotas()


def tenants(owner: str, project: str, delegate: str | None) -> list[Tenant]:
    """Whose quotas count: the person's, the project's unless it is the person's own, the delegating platform's."""
    found = [Tenant(Kind.PERSON, owner)]
    if project != owner:
        found.append(Tenant(Kind.PROJECT, project))
    if delegate:
        found.append(Tenant(Kind.DELEGATE, delegate))
    return found


def refuse_job(tenant: Tenant, quota: Quota, used: Used, now: float) -> QuotaExceeded | None:
    """Why the tenant gets no further job now (epoch seconds); None: it does."""
    if quota.queued is not None and used.queued >= quota.queued:
        detail = f"{_whose(tenant)} quota of {quota.queued} waiting jobs is used up ({used.queued} wait)."
        hint = "Wait until some have started, or dismiss some."
        return _exceeded(tenant, "queued", used.queued, quota.queued, detail, hint, 30.0)
    if quota.cpu_hours is not None and used.core_seconds >= quota.cpu_hours * HOUR:
        hours = used.core_seconds / HOUR
        detail = f"{_whose(tenant)} quota of {quota.cpu_hours:g} CPU-hours a month is used up ({hours:.2f} are used)."
        hint = "It begins anew with the next month (UTC); an operator can raise it."
        return _exceeded(tenant, "cpu_hours", round(hours, 4), quota.cpu_hours, detail, hint, _month_end(now) - now)
    if quota.storage_bytes is not None and used.storage_bytes >= quota.storage_bytes:
        return no_space(tenant, quota.storage_bytes, used.storage_bytes)
    return None


def refuse_bytes(tenant: Tenant, quota: Quota, used: Used, more: int) -> QuotaExceeded | None:
    """Why the tenant may not keep `more` bytes; None: it may."""
    if quota.storage_bytes is None or used.storage_bytes + more <= quota.storage_bytes:
        return None
    return no_space(tenant, quota.storage_bytes, used.storage_bytes, more)


def no_space(tenant: Tenant, allowed: int, used: int, more: int = 0) -> QuotaExceeded:
    wanted = f", and {more} more are wanted" if more else ""
    detail = f"{_whose(tenant)} quota of {allowed} bytes of results and uploads is used up ({used} are kept{wanted})."
    hint = "Delete results (broker results JOB --delete) or uploads that you no longer need."
    return _exceeded(tenant, "storage_bytes", used, allowed, detail, hint, HOUR)


def waits(tenant: Tenant, quota: Quota, running: int) -> str | None:
    """What the tenant's next job has to say while it may not start; None: it may."""
    if quota.running is None or running < quota.running:
        return None
    whose = _whose(tenant)
    return f"{WAITS}{whose[0].lower()}{whose[1:]} quota of {quota.running} running jobs."


def month(now: float) -> int:
    """The accounting period of a moment: year * 100 + month, UTC."""
    at = datetime.fromtimestamp(now, UTC)
    return at.year * 100 + at.month


def month_begins(now: float) -> float:
    """The first moment (epoch seconds) of the accounting period of a moment."""
    at = datetime.fromtimestamp(now, UTC)
    return datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()


def _month_end(now: float) -> float:
    at = datetime.fromtimestamp(now, UTC)
    years, zero_based = divmod(at.month, 12)
    return datetime(at.year + years, zero_based + 1, 1, tzinfo=UTC).timestamp()


def _whose(tenant: Tenant) -> str:
    if tenant.kind is Kind.PERSON:
        return "Your"
    return f"The {'project' if tenant.kind is Kind.PROJECT else 'platform'} {tenant.id}'s"


def _exceeded(
    tenant: Tenant, name: str, used: float, allowed: float, detail: str, hint: str, retry_after: float
) -> QuotaExceeded:
    return QuotaExceeded(
        detail,
        hint=f"{hint} See: broker quota, GET /quota.",
        quota={"kind": tenant.kind.value, "subject": tenant.id, "name": name, "used": used, "allowed": allowed},
        retry_after=retry_after,
    )
