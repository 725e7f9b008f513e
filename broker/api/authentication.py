"""Who is asking: nobody on a loopback address (open mode), the bearer of a token, or a browser with a session; and
for whom, where a platform acts for a person or somebody for a project."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette.requests import Request

from broker.access.principal import LOCAL, Principal, Scope
from broker.api.acting import Acting
from broker.api.bearers import REMEMBERED, Bearers, Known
from broker.api.browsers import Browsers
from broker.api.rate import Rates
from broker.api.rows import Rows
from broker.egress import Egress
from broker.errors import Forbidden, SetupError, Unauthenticated
from broker.settings import Settings
from broker.store import tokens

_NOBODY = Known(LOCAL.owner, LOCAL.project, LOCAL.scopes, LOCAL.owner)
MOST_HARMLESS = 1000


class Gate:
    """Tells principals from requests. Deny by default: open mode needs a loopback host, and that neither a token nor
    an issuer is there. `egress`: to the issuers."""

    def __init__(self, settings: Settings, rows: Rows, egress: Egress) -> None:
        self._rows = rows
        self._loopback = is_loopback(settings.api.host)
        self._origins = frozenset(settings.api.cors_origins)
        self._own_host = urlsplit(settings.public_url).hostname or ""
        self._harmless: set[tuple[str, str | None]] = set()  # what a Host and an Origin said that were let in
        self._issuers = bool(settings.access.issuers)
        self._any = (0.0, True)
        self.bearers = Bearers(settings.access, rows, egress)
        self.browsers = Browsers(settings.access, rows)
        self._acting = Acting(settings.access, rows)

    def forget(self) -> None:
        """Ask the database again: tokens, sessions or members have changed."""
        self._any = (0.0, True)
        self.bearers.forget()
        self.browsers.forget()
        self._acting.forget()

    async def check_setup(self) -> None:
        """Raise SetupError when everybody on the network could use the broker."""
        if not self._loopback and not await self.required():
            raise SetupError(
                "The broker does not serve other machines without tokens: everybody could run programs here.",
                hint="Make a token first: broker token create NAME, or serve 127.0.0.1.",
            )

    async def required(self) -> bool:
        """Whether authentication is on: issuers are configured, or there is a token that is not revoked."""
        if self._issuers:
            return True
        until, exist = self._any
        if time.monotonic() >= until:
            exist = await self._rows.read(tokens.any_valid)
            self._any = (time.monotonic() + REMEMBERED, exist)
        return exist

    async def principal(self, request: Request) -> Principal:
        """Raises Unauthenticated, Forbidden, IssuerSilent. Sets `principal`, `person` (a name to show) and `csrf` (for
        forms; empty where there is no session) of the request's state."""
        csrf = ""
        if not await self.required():
            known = self._nobody(request)
        elif given := request.headers.get("authorization"):
            known = await self._bearer(given)
        else:
            known, csrf = await self._browser(request)
        headers = request.headers
        person, project = headers.get("acting-for"), headers.get("acting-project")
        address = request.client.host if request.client is not None else None
        if known is _NOBODY and person is None and project is None:
            principal = LOCAL
        elif person is None and project is None:
            _refuse_without_role(known)
            principal = Principal(known.owner, known.project, known.scopes, known.reference, None, address)
        else:
            principal = replace(await self._acting.principal(known, person, project), address=address)
        state = request.state
        state.principal, state.person, state.csrf = principal, known.name, csrf
        state.own_token = known.token
        return principal

    def _nobody(self, request: Request) -> Known:
        if not self._loopback:
            raise Unauthenticated("No valid token is left.", hint="Make one: broker token create NAME")
        self._refuse_web_pages(request)
        return _NOBODY

    async def _bearer(self, given: str) -> Known:
        scheme, _, secret = given.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated("The Authorization header holds no token (Bearer ...).")
        return await self.bearers.known(secret)

    async def _browser(self, request: Request) -> tuple[Known, str]:
        found = await self.browsers.known(request, request.app.state.site.base(request)) if self._issuers else None
        if found is None:
            how = "broker login, /login in a browser, or " if self._issuers else ""
            raise Unauthenticated(
                "This needs a token.",
                hint=f"{how or 'Send '}Authorization: Bearer eb_..., made by: broker token create NAME",
            )
        return found

    def _refuse_web_pages(self, request: Request) -> None:
        """Without tokens, a web page that the user happens to visit must not reach the broker through the browser:
        neither by a name that resolves to loopback (Host) nor by a form or script of its own (Origin)."""
        asked, origin = request.headers.get("host", ""), request.headers.get("origin")
        if (asked, origin) in self._harmless:
            return
        host = _host_name(asked)
        if host != self._own_host and not is_loopback(host):
            raise Forbidden(f"Without tokens the broker answers to loopback names only, not to {host[:100]!r}.")
        if origin is not None and origin not in self._origins:
            name = urlsplit(origin).hostname or ""
            if name != self._own_host and not is_loopback(name):
                raise Forbidden(f"Web pages of {origin[:100]!r} may not use this broker (api.cors_origins).")
        if len(self._harmless) < MOST_HARMLESS:
            self._harmless.add((asked, origin))


def _refuse_without_role(known: Known) -> None:
    """Somebody whom an issuer knows, and the operator of this broker has given no role."""
    who = known.identity
    if who is not None and who.role is None:
        raise Forbidden(
            f"{known.name} is known to {who.issuer}, but has no role on this broker.",
            hint=f"Ask its operator for one (access.issuers.{who.issuer}.roles or default_role).",
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(netloc: str) -> str:
    try:
        return urlsplit("//" + netloc).hostname or ""
    except ValueError:
        return ""


async def authenticated(request: Request) -> Principal:
    """The principal of the request. Reading needs READ; what changes something needs a scope that may change
    something at all, and then the one that the verb in `broker.execution` asks for."""
    principal = await _counted(request)
    if request.method in ("GET", "HEAD"):
        principal.need(Scope.READ)
    elif Scope.DEPLOY not in principal.scopes:
        principal.need(Scope.RUN)
    return principal


async def _counted(request: Request) -> Principal:
    """The principal of the request, which counts for its rates where any are set."""
    site = request.app.state.site
    rates: Rates | None = site.rates
    if rates is None:
        known: Principal = await site.gate.principal(request)
        return known
    rates.refuse_guesses(request)
    try:
        principal: Principal = await site.gate.principal(request)
    except Unauthenticated:
        rates.failed(request)
        raise
    rates.count(request, principal)
    return principal


Caller = Annotated[Principal, Depends(authenticated)]
bearer = HTTPBearer(auto_error=False, description="A token of this broker or of an issuer it trusts.")
