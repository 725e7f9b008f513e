"""How the command line logs in at an issuer: the device flow (RFC 8628), and tokens that renew themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from broker.access.addresses import secure
from broker.cli.problems import Unreachable
from broker.errors import Unauthenticated

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER: Final = 5.0  # seconds more between polls after slow_down (RFC 8628, 3.5)
LONGEST: Final = 1800.0  # seconds that a login is waited for, whatever the issuer says
EARLY: Final = 30.0  # seconds before its end that a token is renewed
TIMEOUT: Final = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an issuer gave, and where to renew it. `expires`: epoch seconds; None: unknown."""

    access_token: str
    issuer: str
    client_id: str
    refresh_token: str | None = None
    expires: float | None = None
    parameters: Mapping[str, str] | None = None

    @property
    def fresh(self) -> bool:
        return self.expires is None or time.time() < self.expires - EARLY

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Device:
    """A login that somebody now confirms in a browser: show `address` and `code`; times in seconds."""

    device_code: str
    code: str
    address: str
    complete: str | None
    interval: float
    expires_in: float


class Issuer:
    """One issuer, as its discovery document describes it. Raises Unreachable when it does not answer as one."""

    def __init__(self, url: str, client_id: str, parameters: Mapping[str, str] | None = None) -> None:
        if not secure(url):
            raise Unreachable(f"The issuer {url} has no https address.")
        self.url = url
        self.client_id = client_id
        self.parameters = dict(parameters or {})
        self._session = requests.Session()
        if urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1"):
            self._session.trust_env = False
        _, self._document = self._call("GET", url.rstrip("/") + "/.well-known/openid-configuration")
        if self._document.get("issuer") != url:
            raise Unreachable(f"What answers at {url} is another issuer.")

    def begin(self, scopes: list[str]) -> Device:
        """Ask for a code. A refresh token is asked for where the issuer has them (`offline_access`)."""
        supported = self._document.get("scopes_supported")
        if isinstance(supported, list) and "offline_access" in supported and "offline_access" not in scopes:
            scopes = [*scopes, "offline_access"]
        form = {**self.parameters, "client_id": self.client_id, "scope": " ".join(scopes)}
        status, found = self._call("POST", self._endpoint("device_authorization_endpoint"), form)
        address = found.get("verification_uri")
        if status != 200 or not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise Unauthenticated(f"{self.url} does not begin a login: {_why(found, status)}.")
        complete = found.get("verification_uri_complete")
        return Device(
            str(found.get("device_code", "")),
            str(found.get("user_code", "")),
            address,
            complete if isinstance(complete, str) and complete.startswith(("https://", "http://")) else None,
            _number(found.get("interval"), 5.0),
            _number(found.get("expires_in"), 600.0),
        )

    def wait(self, device: Device, sleep: Callable[[float], None] = time.sleep) -> Grant:
        """Poll until somebody has confirmed. Raises Unauthenticated when nobody does, or says no."""
        interval = max(device.interval, 1.0)
        waited = 0.0
        form = {"grant_type": DEVICE, "device_code": device.device_code, "client_id": self.client_id}
        while waited < min(device.expires_in, LONGEST):
            sleep(interval)
            waited += interval
            try:
                status, found = self._call("POST", self._endpoint("token_endpoint"), form | self._resource())
            except Unreachable:
                interval *= 2  # RFC 8628, 3.5: exponential backoff
                continue
            if status == 200:
                return self._grant(found)
            error = found.get("error")
            if error == "slow_down":
                interval += SLOWER
            elif error != "authorization_pending":
                raise Unauthenticated(f"{self.url} lets nobody in: {_why(found, status)}.")
        raise Unauthenticated("Nobody confirmed the login in time.")

    def renew(self, grant: Grant) -> Grant:
        """A new access token for a refresh token. Raises Unauthenticated when the login is over."""
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token or "", "client_id": self.client_id}
        status, found = self._call("POST", self._endpoint("token_endpoint"), form | self._resource())
        if status != 200:
            raise Unauthenticated(f"The login at {self.url} is over ({_why(found, status)}).")
        return self._grant({"refresh_token": grant.refresh_token, **found})

    def revoke(self, grant: Grant) -> None:
        """Tell the issuer that the refresh token is not needed any more (RFC 7009), where it takes that."""
        if grant.refresh_token and isinstance(self._document.get("revocation_endpoint"), str):
            form = {"token": grant.refresh_token, "token_type_hint": "refresh_token", "client_id": self.client_id}
            self._call("POST", self._endpoint("revocation_endpoint"), form)

    def _resource(self) -> dict[str, str]:
        return {name: value for name, value in self.parameters.items() if name == "resource"}

    def _grant(self, found: Mapping[str, Any]) -> Grant:
        token, refresh = found.get("access_token"), found.get("refresh_token")
        if not isinstance(token, str) or not token.isprintable():
            raise Unauthenticated(f"{self.url} gave no token.")
        seconds = found.get("expires_in")
        expires = time.time() + _number(seconds, 0.0) if seconds is not None else None
        refresh = refresh if isinstance(refresh, str) else None
        return Grant(token, self.url, self.client_id, refresh, expires, self.parameters)

    def _endpoint(self, name: str) -> str:
        found = self._document.get(name)
        if not isinstance(found, str) or not secure(found):
            raise Unreachable(f"{self.url} offers no {name}.", hint="Ask the operator for a token: broker token save")
        return found

    def _call(self, method: str, url: str, form: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, Any]]:
        headers = {"Accept": "application/json"}
        try:
            answer = self._session.request(
                method, url, data=form, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Unreachable(f"The issuer {self.url} does not answer.", hint="Try again later.") from error
        try:
            found = answer.json()
        except ValueError:
            found = {}
        return answer.status_code, found if isinstance(found, dict) else {}


def _number(found: object, default: float) -> float:
    return float(found) if isinstance(found, int | float) and 0 < found < 1e9 else default


def _why(found: Mapping[str, Any], status: int) -> str:
    return str(found.get("error_description") or found.get("error") or f"it answered {status}")[:200]
