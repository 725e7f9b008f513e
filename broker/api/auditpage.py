"""The page of the audit: who did what for whom, newest first, with the form that filters it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api.forms import errors
from broker.api.site import site_of
from broker.errors import BrokerError
from broker.store import people
from broker.web import page

FILTERS = {
    "actor": ("Who", "id of a person"),
    "project": ("For", "id of a project"),
    "action": ("What", "such as deploy"),
    "since": ("Since", "such as 2026-01-31"),
}
# kind of subject -> where it has a page
PAGES = {"process": "/processes", "job": "/jobs", "upload": "/uploads", "project": "/projects", "quota": "/quotas"}


async def shown(
    request: Request,
    caller: Principal,
    rows: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, str]],
    *,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The page of some entries. `refused`: what was wrong with the filter."""
    site = site_of(request)
    typed = {name: value for name in FILTERS if (value := request.query_params.get(name))}
    names = await site.rows.read(_names, rows)
    everybodys = Scope.ADMIN in caller.scopes
    json = {**request.query_params, "newest": "true", "f": "json"}
    base = site.base(request)
    return page(
        request,
        "audit.html",
        status=status,
        title="Audit",
        rows=rows,
        names=names,
        links=links,
        filters={name: words for name, words in FILTERS.items() if everybodys or name != "actor"},
        labels={f"?{name}": words[0] for name, words in FILTERS.items()},
        typed=typed,
        errors=errors(refused),
        everybodys=everybodys,
        where={row["subject"]: _where(row["subject"]) for row in rows},
        lines=None if refused else f"{base}/audit?{urlencode({**typed, 'f': 'jsonl'})}",
        alternate=None if refused else f"{base}/audit?{urlencode(json)}",
    )


def _names(tx: Connection, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    return people.names(tx, sorted({row["actor"] for row in rows}))


def _where(subject: str) -> str | None:
    """The path of the page of what something was done to."""
    kind, _, row_id = subject.partition("/")
    return f"{PAGES[kind]}/{quote(row_id)}" if kind in PAGES and row_id else None
