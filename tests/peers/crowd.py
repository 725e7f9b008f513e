"""A light server with very many jobs, which change when the test says: an openEO back-end and an OGC API in one.

    with crowd_peer() as crowd, broker_peer(directory, platforms=crowd.platforms(rate=100.0)) as broker:
        ...
        crowd.let("running", over=30.0)          # each job that waits begins at some moment of the next 30 s
        crowd.changed("running")                 # {name of the job: when it did, epoch seconds}

Deviations from real servers: nothing is computed (the result of each job is the text `done`), nothing is refused, and
its lists have no limit but `limit`. It runs as a program of its own, so that it costs the test no time.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from tests.peers.broker import wait_for
from tests.peers.ports import free_port

CORE = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core"
OPENEO, OGC = "/openeo/1.2", "/ogc"
WORDS = {  # state -> as openEO and as OGC API - Processes call it
    "queued": ("queued", "accepted"),
    "running": ("running", "running"),
    "finished": ("finished", "successful"),
}
ENDPOINTS = {
    "/jobs": ["GET", "POST"],
    "/jobs/{job_id}": ["GET", "DELETE"],
    "/jobs/{job_id}/results": ["GET", "POST", "DELETE"],
    "/jobs/{job_id}/logs": ["GET"],
}
PROCESS = {
    "id": "wait",
    "version": "1",
    "jobControlOptions": ["async-execute"],
    "inputs": {},
    "outputs": {"said": {"schema": {"type": "string"}}},
}


@dataclass
class Work:
    """One job. `started` False: openEO's `created`. `at`: state -> when it begins (epoch seconds). `gone`: deleted."""

    name: str
    made: float
    started: bool
    at: dict[str, float] = field(default_factory=dict)
    gone: bool = False

    def state(self, now: float) -> str:
        return next((state for state in ("finished", "running") if self.at.get(state, now + 1) <= now), "queued")


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    key: str
    body: Any
    host: str

    @property
    def url(self) -> str:
        return f"http://{self.host}"  # that of a proxy in front, where there is one


