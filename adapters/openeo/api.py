"""HTTP with an openEO back-end: discovery, requests with a token, and what its errors mean."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import IOBase
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from adapters.openeo import status
from adapters.openeo.cwl import RUNTIME, TO_STAC, UDF
from adapters.openeo.login import Login, Renewing
from adapters.openeo.settings import OpenEoSettings
from broker.egress import Answer, Egress, EgressPolicy, FetchError, shown
from broker.errors import EgressRefused, PlatformError, PlatformRefused, PlatformUnavailable
from broker.jobs.secrets import origin

LARGEST = 64 * 2**20  # bytes of one JSON document
KNOWN_SECONDS = 600.0  # that the back-end's own description is kept
PAGES = 50  # of a list
_SUPPORTED = re.compile(r"1\.[123](\.\d+.*)?")
_JWT = re.compile(r"https://api\.openeo\.org/[^/]+/authentication/jwt")
# What a request may be answered with that says nothing about the job.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_OF_THE_INPUT = ("NoDataAvailable", "TemporalExtentEmpty")  # of load_collection: nothing is there and then
_OF_THE_PACKAGE = ("Process", "Collection", "FormatUnsupported", "FilePath", "ResultLinkUnsupported")


class JobNotFound(PlatformRefused):
    """There is no such job there (for this account)."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    document: Any


