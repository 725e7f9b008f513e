"""Logging in and out: which issuers there are, the way of a browser to one and back, and who one is."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.access import codeflow, oidc
from broker.access.codeflow import CodeFlow
from broker.access.configuration import Issuer
from broker.access.keys import Issued
from broker.access.oidc import Identity
from broker.access.principal import SCOPES_OF, Principal
from broker.access.tokens import digest
from broker.api.answers import JSON, Json, representation
from broker.api.authentication import Caller
from broker.api.browsers import Browsers, cookie, forget_cookie, set_cookie
from broker.api.classes import ConformanceClass, guarded, public
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import Forbidden, Missing, Unauthenticated
from broker.store import audit, people, sessions
from broker.store.audit import Entry
from broker.store.sessions import LOGIN_SECONDS, Login
from broker.web import HTML, page

router = public("Login")
LOGIN = ConformanceClass(router, links=(("/login", "related", "How to log in"),))
own = guarded("Login")
OWN = ConformanceClass(own, links=(("/me", "related", "Who you are"),))
STATE = "broker-login"
NO_STORE = {"Cache-Control": "no-store"}


@router.get("/login", name="login")
async def login(request: Request, f: Representation = None) -> Response:
    """The issuers whose people can log in: as a page for browsers, with client ids for programs."""
    chosen = representation(request, {"json": JSON, "html": HTML})
    site = site_of(request)
    target = local_path(request.query_params.get("next"))
    issuers = site.settings.access.issuers
    if chosen == "html":
        ways = [
            {"title": one.title or name, "href": f"/login/{name}?{urlencode({'next': target})}"}
            for name, one in issuers.items()
            if one.client_id is not None
        ]
        return page(request, "login.html", title="Log in", ways=ways)
    return Json({"issuers": [_shown(name, one) for name, one in issuers.items()]})


def _shown(name: str, issuer: Issuer) -> dict[str, Any]:
    """What the command line needs for its own login; a client with a secret is the broker's alone."""
    client = issuer.cli_client_id or (issuer.client_id if issuer.client_secret is None else None)
    return {
        "name": name,
        "title": issuer.title or name,
        "issuer": issuer.url,
        "clientId": client,
        "scopes": list(issuer.scopes),
        "parameters": issuer.parameters,
    }


@router.get("/login/callback", name="loginDone", include_in_schema=False)
async def callback(request: Request) -> Response:
    """Where an issuer sends the browser back to."""
    site = site_of(request)
    base = site.settings.public_url
    query = request.query_params
    state = query.get("state", "")
    bound = request.cookies.get(cookie(STATE, base), "")
    # the state in the cookie: an attacker's own answer must not log somebody else's browser in (RFC 6749, 10.12)
    if not state or not hmac.compare_digest(state.encode(), bound.encode()):
        raise Unauthenticated("This login did not begin in this browser.", hint="Log in again at /login.")
    begun = await site.rows.quick(_end_login, site, digest(state))
    issuer = site.settings.access.issuers.get(begun.issuer) if begun is not None else None
    if begun is None or issuer is None:
        raise Unauthenticated("This login took too long, or was used before.", hint="Log in again at /login.")
    issued = await _published(site, begun.issuer)
    codeflow.refuse_other_issuer(issuer, issued, query.get("iss"))
    code = query.get("code")
    if not code or "error" in query:
        said = "".join(one for one in query.get("error", "no code") if one.isprintable())[:60]
        raise Unauthenticated(f"The issuer let nobody in ({said}).", hint="Log in again at /login.")
    flow = CodeFlow(issuer, issued, site.broker.issuers_egress)
    claims = await asyncio.to_thread(flow.claims, code, _callback(base), begun.verifier, begun.nonce)
    who = oidc.identity(begun.issuer, issuer, claims)
    person = await site.rows.quick(_met, site, issuer.url, who, _address(request))
    if who.role is None:
        raise Forbidden(
            f"{who.name or who.subject} is known to {begun.issuer}, but has no role on this broker.",
            hint=f"Ask its operator for one (access.issuers.{begun.issuer}.roles or default_role).",
        )
    secret = await site.gate.browsers.begin(request, base, person, begun.issuer, SCOPES_OF[who.role])
    answer = RedirectResponse(base + begun.target, 303, NO_STORE)
    set_cookie(answer, Browsers.COOKIE, base, secret, site.settings.access.session_hours * 3600)
    forget_cookie(answer, STATE, base)
    return answer


