"""Logins of browsers: the authorization code flow with PKCE, state and nonce (OpenID Connect Core 3.1, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

from broker.access import oidc
from broker.access.configuration import Issuer
from broker.access.keys import Issued
from broker.egress import Egress, FetchError
from broker.errors import EgressRefused, IssuerSilent, Unauthenticated

LONGEST_ANSWER = 256 * 1024
ID_TOKEN_TYPES = ("JWT", "")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What binds the answer of an issuer to the browser that asked: made anew for every login."""

    state: str
    verifier: str
    nonce: str


def new_secrets() -> Secrets:
    return Secrets(*(secrets.token_urlsafe(32) for _ in range(3)))


def address(issuer: Issuer, issued: Issued, redirect_uri: str, made: Secrets) -> str:
    """Where to send the browser. Raises IssuerSilent without a discovery document."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(made.verifier.encode()).digest()).decode().rstrip("=")
    query = {
        **issuer.parameters,
        "response_type": "code",
        "client_id": issuer.client_id or "",
        "redirect_uri": redirect_uri,
        "scope": " ".join(issuer.scopes),
        "state": made.state,
        "nonce": made.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    endpoint = issued.endpoint("authorization_endpoint")
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def refuse_other_issuer(issuer: Issuer, issued: Issued, said: str | None) -> None:
    """Raise Unauthenticated for an answer of another issuer than was asked (RFC 9207)."""
    promised = issued.metadata.get("authorization_response_iss_parameter_supported") is True
    if said != issuer.url and (said is not None or promised):
        raise Unauthenticated("The answer came from another issuer than the one that was asked.")


@dataclass(frozen=True, slots=True)
class CodeFlow:
    """Redeems codes at one issuer."""

    issuer: Issuer
    issued: Issued
    egress: Egress

    def claims(self, code: str, redirect_uri: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """What the issuer says of who logged in: ID token, userinfo, and the access token where it is one for us.

        Raises Unauthenticated where anything does not fit, IssuerSilent where the issuer does not answer.
        """
        answer = self._redeem(code, redirect_uri, verifier)
        id_token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(id_token, str):
            raise Unauthenticated("The issuer gave no ID token.", hint="Are the scopes of the issuer without openid?")
        about = self._id_token(id_token, nonce)
        more: dict[str, Any] = {}
        if isinstance(access_token, str):
            more |= self._userinfo(access_token, str(about["sub"]))
            more |= self._access_token(access_token, about["sub"])
        return {**more, **about}

    def _redeem(self, code: str, redirect_uri: str, verifier: str) -> Mapping[str, Any]:
        client, secret = self.issuer.client_id or "", self.issuer.client_secret
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        form |= {"code_verifier": verifier, **self._resource()}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if secret is None:
            form["client_id"] = client
        elif self._posts_secret():
            form |= {"client_id": client, "client_secret": secret.get_secret_value()}
        else:
            pair = f"{quote_plus(client)}:{quote_plus(secret.get_secret_value())}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        endpoint = self.issued.endpoint("token_endpoint")
        status, found = self._call("POST", endpoint, headers, urlencode(form).encode())
        if status != 200:
            raise Unauthenticated(
                f"The issuer did not take the code ({str(found.get('error', status))[:60]}).", hint="Log in again."
            )
        return found

    def _resource(self) -> dict[str, str]:
        return {name: value for name, value in self.issuer.parameters.items() if name == "resource"}

    def _posts_secret(self) -> bool:
        methods = self.issued.metadata.get("token_endpoint_auth_methods_supported")
        return isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods

    def _verified(self, token: str, audience: tuple[str, ...], types: tuple[str, ...] | None) -> Mapping[str, Any]:
        from broker.access import signatures  # noqa: PLC0415 - see there

        seen = oidc.look(token)
        key = self.issued.key(seen.kid, seen.algorithm)
        if key is None:
            self.issued.refresh(seen.kid, forced=True)
            key = self.issued.key(seen.kid, seen.algorithm)
        if key is None or seen.issuer != self.issuer.url:
            raise Unauthenticated("The token is not signed by its issuer.")
        return signatures.verify(token, key, self.issuer, now=time.time(), audience=audience, types=types)

    def _id_token(self, token: str, nonce: str) -> Mapping[str, Any]:
        client = self.issuer.client_id or ""
        claims = self._verified(token, (client,), ID_TOKEN_TYPES)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unauthenticated("The ID token is of another login (nonce).", hint="Log in again.")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else client) != client:
            raise Unauthenticated("The ID token was made for another client (azp).")
        return claims

    def _access_token(self, token: str, subject: object) -> Mapping[str, Any]:
        """The claims of the access token where it is one that a bearer could use here: roles are often only there."""
        try:
            found = self._verified(token, self.issuer.audience, None)
        except Unauthenticated:
            return {}
        return found if found.get("sub") == subject else {}

    def _userinfo(self, token: str, subject: str) -> Mapping[str, Any]:
        if not isinstance(self.issued.metadata.get("userinfo_endpoint"), str):
            return {}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        status, found = self._call("GET", self.issued.endpoint("userinfo_endpoint"), headers, None)
        if status != 200:
            return {}  # some issuers refuse it for tokens of another audience
        if found.get("sub") != subject:
            raise Unauthenticated("The issuer's userinfo speaks of somebody else.")
        return found

    def _call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, Any]]:
        try:
            with self.egress.request(
                method, url, headers=headers, body=body, trusted=True, redirects=0, limit=LONGEST_ANSWER
            ) as answer:
                found = json.loads(answer.read() or b"{}")
        except (FetchError, EgressRefused) as error:
            raise IssuerSilent("The issuer does not answer.", hint="Try again in half a minute.") from error
        except ValueError:
            found = {}
        return answer.status, found if isinstance(found, dict) else {}
