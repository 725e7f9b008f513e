"""What registries of container images are asked: whether an account is good, and which digest a tag has now.

Sources: github.com/opencontainers/distribution-spec (pulling manifests), distribution.github.io/distribution/spec/auth
(the token handshake: a 401 names a realm, which gives a token for the scope).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from broker.access.credential import Secret
from broker.egress import Answer, Egress, FetchError
from broker.errors import EgressRefused
from broker.jobs.secrets import origin
from broker.packages.images import DOCKER, Reference

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_SMALL = 256 * 1024


class Registry:
    """One registry, asked with an account or without. Raises EgressRefused, FetchError where it cannot be asked.

    `insecure`: the operator lists it as one without TLS, at whatever address.
    """

    def __init__(self, egress: Egress, host: str, account: Secret | None = None, *, insecure: bool = False) -> None:
        self._egress = egress
        self._account = account
        self._insecure = insecure
        self._place = f"{'http' if insecure else 'https'}://{'registry-1.docker.io' if host == DOCKER else host}"
        self.host = host

    def check(self) -> int:
        """The status that `/v2/` gives to the account: 200 where it is good."""
        return self._ask("GET", "/v2/", None, "*/*").status

    def digest(self, image: Reference) -> str:
        """The digest that the reference has now. Raises FetchError where the registry gives none."""
        path = f"/v2/{image.path}/manifests/{image.digest or image.tag}"
        answer = self._ask("HEAD", path, f"repository:{image.path}:pull", MANIFESTS)
        found = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == 200 and _DIGEST.match(found):
            return found
        said = {
            401: "asks for a credential",
            403: "refuses access",
            404: "has no such image",
            429: "was asked too often",
            200: "gives no digest",
        }
        raise FetchError(
            f"{self.host} {said.get(answer.status, f'answered {answer.status}')}", url=path, status=answer.status
        )

    def _ask(self, method: str, path: str, scope: str | None, accept: str) -> Answer:
        url = self._place + path
        answer = self._request(method, url, {"Accept": accept})
        if answer.status == 401 and (authorization := self._answered(answer, scope)):
            answer = self._request(method, url, {"Accept": accept, "Authorization": authorization})
        return answer

    def _answered(self, answer: Answer, scope: str | None) -> str | None:
        """The Authorization that the challenge of a 401 asks for; None where there is nothing to answer."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic":
            return self._account.authorization if self._account else None
        if scheme != "bearer":
            return None
        return self._token(dict(_PARAMETER.findall(challenge)), scope)

    def _token(self, challenge: Mapping[str, str], scope: str | None) -> str | None:
        realm = challenge.get("realm", "")
        place = origin(realm)
        if place is None or (place.startswith("http:") and not self._insecure):
            raise EgressRefused(f"The registry {self.host} sends those who log in to an address that is not https.")
        asked = {"service": challenge.get("service", ""), "scope": challenge.get("scope") or scope or ""}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode({k: v for k, v in asked.items() if v})}"
        headers = {"Authorization": self._account.authorization} if self._account else {}
        with self._request("GET", url, headers) as answer:
            if answer.status != 200:
                return None
            try:
                body = json.loads(answer.read())
            except ValueError:
                return None
        token = body.get("token") or body.get("access_token") if isinstance(body, dict) else None
        return f"Bearer {token}" if isinstance(token, str) and token.isprintable() and token.isascii() else None

    def _request(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Only the registry itself may be at any address, and only where the operator says so: a realm is what the
        registry writes there."""
        ours = self._insecure and origin(url) == origin(self._place)
        answer = self._egress.request(method, url, headers=headers, trusted=ours, redirects=0, limit=_SMALL)
        if method == "HEAD":
            answer.close()
        return answer