@router.get("/login/{issuer}", name="loginBegin", include_in_schema=False)
async def begin(request: Request, issuer: str) -> Response:
    """Send the browser to an issuer; `next` is the local path to come back to."""
    site = site_of(request)
    chosen = site.settings.access.issuers.get(issuer)
    if chosen is None or chosen.client_id is None:
        raise Missing("Browsers cannot log in at this issuer here.", hint="See /login.")
    base = site.settings.public_url
    target = local_path(request.query_params.get("next"))
    if site.base(request) != base:  # cookies must be of the address that the issuer sends the browser back to
        return RedirectResponse(f"{base}/login/{issuer}?{urlencode({'next': target})}", 303, NO_STORE)
    site.gate.browsers.count_login(_address(request) or "")
    issued = await _published(site, issuer)
    made = codeflow.new_secrets()
    where = codeflow.address(chosen, issued, _callback(base), made)
    await site.rows.quick(_begin_login, site, digest(made.state), Login(issuer, made.verifier, made.nonce, target))
    answer = RedirectResponse(where, 303, NO_STORE)
    set_cookie(answer, STATE, base, made.state, LOGIN_SECONDS)
    return answer


@own.post("/logout", name="logout", status_code=303, include_in_schema=False)
async def logout(request: Request, caller: Caller) -> Response:
    """End the session of this browser."""
    site = site_of(request)
    base = site.base(request)
    secret = site.gate.browsers.secret(request, base)
    if secret is not None:
        await site.rows.quick(_end_session, site, digest(secret), caller)
        site.gate.browsers.forget(digest(secret))
    answer = RedirectResponse(f"{base}/", 303, NO_STORE)
    forget_cookie(answer, Browsers.COOKIE, base)
    return answer


@own.get("/me", name="me")
async def me(request: Request, caller: Caller, f: Representation = None) -> Response:
    """Who one is to this broker: the person, the project of this request, and what the request may do."""
    representation(request, {"json": JSON})
    site = site_of(request)
    found = await site.rows.read(people.get, caller.owner)
    return Json(
        {
            "id": caller.owner,
            "name": found.name if found is not None else caller.owner,
            "email": found.email if found is not None else None,
            "orcid": found.orcid if found is not None else None,
            "issuer": found.issuer if found is not None else None,
            "subject": found.subject if found is not None else None,
            "project": caller.project,
            "delegate": caller.delegate,
            "scopes": sorted(caller.scopes),
            "authenticated": await site.gate.required(),
        },
        headers=NO_STORE,
    )


def local_path(given: str | None) -> str:
    """The path to go on to after a login: one of ours, or the start page. A browser reads `//host`, `/\\host` and what
    hides behind control characters as another host."""
    if not given or len(given) > 2000 or not given.isprintable() or "\\" in given or not given.isascii():
        return "/"
    try:
        parts = urlsplit(given)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or not given.startswith("/") or given.startswith("//") or " " in given:
        return "/"
    return given


def _callback(base: str) -> str:
    return f"{base}/login/callback"


def _address(request: Request) -> str | None:
    return request.client.host if request.client is not None else None


async def _published(site: Site, issuer: str) -> Issued:
    """What an issuer publishes, fetched where it is due: this process may never have asked. Raises IssuerSilent."""
    issued = site.gate.bearers.issued[issuer]
    if issued.stale():
        await asyncio.shield(site.gate.bearers.refresh(issuer))
    return issued


def _begin_login(site: Site, hashed: str, begun: Login) -> None:
    with site.broker.database.write() as tx:
        sessions.begin_login(tx, hashed, begun)


def _end_login(site: Site, hashed: str) -> Login | None:
    with site.broker.database.write() as tx:
        return sessions.end_login(tx, hashed)


def _met(site: Site, url: str, who: Identity, address: str | None) -> str:
    """The id of who logged in; the audit knows of the login, let in or not."""
    with site.broker.database.write() as tx:
        person = people.meet(tx, url, who.subject, name=who.name, email=who.email, orcid=who.orcid)
        outcome = "refused" if who.role is None else "done"
        said = {"issuer": who.issuer, "role": who.role}
        audit.record(
            tx,
            Entry(person.id, person.id, "login", f"person/{person.id}", outcome=outcome, address=address, data=said),
        )
    return person.id


def _end_session(site: Site, hashed: str, caller: Principal) -> None:
    with site.broker.database.write() as tx:
        if sessions.end(tx, hashed) is not None:
            audit.record(tx, audit.entry(caller, "logout", f"person/{caller.owner}"))
