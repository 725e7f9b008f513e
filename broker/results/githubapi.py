"""GitHub's REST API, as far as a publication in the catalog needs it: one request, one answer, errors told apart."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from broker.egress import Answer, Egress, FetchError
from broker.errors import TargetRefused, TargetUnavailable
from broker.jobs.secrets import scrubbed

API = "https://api.github.com"
_MOST = 64 * 2**20  # bytes of an answer
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any

    def said(self) -> str:
        """GitHub's own words."""
        body = self.body if isinstance(self.body, Mapping) else {}
        errors = [str(one.get("message") or one) for one in body.get("errors") or () if isinstance(one, Mapping)]
        return "; ".join([str(body.get("message") or f"HTTP {self.status}"), *errors])[:300]


class GitHubApi:
    """`api`: its address, set by the operator; `token`: sent there only. Methods raise TargetUnavailable (also for an
    answer that did not come, when nobody knows what was done) and TargetRefused."""

    def __init__(self, egress: Egress, token: str, api: str = API) -> None:
        self._egress, self._token, self._api = egress, token, api.rstrip("/")

    def get(self, path: str, **query: str) -> Any:
        found = self.ask("GET", f"{path}?{urlencode(query)}" if query else path).body
        if not isinstance(found, dict | list):
            raise TargetUnavailable(f"GitHub answered GET {path} with something that is no JSON document.")
        return found

    def find(self, path: str, **query: str) -> Any:
        """What is there; None where nothing is."""
        reply = self.ask("GET", f"{path}?{urlencode(query)}" if query else path, also=(404, 409))
        return reply.body if reply.status == 200 else None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, also: Iterable[int] = ()) -> Reply:
        """One request; statuses in `also` are answers, not errors."""
        headers = {**_HEADERS, "Authorization": f"Bearer {self._token}"}
        raw = None if body is None else json.dumps(body).encode()
        if raw is not None:
            headers["Content-Type"] = "application/json"
        try:
            with self._egress.request(
                method, self._api + path, headers=headers, body=raw, trusted=True, redirects=0, limit=_MOST
            ) as answer:
                reply = Reply(answer.status, _document(answer.read()))
                return (
                    reply
                    if answer.status in {*also, 200, 201, 202, 204}
                    else self._refused(method, path, answer, reply)
                )
        except FetchError as problem:
            raise TargetUnavailable(problem.detail, hint=problem.hint, retry_after=problem.retry_after) from problem

    def _refused(self, method: str, path: str, answer: Answer, reply: Reply) -> Reply:
        said = scrubbed(f"GitHub answered {method} {path} with {reply.status}: {reply.said()}.", [self._token])
        after = _wait(answer)
        if reply.status >= 500 or reply.status in (409, 429) or (reply.status == 403 and after is not None):
            raise TargetUnavailable(said, retry_after=after)
        hints = {
            401: "Keep a token that is valid (broker credential add).",
            403: "The token needs the rights to fork, to write contents and to open pull requests.",
            404: "Check the name of the repository, and whether the token may see it.",
            301: "The repository has another name now: configure that one.",
        }
        raise TargetRefused(said, hint=hints.get(reply.status))


class GitHubTree:
    """The files of one commit, read one by one."""

    def __init__(self, api: GitHubApi, repository: str, commit: str) -> None:
        self._api, self._repository, self.commit = api, repository, commit
        self.tree = str(api.get(f"/repos/{repository}/git/commits/{commit}")["tree"]["sha"])
        listing = api.get(f"/repos/{repository}/git/trees/{self.tree}", recursive="1")
        if listing.get("truncated"):
            raise TargetRefused("The catalog has more files than GitHub lists.", hint="Use a git target.")
        self._blobs = {str(one["path"]): str(one["sha"]) for one in listing["tree"] if one["type"] == "blob"}
        self._read: dict[str, bytes] = {}

    def paths(self) -> Iterable[str]:
        return self._blobs

    def read(self, path: str) -> bytes | None:
        blob = self._blobs.get(path)
        if blob is not None and path not in self._read:
            found = self._api.get(f"/repos/{self._repository}/git/blobs/{blob}")
            self._read[path] = base64.b64decode(found["content"])
        return self._read.get(path)


def heads(branch: str) -> str:
    """The name of a branch in a path of the API."""
    return f"heads/{quote(branch, safe='/')}"


class _Object(dict[str, Any]):
    """An object of an answer: what its API has and it has not is no answer of that API."""

    def __missing__(self, name: str) -> Any:
        raise TargetUnavailable(f"GitHub's answer has no {name}, which its API gives.")


def _document(raw: bytes) -> Any:
    try:
        return json.loads(raw, object_hook=_Object) if raw else None
    except (ValueError, RecursionError):
        return None


def _wait(answer: Answer) -> float | None:
    """Seconds to wait where the limit of requests is reached."""
    after = answer.headers.get("Retry-After", "")
    if after.isdecimal():
        return float(after)
    if answer.headers.get("X-RateLimit-Remaining") == "0":
        reset = answer.headers.get("X-RateLimit-Reset", "")
        return max(1.0, float(reset) - time.time()) if reset.isdecimal() else 60.0
    return None
