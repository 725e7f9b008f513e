"""One OGC API - Processes server: requests with the platform's account, and what its refusals mean."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from urllib.parse import urljoin

from adapters.ogcapi.settings import OgcApiSettings
from broker.egress import Egress, EgressPolicy, FetchError
from broker.egress.stream import opened
from broker.errors import EgressRefused, PlatformRefused, PlatformUnavailable
from broker.jobs.secrets import origin, scrubbed, unsigned

JSON = "application/json"
LARGEST = 32 * 2**20  # bytes of one document
AGAIN = 600.0  # seconds after which it is asked again what it can do
LATER = frozenset({401, 408, 425, 429, 502, 503, 504})  # 401: the operator has to mend the account; jobs wait for that
SHOWN = 500  # characters of what a server says that a person reads


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The document, None where the body is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Server:
    """Remembers what the server can do for some minutes, and nothing of jobs."""

    def __init__(self, settings: OgcApiSettings) -> None:
        self.url = settings.url
        self._account = settings.account()
        policy = EgressPolicy.from_json(settings.egress)
        self.egress = Egress(
            replace(
                policy,
                read_timeout=settings.seconds,
                ca_file=str(settings.ca_file) if settings.ca_file else policy.ca_file,
            )
        )
        self._classes: tuple[float, frozenset[str]] | None = None

    def own(self, url: str) -> bool:
        """Whether an address is the server's: only such get the platform's account."""
        return origin(url) == origin(self.url)

    def job(self, location: str | None, job_id: str | None) -> str | None:
        """The address of a job: where the server says it is, or, where that is somewhere else (a server that does not
        know its own name), below the address that we know."""
        if location:
            found = urljoin(f"{self.url}/", location).partition("?")[0].rstrip("/")
            if self.own(found):
                return found
            job_id = job_id or found.rpartition("/")[2]
        return f"{self.url}/jobs/{job_id}" if job_id else None

    def ask(
        self,
        method: str,
        url: str,
        document: Any = None,
        *,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        whole: Callable[[str], bool] = lambda media: True,
    ) -> Reply:
        """One request; any status that is an answer is returned, without the body of a success that need not be read
        `whole` (asked by media type). Raises PlatformUnavailable, PlatformRefused."""
        fields = {"Accept": accept, **self._fields(url), **(headers or {})}
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            fields.setdefault("Content-Type", JSON)
        try:
            with self.egress.request(
                method, url, headers=fields, body=body, trusted=self.own(url), limit=LARGEST
            ) as answer:
                wanted = answer.status >= 300 or whole(answer.media_type)
                reply = Reply(answer.status, answer.headers, answer.read() if wanted else b"", answer.url)
        except FetchError as error:
            raise self.failed(error) from error
        except EgressRefused as error:
            raise PlatformRefused(f"{error.detail}", hint=error.hint) from error
        if reply.status in LATER:
            raise PlatformUnavailable(self.said(reply), retry_after=_seconds(reply.headers.get("Retry-After")))
        return reply

    def get(self, url: str, accept: str = JSON, *, whole: Callable[[str], bool] = lambda media: True) -> Reply | None:
        """What is at an address, None where nothing is. Raises PlatformUnavailable, PlatformRefused."""
        reply = self.ask("GET", url, accept=accept, whole=whole)
        if reply.status in (404, 410):
            return None
        if reply.status >= 500:
            raise PlatformUnavailable(self.said(reply))
        if reply.status >= 300:
            raise PlatformRefused(self.said(reply))
        return reply

    def open(self, url: str, offset: int, *, ours: bool) -> BinaryIO:
        """A resource, streamed; `ours`: an address that the operator stands for, and to which the platform's account
        is shown if it is the server's. Raises PlatformUnavailable, PlatformRefused."""
        try:
            return opened(self.egress, url, offset, headers=self._fields(url) if ours else {}, trusted=ours)
        except FetchError as error:
            raise self.failed(error) from error
        except EgressRefused as error:
            raise PlatformRefused(error.detail, hint=error.hint, code="output-refused") from error

    def classes(self, *, again: bool = False) -> frozenset[str]:
        """The conformance classes that it declares. Raises PlatformUnavailable, PlatformRefused."""
        if again or self._classes is None or time.monotonic() - self._classes[0] > AGAIN:
            reply = self.get(f"{self.url}/conformance")
            whole = reply.json() if reply is not None else None
            found = whole.get("conformsTo") if isinstance(whole, Mapping) else None
            if not isinstance(found, list):
                raise PlatformUnavailable(f"{self.url} does not answer as an OGC API: it declares no conformance.")
            self._classes = time.monotonic(), frozenset(str(one).replace("/req/", "/conf/") for one in found)
        return self._classes[1]

    def said(self, reply: Reply) -> str:
        """A refusal in the server's own words, as far as it has some (RFC 9457, or what comes near)."""
        whole = reply.json()
        words = [whole.get(key) for key in ("title", "detail", "description")] if isinstance(whole, Mapping) else []
        text = " ".join(dict.fromkeys(one for one in words if isinstance(one, str) and one))
        clean = unsigned(scrubbed(text, self._account.values()))[:SHOWN]
        return f"{self.url} answered {reply.status}{f': {clean}' if clean else '.'}"

    def failed(self, error: FetchError) -> PlatformUnavailable | PlatformRefused:
        if error.transient or error.status in LATER:
            return PlatformUnavailable(error.detail, retry_after=error.retry_after, sent=error.sent)
        if error.status in (404, 410):
            return PlatformRefused(error.detail, code="lost")
        return PlatformRefused(error.detail, hint=error.hint)

    def _fields(self, url: str) -> dict[str, str]:
        return self._account if self.own(url) else {}


def _seconds(text: str | None) -> float | None:
    return min(float(text), 3600.0) if text and text.isdecimal() else None
