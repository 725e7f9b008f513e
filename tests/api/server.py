"""The API as a real server in a thread, and the parts of a job's life that a worker would bring."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import requests
from sqlalchemy import insert, update

from broker.api.app import create_app
from broker.api.connection import Server as BrokerServer
from broker.api.connection import serving
from broker.api.site import Site
from broker.execution.collect import key, media_type
from broker.jobs.lifecycle import Change, failed
from broker.jobs.model import Capabilities, Failure, Job, Phase, Progress
from broker.jobs.publication import State
from broker.platform import Health, LogChunk, OutputFile
from broker.queue.wakeups import Wake
from broker.results.verdict import Tolerance
from broker.settings import Settings
from broker.store import claims, comparisons, files, jobs, platformconfigs, platforms, publications
from broker.store.database import Database, new_id
from broker.store.files import KeptFile
from broker.store.platformconfigs import Config
from broker.store.publications import New
from broker.store.tables import job_needs
from broker.store.tables import jobs as table
from tests.peers.broker import wait_for
from tests.unit.results.samples import a_request

PLATFORM = "scripted"
TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: {id}
baseCommand: [echo]
inputs:
  text: {{type: string, inputBinding: {{position: 1}}}}
  count: {{type: int, default: 1}}
  scene: File?
outputs:
  said: stdout
  number: int?
  places: Directory?
"""


