"""Asks a target's API: JSON both ways, what cannot be answered now told from what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from broker.egress import Answer, Egress, FetchError
from broker.errors import TargetRefused, TargetUnavailable

MOST = 16 * 2**20  # bytes of an answer
_LATER = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 507})
_SAID = 300  # characters of a refusal that are told


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a JSON document (None where there was none)."""

    status: int
    document: Any


class RestApi:
    """An API at `address`, which the operator configured. `authorization`: the header's value, sent only there."""

    def __init__(self, egress: Egress, address: str, authorization: str | None = None) -> None:
        self.address = address.rstrip("/")
        self._egress = egress
        self._authorization = authorization

    def url(self, *parts: str) -> str:
        return "/".join([self.address, *(quote(part, safe="") for part in parts)])

    def get(self, *parts: str) -> Reply:
        """Raises TargetUnavailable, TargetRefused (401, 403)."""
        return self._ask("GET", self.url(*parts), None)

    def post(self, document: Mapping[str, Any], *parts: str) -> Reply:
        """Raises TargetUnavailable, also where it is not known whether the document arrived; TargetRefused."""
        return self._ask("POST", self.url(*parts), json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))

    def owns(self, url: str) -> bool:
        """Whether an address is of the same server."""
        ours, theirs = urlsplit(self.address), urlsplit(url)
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)

    def _ask(self, method: str, url: str, body: bytes | None) -> Reply:
        headers = {"Accept": "application/json, application/geo+json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        try:
            with self._egress.request(
                method, url, headers=headers, body=body, trusted=True, redirects=0, limit=MOST
            ) as answer:
                return self._reply(answer, method, url)
        except FetchError as error:
            raise TargetUnavailable(error.detail, hint=error.hint, retry_after=error.retry_after) from error

    def _reply(self, answer: Answer, method: str, url: str) -> Reply:
        if answer.status in _LATER:
            after = answer.headers.get("Retry-After", "")
            seconds = float(after) if after.isdecimal() else None
            raise TargetUnavailable(f"{method} {url} was answered with {answer.status}.", retry_after=seconds)
        if answer.status in (401, 403):
            raise TargetRefused(
                f"{method} {url} was refused ({answer.status}): the credential is not right, or may not do this.",
                hint="Keep the right credential (broker credential add), or ask whoever runs the target for the right.",
            )
        raw = answer.read()
        try:
            return Reply(answer.status, json.loads(raw) if raw else None)
        except (ValueError, RecursionError):
            if answer.status < 300:
                raise TargetUnavailable(f"{method} {url} was answered with something that is not JSON.") from None
            return Reply(answer.status, None)


def basic(user: str, password: str) -> str:
    """The header's value (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def reason(reply: Reply) -> str:
    """What a refusal says of itself."""
    document = reply.document if isinstance(reply.document, Mapping) else {}
    said = document.get("failure_reason") or document.get("detail") or document.get("description")
    text = said if isinstance(said, str) else json.dumps(said) if said else f"status {reply.status}"
    return " ".join(text.split())[:_SAID]
