"""Tokens that people make for their own programs: made, listed, revoked; the secret is shown once."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import answers, bodies, tokenpages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, is_form, mendable
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import BrokerError, Forbidden, InputError, InputProblem
from broker.execution.tokens import Wish, make, revoke
from broker.store import tokens
from broker.store.tokens import Token
from broker.web import HTML

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
    if is_form(request):
        return await _create_by_form(request, caller)
    body, _ = await bodies.parsed_object(request, LARGEST_BODY)
    made, secret = await _made(request, caller, body)
    here = f"{site_of(request).base(request)}/tokens/{made.id}"
    return Json(document(made) | {"secret": secret}, 201, {"Location": here, "Cache-Control": "no-store"})


async def _made(request: Request, caller: Principal, body: dict[str, Any]) -> tuple[Token, str]:
    """Raises InputError, Forbidden."""
    site = site_of(request)
    if not await site.gate.required():
        raise Forbidden(
            "Nobody is asked who they are here, so that there is nobody to make a token for.",
            hint="Make the first token on the broker's machine: broker token create NAME",
        )
    wish = _wish(body, caller, site.settings.access.token_days)
    maker = getattr(request.state, "own_token", None)
    return await site.rows.quick(make, site.broker.database, caller, maker, wish)


async def _create_by_form(request: Request, caller: Principal) -> Response:
    """The page with the new token's secret, or with what is wrong."""
    fields = await form(request)
    site = site_of(request)
    try:
        made = await _made(request, caller, tokenpages.body(fields))
    except BrokerError as refused:
        status = mendable(request, refused)
        found = await site.rows.read(tokens.every, caller.lists)
        return await tokenpages.shown(request, caller, found, typed=fields, refused=refused, status=status)
    found = await site.rows.read(tokens.every, caller.lists)
    return await tokenpages.shown(request, caller, found, made=made, status=201)


@router.get("/tokens", name="tokens")
async def page(request: Request, caller: Caller, f: Representation = None) -> Response:
    """One's own tokens, without their secrets; an operator sees everybody's."""
    kind = representation(request, {"json": JSON, "html": HTML})
    _refuse_delegate(caller)
    site = site_of(request)
    found = await site.rows.read(tokens.every, caller.lists)
    if kind == "html":
        return await tokenpages.shown(request, caller, found)
    base = site.base(request)
    return Json({"tokens": [document(one) for one in found], "links": [link(f"{base}/tokens", "self", "This list")]})


@router.delete("/tokens/{token_id}", name="revokeToken", status_code=204)
async def delete(request: Request, token_id: str, caller: Caller) -> Response:
    """Revoke a token, and those it has made: within seconds they are worth nothing."""
    await _revoke(site_of(request), caller, token_id)
    return Response(status_code=204)


@router.post("/tokens/{token_id}", name="revokeTokenForm", include_in_schema=False)
async def delete_by_form(request: Request, token_id: str, caller: Caller) -> Response:
    """The same for the page."""
    await form(request)
    site = site_of(request)
    await _revoke(site, caller, token_id)
    return done(f"{site.base(request)}/tokens?f=html")


async def _revoke(site: Site, caller: Principal, token_id: str) -> None:
    await site.rows.quick(revoke, site.broker.database, caller, token_id)
    site.gate.forget()


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
