"""Sessions of browsers: the cookie, who it stands for, and what a request that changes something must show besides."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.configuration import Access
from broker.access.principal import Scope
from broker.access.tokens import digest
from broker.api.bearers import REMEMBERED, USED_EVERY, Known, remember
from broker.api.multipart import MULTIPART, form_of
from broker.api.rate import Sliding
from broker.api.rows import Rows
from broker.errors import Forbidden, TooManyRequests, Unauthenticated
from broker.store import sessions

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_FORM = 64 * 1024  # bytes that are read for the field `csrf`
MOST_LOGINS = 300  # that an address may begin in a minute: each is a row
FORM = "application/x-www-form-urlencoded"


def cookie(name: str, base: str) -> str:
    """The name of a cookie: on https one that no other host and no plain connection can set (RFC 6265bis, 4.1.3)."""
    return f"__Host-{name}" if base.startswith("https:") else name


def set_cookie(response: Response, name: str, base: str, value: str, seconds: float) -> None:
    """SameSite=Lax: links and the way back from the issuer carry it, requests of other sites do not."""
    response.set_cookie(
        cookie(name, base),
        value,
        max_age=int(seconds),
        path="/",
        secure=base.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


def forget_cookie(response: Response, name: str, base: str) -> None:
    set_cookie(response, name, base, "", 0)


def csrf_of(secret: str) -> str:
    """What the forms of a session carry: only who has the cookie's value, or sees the page, can know it."""
    return hashlib.sha256(f"csrf {secret}".encode()).hexdigest()


class Browsers:
    """Tells who a browser belongs to. Sessions are known by the hash of their cookie."""

    COOKIE = "broker-session"

    def __init__(self, access: Access, rows: Rows) -> None:
        self._access = access
        self._rows = rows
        self._idle = access.idle_hours * 3600
        self._known: dict[str, tuple[float, Known]] = {}
        self._noted: dict[str, float] = {}
        self._begun = Sliding(MOST_LOGINS)

    def count_login(self, address: str) -> None:
        """One more login begins. Raises TooManyRequests."""
        now = time.monotonic()
        if (wait := self._begun.wait(address, now)) > 0:
            raise TooManyRequests("Too many logins begin at your address.", retry_after=wait)
        self._begun.add(address, now)

    def forget(self, hashed: str | None = None) -> None:
        """Ask the database again, for one session or for all."""
        if hashed is None:
            self._known.clear()
        else:
            self._known.pop(hashed, None)

    def secret(self, request: Request, base: str) -> str | None:
        """The value of the session's cookie."""
        return request.cookies.get(cookie(self.COOKIE, base)) or None

    async def known(self, request: Request, base: str) -> tuple[Known, str] | None:
        """(who, the CSRF token); None without a session. Raises Unauthenticated for one that has ended, Forbidden for a
        request that changes something and may come from another site."""
        secret = self.secret(request, base)
        if secret is None:
            return None
        hashed = digest(secret)
        until, found = self._known.get(hashed, (0.0, None))
        if found is None or time.monotonic() >= until:
            found = await self._rows.read(self._session, hashed)
            remember(self._known, hashed, (time.monotonic() + REMEMBERED, found))
        csrf = csrf_of(secret)
        if request.method not in SAFE:
            await refuse_forged(request, base, csrf)
        if time.monotonic() >= self._noted.get(hashed, 0.0):
            remember(self._noted, hashed, time.monotonic() + min(USED_EVERY, self._idle / 10))
            await self._rows.quick(self._note, hashed)
        return found, csrf

    def _session(self, tx: Connection, hashed: str) -> Known:
        found = sessions.by_hash(tx, hashed, self._idle)
        if found is None or found.issuer not in self._access.issuers:
            raise Unauthenticated("The session has ended.", hint="Log in again at /login.")
        scopes = frozenset(scope for scope in Scope if scope.value in found.scopes)
        return Known(found.person, found.person, scopes, found.name, reference=f"session:{hashed[:12]}")

    def _note(self, hashed: str) -> None:
        with self._rows.database.write() as tx:
            sessions.used(tx, hashed)

    async def begin(self, request: Request, base: str, person: str, issuer: str, scopes: frozenset[Scope]) -> str:
        """A new session under a secret that nobody had before; the one that this browser had ends."""
        secret = secrets.token_urlsafe(32)
        old = self.secret(request, base)
        await self._rows.quick(self._begin, secret, old and digest(old), person, issuer, scopes)
        if old:
            self.forget(digest(old))
        return secret

    def _begin(self, secret: str, old: str | None, person: str, issuer: str, scopes: frozenset[Scope]) -> None:
        with self._rows.database.write() as tx:
            if old:
                sessions.end(tx, old)
            sessions.add(tx, digest(secret), person, issuer, scopes, self._access.session_hours * 3600)


async def refuse_forged(request: Request, base: str, csrf: str) -> None:
    """Raise Forbidden unless the browser says that the request comes from a page of ours, and it has the token.

    The token is the header X-CSRF-Token, or the field `csrf` of a form.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    wrong = (site is not None and site != "same-origin") or (origin is not None and origin != _origin(base))
    if wrong or (site is None and origin is None):
        raise Forbidden("This request came from another site than the broker's own pages.")
    given = headers.get("x-csrf-token")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given is None and kind == FORM:
        given = await _field(request)
    elif given is None and kind == MULTIPART:
        given = (await form_of(request)).token
    if given is None or not hmac.compare_digest(given.encode(), csrf.encode()):
        raise Forbidden(
            "This request lacks the token that the broker's own pages send.", hint="Load the page again, and repeat."
        )


async def _field(request: Request) -> str | None:
    """The field `csrf` of a form of known, small size; the body stays there for the handler."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or len(length) > 6 or int(length) > LARGEST_FORM:
        return None
    body = await request.body()
    try:
        fields: Mapping[str, list[str]] = parse_qs(body.decode("utf-8"), max_num_fields=200)
    except ValueError:
        return None
    return next(iter(fields.get("csrf", ())), None)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
