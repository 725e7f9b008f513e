"""The pages of quotas: one's own, and for operators those of everybody, with the form that sets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.quota import NAMES, Kind
from broker.api.forms import errors, number
from broker.errors import BrokerError
from broker.web import page

USED = {
    "queued": "jobs that wait",
    "running": "jobs that run",
    "cpu_hours": "CPU-hours this month",
    "storage_bytes": "bytes of results and uploads",
}
BOUNDS = {  # of which nothing is used up
    "scatter_width": "runs of one scattered step",
    "results_days": "days until results are deleted",
    "logs_days": "days until logs are deleted",
    "uploads_days": "days until uploads are deleted",
}
WORDS = USED | BOUNDS
KINDS = ((Kind.PERSON.value, "a person"), (Kind.PROJECT.value, "a project"), (Kind.DELEGATE.value, "a platform"))


def mine(request: Request, quotas: list[dict[str, Any]]) -> Response:
    """The page of one's own."""
    return page(request, "quota.html", title="Quota", quotas=quotas, words=USED, bounds=BOUNDS)


def body(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a program would send in the place of the form: numbers; what was left empty is left out."""
    return {name: number(text) for name in NAMES if (text := fields.get(name, "").strip())}


def listing(
    request: Request,
    defaults: Mapping[str, Mapping[str, float]],
    quotas: list[dict[str, Any]],
    *,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """What was set, and the form that sets more."""
    return page(
        request,
        "quotas.html",
        status=status,
        title="Quotas",
        defaults=defaults,
        quotas=quotas,
        words=WORDS,
        labels={"kind": "Whose", "subject": "Id", **WORDS},
        kinds=KINDS,
        typed=typed or {},
        errors=errors(refused),
    )


def shown(
    request: Request,
    document: Mapping[str, Any],
    limits: Mapping[str, float] | None,
    *,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The page of one of them. `limits`: those that were set for it alone; None: none were."""
    return page(
        request,
        "quotaof.html",
        status=status,
        title=f"Quota of the {document['kind']} {document['subject']}",
        quota=document,
        set=limits is not None,
        typed=(limits or {}) if typed is None else typed,
        words=WORDS,
        used=USED,
        bounds=BOUNDS,
        errors=errors(refused),
    )
