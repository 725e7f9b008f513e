"""The broker's HTTP API from Python: one method per route, errors as the exceptions of `broker.errors`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.auth import AuthBase

from broker.cli.problems import Unreachable, read
from broker.errors import BrokerError, PlatformUnavailable

PACKAGE: Final = "application/ogcapppkg+json"
BUNDLE: Final = "application/vnd.earthcode-broker.bundle+json"
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 75.0  # longer than the server waits for a synchronous execution
DONE: Final = frozenset({"successful", "failed", "dismissed"})
Token = str | Callable[[], str | None] | None  # a callable is asked for every request: tokens of a login expire
_SHARED: Final = {"process": "processes", "job": "jobs", "upload": "uploads"}
_SAFE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class _Bearer(AuthBase):
    """Sends the token to the server it is for, and to nobody else that an answer links to."""

    def __init__(self, token: Token, origin: tuple[str, str]) -> None:
        self.token = token
        self.origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin(request.url or "") == self.origin:
            token = self.token() if callable(self.token) else self.token
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
        return request


def origin(url: str) -> tuple[str, str]:
    """Scheme, and host with port, of a URL; `localhost` is 127.0.0.1, as the broker calls itself."""
    parts = urlsplit(url)
    name, colon, port = parts.netloc.partition(":")
    return parts.scheme, f"127.0.0.1{colon}{port}" if name.lower() == "localhost" else parts.netloc


class Client:
    """A session with one broker at `server` (its landing page). Not to be shared between threads.

    Every method raises Unreachable when nobody answers, and the exception that the server's problem document tells
    of otherwise. `patience`: for how many seconds a request that may be repeated is repeated when nobody answers.
    """

    def __init__(self, server: str, token: Token = None, *, patience: float = 0.0) -> None:
        self.server = server.rstrip("/")
        self.patience = patience
        self.session = requests.Session()
        self.session.headers["User-Agent"] = "earthcode-broker-cli"
        self.session.headers["Accept"] = "application/json"
        self.session.auth = _Bearer(token, origin(self.server))
        if (urlsplit(self.server).hostname or "") in ("localhost", "127.0.0.1", "::1"):
            self.session.trust_env = False  # a proxy must not get between us and our own machine

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.session.close()

    def url(self, path: str) -> str:
        """The address of a path (`/jobs/…`) of the API; a whole URL stays itself."""
        return f"{self.server}{path}" if path.startswith("/") else urljoin(f"{self.server}/", path)

    def request(self, method: str, path: str, *, repeat: bool | None = None, **options: Any) -> requests.Response:
        """Send one request; `repeat`: whether it may be sent again (default: by its method)."""
        repeat = method in _SAFE if repeat is None else repeat
        options.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        until = time.monotonic() + self.patience
        pause = 0.2
        while True:
            try:
                response = self.session.request(method, self.url(path), **options)
                if response.status_code < 400:
                    return response
                error: BrokerError = self._problem(response)
                if not isinstance(error, PlatformUnavailable):
                    raise error
            except (requests.ConnectionError, requests.Timeout) as caught:
                error = self._unreachable(caught)
            except requests.RequestException as caught:
                raise Unreachable(f"{self.server} is not an address that can be asked: {caught}") from caught
            if not repeat or time.monotonic() + pause > until:
                raise error
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _unreachable(self, caught: Exception) -> Unreachable:
        error = Unreachable(
            f"No broker answers at {self.server}.",
            hint="Start one with: broker up   Or name another: --server URL, or BROKER_SERVER.",
        )
        error.__cause__ = caught
        return error

    def _problem(self, response: requests.Response) -> BrokerError:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, Mapping):
            text = " ".join(response.text[:200].split())
            document = {"detail": f"{response.url} answered {response.status_code} {response.reason}. {text}".strip()}
        after = response.headers.get("Retry-After", "")
        return read(response.status_code, document, retry_after=float(after) if after.isdigit() else None)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON document that a request is answered with; None for an empty answer."""
        response = self.request(method, path, **options)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise Unreachable(
                f"{self.server} answers, but not as a broker does.", hint="Look at --server and BROKER_SERVER."
            ) from None

    def pages(self, path: str, key: str, params: Mapping[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
        """Items of a list, its `next` links followed, at most `limit` of them."""
        page = self.json("GET", path, params={name: value for name, value in params.items() if value})
        count = 0
        while True:
            for item in page.get(key, ()):
                if limit is not None and count >= limit:
                    return
                count += 1
                yield item
            following = [link["href"] for link in page.get("links", ()) if link.get("rel") == "next"]
            if not following or (limit is not None and count >= limit):
                return
            page = self.json("GET", following[0])

    # processes

    def processes(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        return self.pages("/processes", "processes", {"limit": limit}, limit)

    def process(self, process_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("GET", f"/processes/{_part(process_id)}")
        return found

    def digest(self, process_id: str) -> str:
        """The digest of the package that is deployed as a process. Raises NoSuchProcess."""
        return str(self.process(process_id)["digest"])

    def deploy(self, unit: Mapping[str, Any], process_id: str | None = None) -> dict[str, Any]:
        """Deploy an execution unit (see `bundle_unit`, `link_unit`); gives the process summary."""
        made: dict[str, Any] = self.json("POST", "/processes", **_package(unit, process_id))
        return made

    def replace(self, process_id: str, unit: Mapping[str, Any]) -> dict[str, Any]:
        """Deploy a package in the place of another; gives the process summary."""
        options = _package(unit, process_id)
        options["headers"]["Prefer"] = "return=representation"
        return self.json("PUT", f"/processes/{_part(process_id)}", **options) or {"id": process_id}

    def undeploy(self, process_id: str) -> None:
        self.request("DELETE", f"/processes/{_part(process_id)}")

    def check_package(self, unit: Mapping[str, Any], process_id: str | None = None) -> dict[str, Any]:
        """What a deployment would give, without doing it: process (its description), digest, needs, steps, warnings,
        platforms."""
        found: dict[str, Any] = self.json("POST", "/check", **_package(unit, process_id))
        return found

    def check(self, process_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What an execution would do, without doing it: ok, jobOrder, platform, platforms, images, links."""
        found: dict[str, Any] = self.json("POST", f"/processes/{_part(process_id)}/check", json=body)
        return found

    # jobs

    def execute(self, process_id: str, body: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """Start a job and give its status; the same `key` again gives the same job."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": key}
        path = f"/processes/{_part(process_id)}/execution"
        made: dict[str, Any] = self.json("POST", path, json=body, headers=headers, repeat=True)
        return made

    def reproduce(self, body: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """Start the job that runs an experiment again, and give its status."""
        headers = {"Idempotency-Key": key}
        made: dict[str, Any] = self.json("POST", "/reproductions", json=body, headers=headers, repeat=True)
        return made

    def jobs(self, *, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Newest first. `filters`: status, processID, tag."""
        return self.pages("/jobs", "jobs", {"limit": limit, **filters}, limit)

    def job(self, job_id: str) -> dict[str, Any]:
        """The job's status info."""
        found: dict[str, Any] = self.json("GET", _job(job_id))
        return found

    def dismiss(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("DELETE", _job(job_id))
        return found

    def results(self, job_id: str) -> Any:
        return self.json("GET", f"{_job(job_id)}/results", params={"f": "json"})

    def output_object(self, job_id: str) -> dict[str, Any]:
        """The CWL output object, every `location` an absolute URL."""
        found: dict[str, Any] = self.json("GET", f"{_job(job_id)}/results", params={"f": "cwl"})
        return found

    def delete_results(self, job_id: str) -> dict[str, Any]:
        """The job's status info after it."""
        found: dict[str, Any] = self.json("DELETE", f"{_job(job_id)}/results")
        return found

    def files(self, job_id: str) -> list[dict[str, Any]]:
        """Each with path, href, size, type and sha256."""
        return list(self.pages(f"{_job(job_id)}/files", "files", {}, None))

    def steps(self, job_id: str) -> list[dict[str, Any]]:
        return list(self.json("GET", f"{_job(job_id)}/steps")["steps"])

    def logs(self, job_id: str, *, after: int = 0, step: str | None = None) -> dict[str, Any]:
        """One page of the log: `logs` (each with step, at and text) and the `cursor` to go on from."""
        params = {"f": "json", "after": after, **({"step": step} if step else {})}
        found: dict[str, Any] = self.json("GET", f"{_job(job_id)}/logs", params=params)
        return found

    def platforms(self) -> list[dict[str, Any]]:
        found = self.json("GET", "/platforms")
        return list(found.get("platforms", ()) if isinstance(found, Mapping) else found or ())

    # projects

    def projects(self, *, everybody: bool = False) -> Iterator[dict[str, Any]]:
        return self.pages("/projects", "projects", {"all": "true" if everybody else None}, None)

    def project(self, project: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("GET", self.project_path(project))
        return found

    def members(self, project: str) -> list[dict[str, Any]]:
        return list(self.json("GET", self.project_path(project, "members"))["members"])

    def project_path(self, project: str, *below: str) -> str:
        return "/".join(("/projects", *map(_part, (project, *below))))

    def sharing(self, kind: str, row: str) -> dict[str, Any]:
        """With whom something is shared: `shared`, `project`. `kind`: process, job, upload."""
        found: dict[str, Any] = self.json("GET", f"/{_SHARED[kind]}/{_part(row)}/sharing")
        return found

    def share(self, kind: str, row: str, body: Mapping[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = self.json("PUT", f"/{_SHARED[kind]}/{_part(row)}/sharing", json=body)
        return done

    def act_in(self, project: str | None) -> None:
        """Work in the name of a project from now on, and at its expense."""
        if project:
            self.session.headers["Acting-Project"] = project

    def is_mine(self, url: str) -> bool:
        """Whether an address is of this server."""
        return origin(url) == origin(self.server)

    # who one is

    def me(self) -> dict[str, Any]:
        """Who the server takes us for: id, name, project, scopes, ..."""
        found: dict[str, Any] = self.json("GET", "/me")
        return found

    def issuers(self) -> list[dict[str, Any]]:
        """Where one can log in: name, title, issuer, clientId, scopes, parameters."""
        return list(self.json("GET", "/login", params={"f": "json"})["issuers"])

    def make_token(self, body: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.json("POST", "/tokens", json=body)
        return made

    def tokens(self) -> list[dict[str, Any]]:
        return list(self.json("GET", "/tokens")["tokens"])

    def revoke_token(self, token_id: str) -> None:
        self.request("DELETE", f"/tokens/{_part(token_id)}")


def _part(name: str) -> str:
    return quote(name, safe="")


def _job(job_id: str) -> str:
    return f"/jobs/{_part(job_id)}"


def bundle_unit(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """The execution unit of a closed package (`Bundle.to_json()`)."""
    return {"value": bundle, "mediaType": BUNDLE}


def link_unit(url: str) -> dict[str, Any]:
    """The execution unit of a package that the server reads itself."""
    return {"href": url, "type": "application/cwl"}


def git_unit(repository: str, commit: str, path: str) -> dict[str, Any]:
    """The execution unit of a package at a commit, which the server fetches itself."""
    return {"repository": repository, "commit": commit, "path": path, "type": "application/cwl"}


def _package(unit: Mapping[str, Any], process_id: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"executionUnit": unit}
    if process_id is not None:
        body["processDescription"] = {"id": process_id}
    return {"data": json.dumps(body).encode(), "headers": {"Content-Type": PACKAGE}}
