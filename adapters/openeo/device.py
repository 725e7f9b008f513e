"""A person's login at a back-end by device code (RFC 8628), step by step: nothing here waits.

What is kept meanwhile: clientId, provider, and deviceCode, verifier, code, address, interval, due and expires (texts;
times are seconds since the epoch); at the end clientId, provider and refreshToken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from adapters.openeo.login import member
from broker.egress import FetchError
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.platform import Entered

if TYPE_CHECKING:
    from adapters.openeo.api import Api

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5.0  # seconds more between two looks where the provider asks for that (RFC 8628, 3.5)
ANSWER = 2**20


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider of the back-end, as it describes itself. `client`: one for people without a secret; `proof`:
    it wants a code verifier."""

    name: str
    endpoints: Mapping[str, Any]
    scopes: tuple[str, ...]
    client: str | None
    proof: bool


def entered(api: Api, fields: Mapping[str, str]) -> Entered:
    """One step: a code to confirm, or a look whether somebody did. Raises PlatformRefused, PlatformUnavailable."""
    return _confirmed(api, fields) if "deviceCode" in fields else _begun(api, fields)


def _begun(api: Api, fields: Mapping[str, str]) -> Entered:
    """A code, which somebody is to confirm in a browser."""
    provider = _provider(api, fields.get("provider"))
    client = fields.get("clientId") or provider.client
    if client is None or "device_authorization_endpoint" not in provider.endpoints:
        text = f"The provider {provider.name} has no logins by device code for clients that it does not know."
        raise PlatformRefused(text, hint="Name a client of your own (clientId), or give a password or a refresh token.")
    form = {"client_id": client, "scope": " ".join(provider.scopes), "prompt": "consent"}
    more = {}
    if provider.proof:
        more["verifier"] = secrets.token_urlsafe(48)
        digest = hashlib.sha256(more["verifier"].encode()).digest()
        form["code_challenge"] = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        form["code_challenge_method"] = "S256"
    status, found = _sent(api, member(provider.endpoints, "device_authorization_endpoint"), form)
    address = str(found.get("verification_uri_complete") or found.get("verification_uri") or "")
    if status != 200 or not address.startswith(("https://", "http://")) or not address.isprintable():
        raise PlatformRefused(f"The provider begins no login: {_why(found, status)}")
    interval, now = _number(found.get("interval"), 5.0), time.time()
    waits = {
        "clientId": client,
        "provider": provider.name,
        "deviceCode": member(found, "device_code"),
        "code": member(found, "user_code"),
        "address": address,
        "interval": f"{interval:g}",
        "due": f"{now + interval:.3f}",
        "expires": f"{now + _number(found.get('expires_in'), 600.0):.0f}",
    }
    return _waiting({**waits, **more})


def _confirmed(api: Api, fields: Mapping[str, str]) -> Entered:
    """One look whether the code was confirmed, if it is time for one."""
    now, interval = time.time(), float(fields["interval"])
    again = {"clientId": fields["clientId"], "provider": fields["provider"]}
    if now >= float(fields["expires"]):
        return _begun(api, again)
    if now < float(fields["due"]):
        return _waiting(fields)
    form = {"grant_type": DEVICE, "device_code": fields["deviceCode"], "client_id": fields["clientId"]}
    if "verifier" in fields:
        form["code_verifier"] = fields["verifier"]
    provider = _provider(api, fields["provider"])
    status, found = _sent(api, member(provider.endpoints, "token_endpoint"), form)
    if status == 200:
        return _granted(api, again, found)
    match found.get("error"):
        case "authorization_pending":
            pass
        case "slow_down":
            interval += SLOWER
        case "expired_token":
            return _begun(api, again)
        case _:
            raise PlatformRefused(f"The provider lets nobody in: {_why(found, status)}")
    return _waiting({**fields, "interval": f"{interval:g}", "due": f"{now + interval:.3f}"})


def _granted(api: Api, fields: Mapping[str, str], found: Mapping[str, Any]) -> Entered:
    """What is kept of an answer of the token endpoint, once the back-end has taken the token."""
    token, refresh = member(found, "access_token"), found.get("refresh_token")
    if not isinstance(refresh, str) or not refresh:
        raise PlatformRefused("The provider gives no refresh token: a job would lose its account after some minutes.")
    bearer = token if api.plain_tokens() else f"oidc/{fields['provider']}/{token}"
    me = api.me({"Authorization": f"Bearer {bearer}"})
    return Entered({**fields, "refreshToken": refresh}, api.described(me))


def _waiting(fields: Mapping[str, str]) -> Entered:
    login = {
        "address": fields["address"],
        "code": fields["code"],
        "interval": float(fields["interval"]),
        "expires": float(fields["expires"]),
    }
    text = f"Open {fields['address']} and confirm the code {fields['code']}; then try the credential again."
    return Entered(fields, text, login)


def _provider(api: Api, wanted: str | None) -> Provider:
    """A provider of the back-end by its id (None: the first). Raises PlatformRefused, PlatformUnavailable."""
    listed = (api.ask("GET", api.base + "/credentials/oidc").document or {}).get("providers") or ()
    found = next((one for one in listed if wanted in (None, one.get("id"))), None)
    if found is None:
        raise PlatformRefused(f"It has no identity provider {wanted}." if wanted else "It has no identity provider.")
    issuer = member(found, "issuer").rstrip("/")
    endpoints = api.ask("GET", issuer + "/.well-known/openid-configuration").document or {}
    clients = [
        (str(one["id"]), str(grant).endswith("+pkce"))
        for one in found.get("default_clients") or ()
        for grant in one.get("grant_types") or ()
        if str(grant).removesuffix("+pkce") == DEVICE and one.get("id")
    ]
    client, proof = max(clients, key=lambda one: one[1], default=(None, False))
    scopes = [str(one) for one in found.get("scopes") or ("openid",)]
    if "offline_access" in (endpoints.get("scopes_supported") or ()) and "offline_access" not in scopes:
        scopes.append("offline_access")
    return Provider(str(found.get("id")), endpoints, tuple(scopes), client, proof)


def _sent(api: Api, url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
    """A form for the provider: status and answer. Raises PlatformUnavailable where there is none."""
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    data = urlencode(form).encode()
    try:
        answer = api.egress.request("POST", url, headers=headers, body=data, trusted=True, redirects=0, limit=ANSWER)
        with answer:
            status, raw = answer.status, answer.read()
    except FetchError as error:
        raise PlatformUnavailable(f"The identity provider does not answer: {error.detail}") from error
    if status == 429 or status >= 500:
        raise PlatformUnavailable(f"The identity provider answers {status}.", retry_after=30.0)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = {}
    return status, found if isinstance(found, Mapping) else {}


def _number(found: Any, default: float) -> float:
    usable = isinstance(found, int | float) and math.isfinite(found) and 0 < found < 1e9
    return float(found) if usable else default


def _why(found: Mapping[str, Any], status: int) -> str:
    return str(found.get("error_description") or found.get("error") or f"it answered {status}")[:200]
