"""Rates: how often one may ask, counted in the memory of this process: each API process counts for itself.

Counted by sliding windows of a minute, as `limits` does; its storage in memory starts a thread for each request that
comes alone, which costs ten times what the request does.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.access.principal import Principal
from broker.errors import TooManyRequests
from broker.settings import Rate

WINDOW: Final = 60.0  # seconds
MOST = 20_000  # names that are remembered
GOOD_SECONDS = 600.0  # how long a credential that was accepted is tried in spite of failures from its address


class Sliding:
    """So many events a minute for each name: this minute's, and the share of the last one's that still counts."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self._seen: dict[str, tuple[int, int, int]] = {}  # minute, events in it, events in the one before

    def used(self, name: str, now: float) -> float:
        minute, here, before = self._of(name, now)
        return here + before * (1.0 - now / WINDOW + minute)

    def add(self, name: str, now: float) -> None:
        minute, here, before = self._of(name, now)
        if len(self._seen) >= MOST and name not in self._seen:
            self._forget(minute)
        self._seen[name] = minute, here + 1, before

    def wait(self, name: str, now: float) -> float:
        """Seconds until one more fits: 0 when it fits now."""
        minute, here, before = self._of(name, now)
        if here + before * (1.0 - now / WINDOW + minute) + 1 <= self.allowed:
            return 0.0
        next_minute = (minute + 1) * WINDOW
        if here + 1 <= self.allowed:  # as soon as enough of the last minute has passed out of the window
            return max(0.0, next_minute - (self.allowed - here - 1) / before * WINDOW - now)
        return next_minute + WINDOW * (1.0 - (self.allowed - 1) / here) - now

    def _of(self, name: str, now: float) -> tuple[int, int, int]:
        minute = int(now // WINDOW)
        then, here, before = self._seen.get(name, (minute, 0, 0))
        if then == minute:
            return minute, here, before
        return minute, 0, here if then == minute - 1 else 0

    def _forget(self, minute: int) -> None:
        self._seen = {name: seen for name, seen in self._seen.items() if seen[0] >= minute - 1}
        if len(self._seen) >= MOST:
            self._seen.clear()


class Rates:
    """The windows that the settings ask for."""

    def __init__(self, given: Rate) -> None:
        self._requests = Sliding(given.requests) if given.requests else None
        self._submissions = Sliding(given.submissions) if given.submissions else None
        self._failures = Sliding(given.failures) if given.failures else None
        self._good: dict[bytes, float] = {}

    def count(self, request: Request, principal: Principal) -> None:
        """One more request of a principal; of a client's address where nobody was asked. Raises TooManyRequests."""
        who = _name(request, principal)
        now = time.monotonic()
        if self._requests is not None:
            _one_more(request, self._requests, "requests", who, now)
        if self._submissions is not None and request.method == "POST" and request.url.path.endswith("/execution"):
            _one_more(request, self._submissions, "submissions", who, now)
        if self._failures is not None and (credential := _credential(request)):
            if len(self._good) >= MOST:
                self._good = {one: until for one, until in self._good.items() if until > now}
            if len(self._good) < MOST:
                self._good[credential] = now + GOOD_SECONDS

    def refuse_guesses(self, request: Request) -> None:
        """Raises TooManyRequests after too many failures from an address, unless the credential was good just now:
        who shares an address with somebody who guesses still works."""
        if self._failures is None or (credential := _credential(request)) is None:
            return
        now = time.monotonic()
        wait = self._failures.wait(_address(request), now)
        if wait > 0 and self._good.get(credential, 0.0) < now:
            raise TooManyRequests(
                "Too many failed authentications from your address.",
                hint="Check the token, then try again.",
                retry_after=wait,
            )

    def failed(self, request: Request) -> None:
        """A credential of the request was not valid; a request without any is no guess."""
        if self._failures is not None and _credential(request) is not None:
            self._failures.add(_address(request), time.monotonic())


def _one_more(request: Request, window: Sliding, policy: str, who: str, now: float) -> None:
    wait = window.wait(who, now)
    if wait <= 0:
        window.add(who, now)
    left = max(0, int(window.allowed - window.used(who, now)))
    # draft-ietf-httpapi-ratelimit-headers-10
    fields = request.scope.setdefault("rate", {})
    fields[policy] = (f'"{policy}";q={window.allowed};w={WINDOW:.0f}', f'"{policy}";r={left};t={_reset(wait, now)}')
    if wait > 0:
        raise TooManyRequests(
            f"You may send {window.allowed} {policy} a minute.",
            hint=f"Try again in {wait:.0f} seconds.",
            retry_after=wait,
        )


def _reset(wait: float, now: float) -> int:
    return int(wait if wait > 0 else WINDOW - now % WINDOW) + 1


def _name(request: Request, principal: Principal) -> str:
    if principal.token is None and principal.address is None:  # open mode: nobody was asked
        return _address(request)
    return f"{principal.owner}\n{principal.delegate or ''}"


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _credential(request: Request) -> bytes | None:
    given = request.headers.get("authorization") or request.headers.get("cookie")
    return hashlib.blake2b(given.encode(), digest_size=16).digest() if given else None


class RateFields:
    """Adds the RateLimit fields of what was counted to the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and (counted := scope.get("rate")):
                policies, limits = zip(*counted.values(), strict=True)
                added = [
                    (b"ratelimit-policy", ", ".join(policies).encode()),
                    (b"ratelimit", ", ".join(limits).encode()),
                ]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        if scope["type"] == "http":
            scope["rate"] = {}
        await self.app(scope, receive, sending if scope["type"] == "http" else send)
