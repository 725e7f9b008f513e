"""Tokens that people make for their own programs: made, listed, revoked; the secret is shown once."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import answers, bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import Forbidden, InputError, InputProblem
from broker.execution.tokens import Wish, make, revoke
from broker.store import tokens
from broker.store.tokens import Token

router = guarded("Tokens")
TOKENS = ConformanceClass(router, links=(("/tokens", "related", "Your tokens"),))
DAY = 86400.0
USUAL_DAYS = 90.0
LARGEST_BODY = 16 * 1024
USUAL_SCOPES = (Scope.READ, Scope.RUN, Scope.DEPLOY)


@router.post("/tokens", name="makeToken", status_code=201)
async def create(request: Request, caller: Caller) -> Response:
    """Make a token of one's own: `name`, `scopes` (default: read, run and deploy, as far as one has them), `project`,
    `days`. The answer holds its `secret`, once."""
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, LARGEST_BODY)
    if not await site.gate.required():
        raise Forbidden(
            "Nobody is asked who they are here, so that there is nobody to make a token for.",
            hint="Make the first token on the broker's machine: broker token create NAME",
        )
    wish = _wish(body, caller, site.settings.access.token_days)
    maker = getattr(request.state, "own_token", None)
    made, secret = await site.rows.quick(make, site.broker.database, caller, maker, wish)
    here = f"{site.base(request)}/tokens/{made.id}"
    return Json(document(made) | {"secret": secret}, 201, {"Location": here, "Cache-Control": "no-store"})


@router.get("/tokens", name="tokens")
async def page(request: Request, caller: Caller, f: Representation = None) -> Response:
    """One's own tokens, without their secrets; an operator sees everybody's."""
    representation(request, {"json": JSON})
    _refuse_delegate(caller)
    site = site_of(request)
    found = await site.rows.read(tokens.every, caller.lists)
    base = site.base(request)
    return Json({"tokens": [document(one) for one in found], "links": [link(f"{base}/tokens", "self", "This list")]})


@router.delete("/tokens/{token_id}", name="revokeToken", status_code=204)
async def delete(request: Request, token_id: str, caller: Caller) -> Response:
    """Revoke a token, and those it has made: within seconds they are worth nothing."""
    site: Site = site_of(request)
    await site.rows.quick(revoke, site.broker.database, caller, token_id)
    site.gate.forget()
    return Response(status_code=204)


def _refuse_delegate(caller: Principal) -> None:
    if caller.delegate is not None:
        raise Forbidden(f"The platform {caller.delegate} may not see tokens of the people that it acts for.")


def _wish(body: dict[str, Any], caller: Principal, most_days: float) -> Wish:
    problems = [InputProblem(f"/{key}", "is not known here") for key in body if key not in _KEYS]
    name, scopes, project, days = (body.get(key) for key in _KEYS)
    if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
        problems.append(InputProblem("/name", "is a text of 1 to 100 characters: what the token is for"))
    known = {one.value: one for one in Scope}
    if scopes is None:
        scopes = [one.value for one in USUAL_SCOPES if one in caller.scopes]
    if not isinstance(scopes, list) or not all(isinstance(one, str) and one in known for one in scopes):
        problems.append(InputProblem("/scopes", f"is a list of {', '.join(known)}"))
    if project is not None and not isinstance(project, str):
        problems.append(InputProblem("/project", "is the id of a project"))
    if days is None:
        days = min(USUAL_DAYS, most_days)
    if not isinstance(days, int | float) or isinstance(days, bool) or not 0 < days <= most_days:
        problems.append(InputProblem("/days", f"is a number of days, at most {most_days:g}"))
    if problems:
        raise InputError(*problems)
    return Wish(str(name), {known[one] for one in scopes}, project, days * DAY)


_KEYS = ("name", "scopes", "project", "days")


def document(one: Token) -> dict[str, Any]:
    """A token without its secret, as the API and the command line show it."""
    times = {"created": one.created, "expires": one.expires, "revoked": one.revoked, "lastUsed": one.last_used}
    return {
        "id": one.id,
        "name": one.name,
        "owner": one.owner,
        "project": one.project,
        "scopes": list(one.scopes),
        **{key: None if seconds is None else answers.time(seconds) for key, seconds in times.items()},
    }