class Api:
    """One back-end with one account. Threads may share it; it keeps a token, and the back-end's description a while.

    All methods raise PlatformUnavailable and PlatformRefused (JobNotFound where the back-end says so).
    """

    def __init__(self, settings: OpenEoSettings, renewing: Renewing | None = None) -> None:
        """`renewing`: of a person's account, as in `Login`."""
        policy = EgressPolicy.from_json(settings.egress)
        self.egress = Egress(policy).with_policy(read_timeout=settings.timeout_seconds, connect_timeout=10.0)
        self.settings = settings
        self._lock = threading.Lock()
        self._root: tuple[float, str, Mapping[str, Any]] | None = None
        self._cwl: tuple[float, str | None] | None = None
        self._formats: tuple[float, frozenset[str]] | None = None
        self._login = Login(settings, self.ask, renewing)

    # ---- what the back-end is

    def capabilities(self) -> Mapping[str, Any]:
        """What `GET /` says, with its address as `url`."""
        return self._found()[1]

    @property
    def base(self) -> str:
        return self._found()[0]

    def offers(self, path: str, method: str = "GET") -> bool:
        """Whether an endpoint is listed. `path` as the API writes it: `/jobs/{job_id}/estimate`."""
        plain = re.sub(r"\{\w+\}", "{}", path)
        return any(
            re.sub(r"\{\w+\}", "{}", str(one.get("path"))) == plain and method in (one.get("methods") or ())
            for one in self.capabilities().get("endpoints") or ()
        )

    def runs_cwl(self) -> str | None:
        """The process by which the back-end runs CWL; None where it does not, or not in batch jobs."""
        known = self._cwl
        if known is None or time.monotonic() > known[0]:
            known = self._cwl = (time.monotonic() + KNOWN_SECONDS, self._asked_for_cwl())
        return known[1]

    def formats(self) -> frozenset[str]:
        """The formats that the back-end reads and writes; none where it does not say."""
        known = self._formats
        if known is None or time.monotonic() > known[0]:
            said = self.get("/file_formats") if self.offers("/file_formats") else {}
            sides = [side for side in (said.get("input"), said.get("output")) if isinstance(side, Mapping)]
            found = frozenset(str(name) for side in sides for name in side)
            known = self._formats = (time.monotonic() + KNOWN_SECONDS, found)
        return known[1]

    def _asked_for_cwl(self) -> str | None:
        if self.settings.cwl != "auto":
            return None if self.settings.cwl == "none" else self.settings.cwl
        if not self.offers("/jobs", "POST"):
            return None
        listed = self.get("/processes").get("processes") or ()
        if any(one.get("id") == TO_STAC for one in listed if isinstance(one, Mapping)):
            return TO_STAC
        return UDF if self.offers("/udf_runtimes") and RUNTIME in self.get("/udf_runtimes") else None

    def _found(self) -> tuple[str, Mapping[str, Any]]:
        with self._lock:
            if self._root is None or time.monotonic() > self._root[0]:
                base = self._version()
                described = self.ask("GET", base + "/").document
                if not isinstance(described, Mapping) or "endpoints" not in described:
                    raise PlatformUnavailable(f"{shown(base)} is no openEO back-end: it lists no endpoints.")
                self._root = (time.monotonic() + KNOWN_SECONDS, base, described)
            return self._root[1], self._root[2]

    def _version(self) -> str:
        """The address of the highest version that both sides know; the given one where none are listed."""
        given = self.settings.url.rstrip("/")
        try:
            listed = self.ask("GET", given + "/.well-known/openeo").document
        except PlatformRefused:  # the given address is that of a version already
            return given
        versions = [
            (str(one.get("api_version")), one.get("production") is not False, str(one["url"]))
            for one in (listed or {}).get("versions") or ()
            if isinstance(one, Mapping) and _SUPPORTED.fullmatch(str(one.get("api_version"))) and one.get("url")
        ]
        if not versions:
            raise PlatformUnavailable(f"{shown(given)} speaks no version of the openEO API from 1.1 to 1.3.")
        _, _, url = max(versions, key=lambda one: (one[1], [int(part) for part in one[0].split("-")[0].split(".")]))
        return urljoin(given + "/", url).rstrip("/")

    # ---- requests

    def get(self, path: str, **query: Any) -> Mapping[str, Any]:
        """The JSON object at a path, or at an address that the back-end gave."""
        found = self.call("GET", path, **query).document
        if not isinstance(found, Mapping):
            raise PlatformUnavailable(f"{self.settings.url} answers {path.partition('?')[0]} without a JSON object.")
        return found

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Reply:
        """A request in the name of the account; the token is renewed once where it is refused."""
        url = self.base + path if path.startswith("/") else path
        words = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in query.items() if value is not None)
        url += ("&" if "?" in url else "?") + words if words else ""
        headers = self.authorization()
        try:
            return self.ask(method, url, body, headers)
        except _TokenRefused as refused:
            if isinstance(body, IOBase):
                body.seek(0)
            again = self.authorization(instead_of=headers)
            if not again:
                raise PlatformUnavailable(f"{self.settings.url} wants an account: {refused.detail}") from refused
            try:
                return self.ask(method, url, body, again)
            except _TokenRefused as still:
                # Also what a back-end says while its identity provider is down: no reason to fail a job.
                raise self._login.refused(f"{self.settings.url} does not take the account: {still.detail}") from still

    def execute(self, body: Any) -> Answer:
        """The answer of a synchronous execution, to be read."""
        with_policy = self.egress.with_policy(read_timeout=self.settings.sync_seconds)
        headers = self.authorization() | {"Content-Type": "application/json"}
        try:
            answer = with_policy.request(
                "POST", self.base + "/result", headers=headers, body=json.dumps(body).encode(), trusted=True
            )
        except FetchError as error:
            if error.transient and "timed out" in error.detail.lower():
                raise _too_slow(self.settings.sync_seconds) from error
            raise _unreachable(error) from error
        if answer.status == 200:
            return answer
        with answer:
            problem = _problem(answer, answer.read())
        if answer.status == 408:
            raise _too_slow(self.settings.sync_seconds)
        if answer.status == 500:  # here it is the process that failed, and would again
            raise PlatformRefused(problem.detail, fault_of="package", code="tool-failed")
        raise problem

    def strangers(self, url: str) -> Mapping[str, Any]:
        """The JSON object at an address on another host, which gets no token."""
        try:
            found = _parsed(self.egress.get_bytes(url, LARGEST))
        except FetchError as error:
            raise _unreachable(error) from error
        except EgressRefused as error:
            raise PlatformRefused(f"The results link to {shown(url)}: {error}") from error
        if not isinstance(found, Mapping):
            raise PlatformUnavailable(f"{shown(url)} is no JSON object.")
        return found

    def authorization(self, *, instead_of: Mapping[str, str] | None = None) -> dict[str, str]:
        """The header for requests to the back-end. `instead_of`: the one that was refused."""
        refused = (instead_of or {}).get("Authorization")
        return self._login.header(self.base, plain=self.plain_tokens(), refused=refused)

    def plain_tokens(self) -> bool:
        """Whether the back-end takes tokens as they are, without a prefix."""
        return any(_JWT.fullmatch(str(one)) for one in self.capabilities().get("conformsTo") or ())

    def me(self, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """What the back-end says of the account (or of the one in `headers`); {} where it has no `/me`."""
        if not self.offers("/me"):
            return {}
        if headers is None:
            return self.get("/me")
        found = self.ask("GET", self.base + "/me", None, headers).document
        return found if isinstance(found, Mapping) else {}

    def described(self, me: Mapping[str, Any]) -> str:
        """A sentence of an account: who, plan, what is left to spend and to store."""
        return status.account(me, self.capabilities())

    def own(self, url: str) -> bool:
        """Whether an address is the back-end's own, where its token may go."""
        return origin(url) == origin(self.base) or origin(url) == origin(self.settings.url)

    def jobs(self) -> Iterator[Mapping[str, Any]]:
        """The account's jobs as they are listed: id, status, title, created. A list may lack some."""
        return (one for one in self.listed("/jobs", "jobs") if "id" in one)

    def listed(self, path: str, member: str) -> Iterator[Mapping[str, Any]]:
        """The objects of a list, page after page."""
        page = self.get(path, limit=200)
        for _ in range(PAGES):
            yield from (one for one in page.get(member) or () if isinstance(one, Mapping))
            onward = [one.get("href") for one in page.get("links") or () if one.get("rel") == "next"]
            if not onward or not self.own(str(onward[0])):
                return
            page = self.get(str(onward[0]))

    def ask(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request to the operator's address (or one that this named), its answer read and judged."""
        fields = {"Accept": "application/json", **(headers or {})}
        streamed = isinstance(body, IOBase)
        data = body if streamed or isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            fields.setdefault("Content-Type", "application/octet-stream" if streamed else "application/json")
        try:
            with self.egress.request(
                method, url, headers=fields, body=data, trusted=True, redirects=0 if streamed else None, limit=LARGEST
            ) as answer:
                raw = answer.read()
        except FetchError as error:
            raise _unreachable(error) from error
        if answer.status >= 300:
            raise _problem(answer, raw)
        return Reply(answer.status, answer.headers, _parsed(raw))


class _TokenRefused(PlatformRefused):
    pass


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw.strip() else None
    except (ValueError, RecursionError):
        return None


def _unreachable(error: FetchError) -> PlatformError:
    if error.transient:
        return PlatformUnavailable(error.detail, retry_after=error.retry_after, sent=error.sent)
    return PlatformUnavailable(str(error))


def _too_slow(seconds: float) -> PlatformRefused:
    return PlatformRefused(
        f"The synchronous request took longer than {seconds:g} s.",
        hint="Use a smaller extent, or a platform with batch jobs.",
        fault_of="limit",
        code="time-limit",
    )


def _problem(answer: Answer, raw: bytes) -> PlatformError:
    """What an error of the back-end means: try again, renew the token, or never."""
    found = _parsed(raw)
    told: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    code, status = str(told.get("code") or ""), answer.status
    host = urlsplit(answer.url).hostname
    detail = f"{host} says: {told.get('message') or told.get('error_description') or status} ({code or status})"
    after = answer.headers.get("Retry-After", "")
    wait = float(after) if after.isdecimal() else None
    if code in ("ConcurrentJobLimit", "TooManyRequests"):  # 400 at some, though it passes
        return PlatformUnavailable(detail, retry_after=wait or 30.0)
    if status == 401 or (status == 403 and (code.startswith(("Token", "Authentication", "Credentials")) or not code)):
        return _TokenRefused(detail)
    if code == "JobNotFinished" or status in _TRANSIENT:
        return PlatformUnavailable(detail, retry_after=wait)
    if code == "JobNotFound" or (status == 404 and "/jobs/" in answer.url):
        return JobNotFound(detail, code="lost")
    if status == 402 or code == "PaymentRequired":
        return PlatformRefused(detail, hint="Its account has no credits left.", fault_of="limit")
    if code.startswith(_OF_THE_PACKAGE):
        return PlatformRefused(detail, fault_of="package", code="invalid-package")
    if code in _OF_THE_INPUT:
        return PlatformRefused(detail, fault_of="input", code="invalid-input")
    return PlatformRefused(detail)
