"""Who is asking: nobody on a loopback address (open mode) until a token exists, then the bearer of a valid one."""

from __future__ import annotations

import ipaddress
import time
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette.requests import Request

from broker.access.principal import LOCAL, Principal, Scope
from broker.access.tokens import PREFIX, digest
from broker.api.rows import Rows
from broker.errors import Forbidden, SetupError, Unauthenticated
from broker.settings import Settings
from broker.store import tokens
from broker.store.tokens import Token

REMEMBERED = 2.0  # seconds that an answer of the database counts for: how long a revoked token may live on
USED_EVERY = 60.0  # seconds between notes of a token's use
MOST_REMEMBERED = 10_000


class Gate:
    """Tells principals from requests. Deny by default: open mode needs a loopback host and that no token exists."""

    def __init__(self, settings: Settings, rows: Rows) -> None:
        self._rows = rows
        self._loopback = is_loopback(settings.api.host)
        self._origins = frozenset(settings.api.cors_origins)
        self._own_host = urlsplit(settings.public_url).hostname or ""
        self._any = (0.0, True)
        self._known: dict[str, tuple[float, Token | None]] = {}
        self._noted: dict[str, float] = {}

    def forget(self) -> None:
        """Ask the database again: tokens have changed."""
        self._any = (0.0, True)
        self._known.clear()

    async def check_setup(self) -> None:
        """Raise SetupError when everybody on the network could use the broker."""
        if not self._loopback and not await self._tokens_exist():
            raise SetupError(
                "The broker does not serve other machines without tokens: everybody could run programs here.",
                hint="Make a token first: broker token create NAME, or serve 127.0.0.1.",
            )

    async def principal(self, request: Request) -> Principal:
        """Raises Unauthenticated, Forbidden."""
        given = request.headers.get("authorization")
        if not await self._tokens_exist():
            if not self._loopback:
                raise Unauthenticated("No valid token is left.", hint="Make one: broker token create NAME")
            self._refuse_web_pages(request)
            return LOCAL
        if not given:
            raise Unauthenticated(
                "This needs a token.", hint="Send Authorization: Bearer eb_..., made by: broker token create NAME"
            )
        scheme, _, secret = given.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret.startswith(PREFIX):
            raise Unauthenticated("The Authorization header holds no token of this broker (Bearer eb_...).")
        token = await self._token(digest(secret))
        if token is None:
            raise Unauthenticated("The token is not valid: unknown, expired or revoked.")
        scopes = frozenset(scope for scope in Scope if scope.value in token.scopes)
        return Principal(token.owner, token.project, scopes, token.id)

    async def _tokens_exist(self) -> bool:
        until, exist = self._any
        if time.monotonic() >= until:
            exist = await self._rows.read(tokens.any_valid)
            self._any = (time.monotonic() + REMEMBERED, exist)
        return exist

    async def _token(self, hashed: str) -> Token | None:
        until, token = self._known.get(hashed, (0.0, None))
        if time.monotonic() >= until:
            token = await self._rows.read(tokens.by_hash, hashed)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[hashed] = (time.monotonic() + REMEMBERED, token)
        if token is not None and time.monotonic() >= self._noted.get(token.id, 0.0):
            self._noted[token.id] = time.monotonic() + USED_EVERY
            await self._rows.quick(self._note, token.id)
        return token

    def _note(self, token_id: str) -> None:
        with self._rows.database.write() as tx:
            tokens.used(tx, token_id)

    def _refuse_web_pages(self, request: Request) -> None:
        """Without tokens, a web page that the user happens to visit must not reach the broker through the browser:
        neither by a name that resolves to loopback (Host) nor by a form or script of its own (Origin)."""
        host = _host_name(request.headers.get("host", ""))
        if host != self._own_host and not is_loopback(host):
            raise Forbidden(f"Without tokens the broker answers to loopback names only, not to {host[:100]!r}.")
        origin = request.headers.get("origin")
        if origin is None or origin in self._origins:
            return
        name = urlsplit(origin).hostname or ""
        if name != self._own_host and not is_loopback(name):
            raise Forbidden(f"Web pages of {origin[:100]!r} may not use this broker (api.cors_origins).")


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
    principal: Principal = await request.app.state.site.gate.principal(request)
    if request.method in ("GET", "HEAD"):
        principal.need(Scope.READ)
    elif Scope.DEPLOY not in principal.scopes:
        principal.need(Scope.RUN)
    return principal


Caller = Annotated[Principal, Depends(authenticated)]
bearer = HTTPBearer(auto_error=False, description="A token of this broker: `broker token create`.")
