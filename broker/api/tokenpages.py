"""The page of one's tokens: makes and revokes them by form, and shows a new one's secret this once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import WORKS, Principal, Scope
from broker.api.forms import errors
from broker.api.site import site_of
from broker.errors import BrokerError
from broker.store import people, projects
from broker.store.tokens import Token
from broker.web import page

MOST_PROJECTS = 200
SCOPES: Mapping[Scope, str] = {
    Scope.READ: "see your processes, jobs, results and uploads",
    Scope.RUN: "execute, upload and dismiss",
    Scope.DEPLOY: "deploy, replace and undeploy processes",
    Scope.PUBLISH: "send results to catalogs",
    Scope.ADMIN: "all that an operator may",
}
FIELDS = {"name": "Name", "days": "Days until it expires", "project": "Project"}
OF_SCOPE = "scope-"  # what the name of a scope's box begins with


def body(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a program would send in the place of the form."""
    days: Any = fields.get("days", "")
    with suppress(ValueError):  # said by who reads the body
        days = float(days)
    wish = {
        "name": fields.get("name", "").strip(),
        "scopes": [name.removeprefix(OF_SCOPE) for name in fields if name.startswith(OF_SCOPE)],
        "days": days,
    }
    return wish | ({"project": fields["project"]} if fields.get("project") else {})


async def shown(
    request: Request,
    caller: Principal,
    found: list[Token],
    *,
    made: tuple[Token, str] | None = None,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """`made`: a token and its secret, shown with this answer only; `typed`: what the form held that was `refused`."""
    site = site_of(request)
    required = await site.gate.required()
    now = time.time()
    usable = [one for one in found if one.revoked is None and (one.expires is None or one.expires > now)]
    return page(
        request,
        "tokens.html",
        status=status,
        title="Tokens",
        tokens=usable,
        names=await site.rows.read(people.names, {one.owner for one in usable}),
        ended=len(found) - len(usable),
        made=made,
        typed={f"{OF_SCOPE}read": "on"} if typed is None else typed,
        errors=errors(refused),
        fields=FIELDS,
        scopes=[(one.value, words) for one, words in SCOPES.items() if one in caller.scopes],
        projects=await site.rows.read(_projects, caller) if required else [],
        usual_days=min(90, site.settings.access.token_days),
        most_days=site.settings.access.token_days,
        nobody=not required,
        everybodys=caller.lists is None,
    )


def _projects(tx: Connection, caller: Principal) -> list[tuple[str, str]]:
    """What a new token may be for."""
    if caller.project != caller.owner:
        return [("", f"the project {caller.project}")]
    mine = projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)
    return [("", "none: in your own name"), *((one.id, one.title) for one in mine if one.part in WORKS)]