@dataclass
class Server:
    """A running API: requests to it, and hands in its database."""

    url: str
    site: Site
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def database(self) -> Database:
        return self.site.broker.database

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", 30)
        return self.session.request(method, path if path.startswith("http") else self.url + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> requests.Response:
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.request("DELETE", path, **options)

    def deploy(self, text: str | None = None, *, id: str = "say", **headers: str) -> requests.Response:
        body = TOOL.format(id=id) if text is None else text
        return self.post("/processes", data=body.encode(), headers={"Content-Type": "application/cwl+yaml", **headers})

    def ready(self, *ids: str) -> None:
        """A platform has reported, and processes are deployed (`say`)."""
        self.platform()
        for id in ids or ("say",):
            answer = self.deploy(id=id)
            assert answer.status_code == 201, answer.text

    def platform(self, name: str = PLATFORM, **offer: Any) -> None:
        capabilities = replace(Capabilities(cores=4.0, ram_mib=8192, container_engine="podman"), **offer)
        with self.database.write() as tx:
            platforms.checked(tx, name, "scripted", 0, Health(True, capabilities))

    def far(self) -> str:
        """A platform that was added while the broker runs, of another kind, and does not answer; its name."""
        with self.database.write() as tx:
            platformconfigs.put(tx, Config("far", "ogcapi", {"url": "http://127.0.0.1:9"}))
            offer = Capabilities(kinds=frozenset({"ogcapi"}))
            platforms.checked(tx, "far", "ogcapi", 1, Health(False, offer, "It does not answer."))
        return "far"

    def execute(self, process: str = "say", inputs: Mapping[str, Any] | None = None, **body: Any) -> str:
        """An accepted job; its id."""
        given = {"inputs": {"text": "hi"} if inputs is None else inputs, **body}
        answer = self.post(f"/processes/{process}/execution", json=given, headers={"Prefer": "respond-async"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobID"])

    # ---- what workers do

    def claimed(self, job_id: str) -> Job:
        with self.database.write() as tx:
            (job,) = claims.claim(tx, [job_id], list(Phase), "test")
            return job

    def save(self, job_id: str, *changes: Change) -> Job:
        job = self.claimed(job_id)
        with self.database.write() as tx:
            for change in changes:
                job = claims.save(tx, job, change, hold=change is not changes[-1])
        Wake(self.site.settings.redis)(job_id)
        return job

    def start(self, job_id: str, progress: Progress | None = None) -> Job:
        return self.save(
            job_id,
            Change("submitting", Phase.SUBMITTING),
            Change("submitted", Phase.SUBMITTED),
            Change("running", Phase.RUNNING, message="Running.", started=1_800_000_000.0, progress=progress),
        )

    def fail(self, job_id: str, failure: Failure) -> Job:
        return self.save(job_id, failed(failure))

    def succeed(self, job_id: str, outputs: Mapping[str, Any], content: Mapping[str, bytes] | None = None) -> Job:
        """The job starts and ends well; `content`: path -> bytes of its output files."""
        self.start(job_id)
        return self.finish(job_id, outputs, content)

    def finish(self, job_id: str, outputs: Mapping[str, Any], content: Mapping[str, bytes] | None = None) -> Job:
        """A running job ends well."""
        job = self.job_row(job_id)
        found = content or {}
        for path, data in found.items():
            self.site.broker.storage.keep(key(job, job.attempt, path), io.BytesIO(data))
        with self.database.write() as tx:
            files.announce(tx, job.id, job.attempt, [OutputFile(path, path) for path in found])
            moved = [
                KeptFile(path, 1, path, True, len(data), media_type(path), hashlib.sha256(data).hexdigest())
                for path, data in found.items()
            ]
            files.kept(tx, job.id, moved)
        return self.save(
            job_id,
            Change("collecting", Phase.COLLECTING, outputs=outputs),
            Change("successful", Phase.SUCCESSFUL, message=""),
        )

    def child(self, job_id: str, child_id: str, step: str) -> None:
        """One job runs a step of another one from now on."""
        values = {"job_id": job_id, "key": child_id, "attempt": 1, "step": step, "platform": "sky", "child": child_id}
        with self.database.write() as tx:
            tx.execute(insert(job_needs).values(values | {"tool": {}, "job_order": {}}))
            tx.execute(update(table).where(table.c.id == child_id).values(parent=job_id, step_key=child_id))
            tx.execute(update(table).where(table.c.id == job_id).values(children=1))

    def compared(self, job_id: str, report: Mapping[str, Any] | None = None) -> str:
        """A comparison of the job that is done; its id."""
        found = report or {"verdict": "identical", "sentence": "There are no outputs to compare.", "outputs": []}
        against: dict[str, Any] = {"kind": "experiment", "name": "water", "href": None, "outputs": {}}
        with self.database.write() as tx:
            made = comparisons.ask(tx, job_id, against, Tolerance().to_json())
            while (taken := comparisons.claim(tx, 60.0)) is not None:  # and others that somebody asked for before
                comparisons.finish(tx, taken, comparisons.DONE, found["sentence"], found)
        return made

    def published(self, job_id: str, project: str | None = None, state: State = State.AWAITING) -> str:
        """A publication of the job in the catalog `test` (see `tests.peers.osc.offered`); its id."""
        job = self.job_row(job_id)
        new = New(
            id=new_id(),
            owner=job.owner,
            project=project or job.project,
            target="test",
            kind="git",
            title="Said",
            state=state,
            request=a_request(),
            jobs=(job_id,),
        )
        with self.database.write() as tx:
            return publications.add(tx, new).id

    def log(self, job_id: str, *lines: str, stream: str = "engine") -> None:
        with self.database.write() as tx:
            files.add_logs(tx, job_id, 1, [LogChunk(stream, line) for line in lines])

    def job_row(self, job_id: str) -> Job:
        with self.database.read() as tx:
            return jobs.get(tx, job_id)


@contextmanager
def serve(settings: Settings) -> Iterator[Server]:
    """Run the app under uvicorn, as `broker up` does, until the context ends."""
    app = create_app(settings)
    api = settings.api
    config = serving(app, api, host=api.host, port=api.port, timeout_graceful_shutdown=3)
    server = BrokerServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started or not thread.is_alive(), 20, lambda: "the API does not start")
    assert server.started, "the API ended at its start"
    running = Server(f"http://127.0.0.1:{settings.api.port}", cast(Site, app.state.site))
    running.session.trust_env = False
    try:
        yield running
    finally:
        running.session.close()
        server.should_exit = True
        thread.join(20)