class Crowd:
    """What the server knows; each answer is (status, headers, document)."""

    def __init__(self) -> None:
        self.jobs: dict[str, Work] = {}
        self.seconds: Counter[int] = Counter()

    def answer(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        if asked.path == "/control":
            return self._control(asked)
        self.seconds[int(time.time())] += 1
        for path, answer in (
            (r"/\.well-known/openeo", self._versions),
            (OPENEO + "/", self._root),
            (OPENEO + "/jobs", self._jobs),
            (OPENEO + "/jobs/([^/]+)", self._job),
            (OPENEO + "/jobs/([^/]+)/results", self._results),
            (OPENEO + "/jobs/([^/]+)/logs", lambda *_: (200, {}, {"logs": [], "links": []})),
            (OGC + "/conformance", lambda *_: (200, {}, {"conformsTo": [CORE]})),
            (OGC + "/processes/wait", lambda *_: (200, {}, PROCESS)),
            (OGC + "/processes/wait/execution", self._execution),
            (OGC + "/jobs", lambda *_: (200, {}, {"jobs": [], "links": []})),
            (OGC + "/jobs/([^/]+)", self._status),
            (OGC + "/jobs/([^/]+)/results", lambda *_: (200, {}, {"said": "done"})),
        ):
            if found := re.fullmatch(path, asked.path):
                return self._of(answer, asked, *found.groups())
        return 404, {}, {"code": "NotFound", "message": asked.path, "title": "not found"}

    def _of(self, answer: Callable[..., Any], asked: Asked, *ids: str) -> tuple[int, dict[str, str], Any]:
        if ids and (ids[0] not in self.jobs or self.jobs[ids[0]].gone):
            return 404, {}, {"code": "JobNotFound", "message": "no such job", "title": "no such job"}
        found: tuple[int, dict[str, str], Any] = answer(asked, *ids)
        return found

    # ---- openEO

    def _versions(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        return 200, {}, {"versions": [{"url": asked.url + OPENEO, "production": True, "api_version": "1.2.0"}]}

    def _root(self, _: Asked) -> tuple[int, dict[str, str], Any]:
        endpoints = [{"path": path, "methods": methods} for path, methods in ENDPOINTS.items()]
        return 200, {}, {"id": "crowd", "title": "Crowd", "backend_version": "1", "endpoints": endpoints, "links": []}

    def _jobs(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        if asked.method == "POST":
            job = self._made(str(asked.body["title"]).partition(" ")[0], started=False)
            return 201, {"Location": f"{asked.url}{asked.path}/{job}", "OpenEO-Identifier": job}, None
        size, first = (int(asked.query.get(name, ["0"])[0]) for name in ("limit", "after"))
        there = [job for job, work in self.jobs.items() if not work.gone]
        page = there[first : first + size]
        more = {"rel": "next", "href": f"{asked.url}{asked.path}?limit={size}&after={first + size}"}
        links = [more] if first + size < len(there) else []
        return 200, {}, {"jobs": [self._document(job) for job in page], "links": links}

    def _document(self, job: str) -> dict[str, Any]:
        work = self.jobs[job]
        status = WORDS[work.state(time.time())][0] if work.started else "created"
        return {"id": job, "title": work.name, "status": status, "created": _text(work.made)}

    def _job(self, asked: Asked, job: str) -> tuple[int, dict[str, str], Any]:
        if asked.method == "DELETE":
            self.jobs[job].gone = True
            return 204, {}, None
        return 200, {}, self._document(job)

    def _results(self, asked: Asked, job: str) -> tuple[int, dict[str, str], Any]:
        if asked.method != "GET":
            self.jobs[job].started = True
            return 202, {}, None
        item: dict[str, Any] = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": job,
            "geometry": None,
            "links": [],
            "assets": {},
        }
        return 200, {}, item | {"properties": {"datetime": _text(self.jobs[job].made)}}

    # ---- OGC API - Processes

    def _execution(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        job = self._made(asked.key, started=True)
        where = f"{asked.url}{OGC}/jobs/{job}"
        return 201, {"Location": where}, self._said(job)

    def _said(self, job: str) -> dict[str, Any]:
        work = self.jobs[job]
        status = WORDS[work.state(time.time())][1]
        return {"jobID": job, "type": "process", "status": status, "created": _text(work.made)}

    def _status(self, asked: Asked, job: str) -> tuple[int, dict[str, str], Any]:
        return 200, {}, self._said(job)

    # ---- both

    def _made(self, name: str, *, started: bool) -> str:
        job = f"job-{len(self.jobs):05}"
        self.jobs[job] = Work(name, time.time(), started)
        return job

    def _control(self, asked: Asked) -> tuple[int, dict[str, str], Any]:
        if asked.method == "POST":
            state, over, now = asked.body["to"], asked.body["over"], time.time()
            for work in self.jobs.values():
                work.at.setdefault(state, now + random.random() * over)
            return 200, {}, {}
        jobs = {work.name: work.at for work in self.jobs.values()}
        started = sum(work.started for work in self.jobs.values())
        return 200, {}, {"jobs": jobs, "started": started, "seconds": dict(self.seconds)}


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


async def _serve(port: int) -> None:
    crowd = Crowd()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                line, *rest = head.split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                method, target, _ = line.split(" ", 2)
                parts = urlsplit(target)
                key = fields.get("idempotency-key", "")
                document = json.loads(body) if body else None
                asked = Asked(method, parts.path, parse_qs(parts.query), key, document, fields["host"])
                status, headers, found = crowd.answer(asked)
                data = b"" if found is None else json.dumps(found).encode()
                headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
                top = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{top}\r\n".encode() + data)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(client, "127.0.0.1", port) as server:
        await server.serve_forever()


@dataclass(frozen=True)
class CrowdPeer:
    """The server as the test sees it. `url` of the openEO back-end; `ogc`: of the other API."""

    url: str

    @property
    def ogc(self) -> str:
        return self.url + OGC

    def platforms(self, rate: float | None) -> dict[str, Any]:
        """Settings of a broker: this machine, and the crowd by both adapters, `rate` requests a second to each."""
        terms = {} if rate is None else {"terms": {"requests": rate}}
        urls = {"openeo": self.url, "ogcapi": self.ogc}
        return {"local": {"adapter": "local"}} | {
            name: {"adapter": name, "url": url, **terms} for name, url in urls.items()
        }

    def let(self, state: str, over: float) -> None:
        """Each job that is not there yet goes to a state, at some moment in the next seconds."""
        requests.post(f"{self.url}/control", json={"to": state, "over": over}, timeout=30).raise_for_status()

    def _control(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.url}/control", timeout=30).json()
        return found

    def changed(self, state: str) -> dict[str, float]:
        """When the jobs went to a state, by their names."""
        return {name: at[state] for name, at in self._control()["jobs"].items() if state in at}

    @property
    def started(self) -> int:
        return int(self._control()["started"])

    def names(self) -> list[str]:
        """Of all jobs that were ever made."""
        return [*self._control()["jobs"]]

    def requests(self) -> dict[int, int]:
        """How many arrived in which second."""
        return {int(second): count for second, count in self._control()["seconds"].items()}


@contextmanager
def crowd_peer() -> Iterator[CrowdPeer]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.peers.crowd", str(port)], cwd=Path(__file__).parents[2])
    peer = CrowdPeer(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        try:
            return peer.started == 0
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, 30, lambda: "it does not answer")
        yield peer
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
