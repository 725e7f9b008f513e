"""Tokens of an openEO back-end: HTTP Basic, or OpenID Connect by client credentials or a refresh token."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import urlencode

from adapters.openeo.settings import OpenEoSettings
from broker.errors import PlatformRefused, PlatformUnavailable

Renewing = Callable[[], AbstractContextManager[tuple[str, Callable[[str], None]]]]
EARLY = 60.0  # seconds before its end that a token is renewed
_BASIC_SECONDS = 3600.0  # that a token for HTTP Basic is used, which says nothing of its end


class Login:
    """One account. A token is got under a lock, so that many threads ask for one once."""

    def __init__(self, settings: OpenEoSettings, send: Callable[..., Any], renewing: Renewing | None = None) -> None:
        """`send`: makes a request (method, URL, body, headers) and gives its answer with the `document`. `renewing`: of
        a person's account, its refresh token (that of the settings may be an old one), and what keeps the next."""
        self.settings = settings
        self._renewing = renewing
        self._send = send
        self._lock = threading.Lock()
        self._token: tuple[float, str] | None = None

    def header(self, base: str, *, plain: bool, refused: str | None = None) -> dict[str, str]:
        """The Authorization header, {} without an account; a new one in place of one that was `refused`. `plain`:
        the back-end takes tokens as they are, without the prefix. Raises PlatformUnavailable."""
        if self.settings.username is None and self.settings.client_id is None:
            return {}
        with self._lock:
            if self._token is None or time.monotonic() > self._token[0] or self._token[1] == refused:
                try:
                    seconds, token = self._basic(base) if self.settings.username else self._oidc(base, plain)
                except PlatformRefused as error:
                    raise self.refused(f"There is no token to be had: {error.detail}") from error
                # half of a short life is better than none
                self._token = (time.monotonic() + max(seconds - EARLY, seconds / 2), f"Bearer {token}")
            return {"Authorization": self._token[1]}

    def refused(self, detail: str) -> PlatformUnavailable:
        """What is said where the account is not taken."""
        hint = "Keep your account there anew (broker credential add)."
        if self._renewing is None:
            hint = "Ask the operator to check the account of the platform."
        return PlatformUnavailable(detail, hint=hint, personal=self._renewing is not None)

    def _basic(self, base: str) -> tuple[float, str]:
        assert self.settings.password is not None  # noqa: S101 - the settings are checked
        pair = f"{self.settings.username}:{self.settings.password.get_secret_value()}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        found = self._send("GET", base + "/credentials/basic", None, headers).document
        return _BASIC_SECONDS, "basic//" + member(found, "access_token")

    def _oidc(self, base: str, plain: bool) -> tuple[float, str]:
        listed = (self._send("GET", base + "/credentials/oidc").document or {}).get("providers") or ()
        wanted = self.settings.provider
        provider = next((one for one in listed if wanted in (None, one.get("id"))), None)
        if provider is None:
            raise PlatformRefused(f"It has no identity provider {wanted or ''}.")
        issuer = member(provider, "issuer").rstrip("/")
        endpoint = member(self._send("GET", issuer + "/.well-known/openid-configuration").document, "token_endpoint")
        form = {"client_id": str(self.settings.client_id), "scope": " ".join(provider.get("scopes") or ("openid",))}
        if self.settings.client_secret is not None:
            form["client_secret"] = self.settings.client_secret.get_secret_value()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.settings.refresh_token is None:
            form["grant_type"] = "client_credentials"
            found = self._send("POST", endpoint, urlencode(form).encode(), headers).document
        else:
            given = nullcontext((self.settings.refresh_token.get_secret_value(), _forgotten))
            with self._renewing() if self._renewing is not None else given as (refresh, keep):
                form |= {"grant_type": "refresh_token", "refresh_token": refresh}
                found = self._send("POST", endpoint, urlencode(form).encode(), headers).document
                following = found.get("refresh_token") if isinstance(found, dict) else None
                if isinstance(following, str) and following != refresh:
                    keep(following)
        token = member(found, "access_token")
        seconds = found.get("expires_in")
        lives = float(seconds) if isinstance(seconds, int | float) else 300.0
        return lives, token if plain else f"oidc/{provider.get('id')}/{token}"


def _forgotten(token: str) -> None:
    """Of an account in the settings: the same is used again."""


def member(document: Any, name: str) -> str:
    """A text that an answer must have. Raises PlatformRefused."""
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise PlatformRefused(f"An answer lacks {name}.")
    return value
