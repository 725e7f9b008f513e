"""The only way to addresses that users gave: HTTP with address checks at the socket, limits, and redirects by hand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from broker.egress.answer import Answer, FetchError, shown
from broker.egress.connection import Adapter
from broker.egress.leave import one_more
from broker.egress.policy import EgressPolicy
from broker.errors import EgressRefused

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_NO_HEAD = frozenset({400, 401, 403, 405, 501})
_ORIGIN_BOUND = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_HINTS = {
    401: "It asks for credentials: keep one for it (broker credential add), or use a signed link.",
    403: "It refuses access: check the link, or use a signed link that has not expired.",
    404: "There is nothing at this address: check the link.",
    410: "It is gone: check the link.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver said, without the body."""

    status: int
    headers: Mapping[str, str]


class Egress:
    """Outbound HTTP under one policy. Keeps connections open; close it, or use it as a context manager.

    Threads may share it; processes may not, so a fork makes its own. All methods raise EgressRefused for an address
    that the policy closes, and FetchError (a StagingError) for what goes wrong otherwise.

    `trusted=True` is for URLs that the broker itself or its operator made (signed links to its own storage):
    the first request then goes to any address and scheme; a redirect away from it is checked like any other.
    """

    def __init__(self, policy: EgressPolicy | None = None) -> None:
        self.policy = policy or EgressPolicy()
        self._lock = threading.Lock()
        self._adapters: dict[bool, Adapter] = {}

    def open(
        self,
        url: str,
        offset: int = 0,
        *,
        validator: str | None = None,
        trusted: bool = False,
        headers: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Answer:
        """GET, streamed; at most `limit` bytes, where the policy allows more. With `offset`, asks for the bytes from
        there on (`Answer.start` says what came); `validator` (an ETag or date of the first answer) makes a changed
        resource start at 0 again."""
        fields = dict(headers or {})
        if offset:
            fields["Range"] = f"bytes={offset}-"
            if validator:
                fields["If-Range"] = validator
        return self._checked(self.request("GET", url, headers=fields, trusted=trusted, limit=limit))

    def head(self, url: str, *, trusted: bool = False) -> Answer:
        """What a GET would give, without its body: `size`, `media_type` and `headers`. Where HEAD is not taken (a
        signed link is good for GET only), one byte is asked for."""
        answer = self.request("HEAD", url, trusted=trusted)
        if answer.status in _NO_HEAD:
            answer.close()
            answer = self.request("GET", url, headers={"Range": "bytes=0-0"}, trusted=trusted)
        self._checked(answer).close()
        return answer

    def get_bytes(self, url: str, limit: int, *, accept: str = "*/*", trusted: bool = False) -> bytes:
        """The whole body, at most `limit` bytes."""
        with self.open(url, trusted=trusted, headers={"Accept": accept}, limit=limit) as answer:
            return answer.read()

    def post_json(
        self,
        url: str,
        document: bytes | Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        trusted: bool = False,
    ) -> Reply:
        """POST a JSON document (bytes are sent as they are, so that they can be signed). Follows no redirect; any
        status is returned, and nothing is read of the answer's body: it may be endless."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        with self.request("POST", url, headers=fields, body=body, trusted=trusted, redirects=0) as answer:
            return Reply(answer.status, answer.headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
        trusted: bool = False,
        redirects: int | None = None,
        limit: int | None = None,
    ) -> Answer:
        """One request with its redirects; any final status is returned. `redirects`: None for the policy's number
        (0: a redirect is returned as it is; nothing else may be asked for with a file as body, which is read once);
        `limit`: of bytes in the answer, None for the policy's."""
        left = self.policy.max_redirects if redirects is None else redirects
        fields = {"Accept-Encoding": "identity", "User-Agent": "earthcode-broker", **(headers or {})}
        cap = self.policy.max_bytes if limit is None else min(limit, self.policy.max_bytes)
        redirected = False
        while True:
            try:
                response = self._send(method, url, fields, body, trusted=trusted)
            except FetchError as error:
                error.sent = error.sent or redirected  # the first server has seen it
                raise
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location or redirects == 0:
                return _answer(response, url, cap)
            response.close()
            if left <= 0:
                raise FetchError(f"{shown(url)} redirects too often.", url=url)
            left -= 1
            redirected = True
            target = _target(url, location)
            if _origin(target) != _origin(url):
                fields = {name: value for name, value in fields.items() if name.lower() not in _ORIGIN_BOUND}
                trusted = False
            if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
                method, body = ("GET" if method != "HEAD" else "HEAD"), None
                fields.pop("Content-Type", None)
            url = target

    def refuse(self, url: str) -> None:
        """Raise what `request` would raise for this URL before any connection, also for an address written in it."""
        self._admit(url, trusted=False)
        host = urlsplit(url).hostname or ""
        try:
            ip_address(host)
        except ValueError:
            return  # a name: its addresses are looked at when it is called
        if (why := self.policy.judge(host, host)) is not None:
            raise EgressRefused(f"The broker may not connect to {host}: {why}.")

    def _send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | BinaryIO | None, *, trusted: bool
    ) -> requests.Response:
        self._admit(url, trusted=trusted)
        one_more()
        timeout = (self.policy.connect_timeout, self.policy.read_timeout)
        try:
            prepared = requests.Request(method, url, headers=dict(fields), data=body).prepare()
            # Not through a requests.Session: that one reads the whole body of a redirect, keeps cookies, and takes
            # proxies, passwords (.netrc) and certificates from the environment.
            return self._adapter(trusted).send(
                prepared,
                stream=True,
                timeout=timeout,
                verify=self.policy.ca_file or True,
                proxies={"all": self.policy.proxy} if self.policy.proxy and not trusted else {},
            )
        except requests.exceptions.SSLError as problem:
            raise FetchError(f"{shown(url)} has no valid TLS certificate: {_last(problem)}.", url=url) from problem
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError) as problem:
            raise FetchError(f"{shown(url)} is not a usable address.", url=url, hint="Check the link.") from problem
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            raise FetchError(
                f"{shown(url)} does not answer: {_last(problem)}.",
                url=url,
                hint="Check the host name, or try again later.",
                transient=True,
                sent=not _unconnected(problem),
            ) from problem

    def _admit(self, url: str, *, trusted: bool) -> None:
        """What can be said of a URL before any connection: its form, scheme and host name."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError as problem:
            raise FetchError(f"{shown(url)} is not a usable address.", url=url, hint="Check the link.") from problem
        allowed = {"http", "https"} if trusted else self.policy.schemes
        if parts.scheme.lower() not in allowed or not host:
            raise EgressRefused(
                f"{shown(url)} is not allowed here.",
                hint=f"Use a link that starts with {' or '.join(sorted(allowed))}.",
            )
        if "\\" in url or not url.isprintable():  # parsers disagree on these
            raise FetchError(f"{shown(url)} is not a usable address.", url=url, hint="Check the link.")
        if "@" in parts.netloc:
            raise EgressRefused(
                f"{shown(url)} was given with a user name or password.",
                hint="They would end up in records that others read: use a signed link.",
            )
        if not trusted and not self.policy.host_allowed(host):
            raise EgressRefused(
                f"The host {host} is not on the list of hosts that may be used.", hint="Ask the operator to add it."
            )
        if self.policy.proxy and not trusted:
            self._foresee(host)

    def _foresee(self, host: str) -> None:
        """Behind a proxy the connected address is out of sight: refuse at least what resolves to a closed one."""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return  # only the proxy can resolve it
        for *_, address in found:
            if (why := self.policy.judge(host, str(address[0]))) is not None:
                raise EgressRefused(f"The broker may not connect to {host}: {why}.")

    def _adapter(self, trusted: bool) -> Adapter:
        with self._lock:
            if trusted not in self._adapters:
                self._adapters[trusted] = Adapter(self.policy, trusted=trusted)
            return self._adapters[trusted]

    def _checked(self, answer: Answer) -> Answer:
        """The answer itself where it is a success."""
        if answer.status < 300:
            return answer
        answer.close()
        after = answer.headers.get("Retry-After", "")
        raise FetchError(
            f"{shown(answer.url)} answered {answer.status}.",
            url=answer.url,
            hint=_HINTS.get(answer.status),
            status=answer.status,
            transient=answer.status in _TRANSIENT,
            retry_after=float(after) if after.isdecimal() else None,
        )

    def with_policy(self, **changes: Any) -> Egress:
        """Another Egress whose policy differs in these fields."""
        return Egress(replace(self.policy, **changes))

    def close(self) -> None:
        for adapter in self._adapters.values():
            adapter.close()
        self._adapters.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _answer(response: requests.Response, url: str, cap: int) -> Answer:
    try:
        return Answer(response, url, cap)
    except FetchError:
        response.close()
        raise


def _target(url: str, location: str) -> str:
    """Where a redirect leads; the header is UTF-8 that was read as Latin-1."""
    try:
        target = urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
        urlsplit(target)
    except ValueError as problem:
        raise FetchError(f"{shown(url)} redirects to something that is not an address.", url=url) from problem
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme.lower(), parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme.lower())


_NEVER = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


def _unconnected(problem: BaseException) -> bool:
    """Whether there never was a connection: of one that broke off, or was kept from earlier, nobody knows what got
    through."""
    inner = problem.args[0] if problem.args else None
    return isinstance(getattr(inner, "reason", None), _NEVER)


def _last(problem: BaseException) -> str:
    """The innermost cause, which is the one that says something."""
    while True:
        reason = getattr(problem, "reason", None) or (problem.args[0] if problem.args else None)
        if not isinstance(reason, BaseException):
            return str(problem).rsplit(": ", 1)[-1].rstrip(".") or type(problem).__name__
        problem = reason
