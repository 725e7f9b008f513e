"""A small world that publishes: a job that ended well, targets that are real servers, and the broker's steps.

press = Press(database, tmp_path, egress, {"osc": {"kind": "git", ...}}, [Secret(...)])
job = press.job()                          # a run that made STAC, with an input that was sent along
made = press.ask(job, target="osc")
press.until(made[0], State.PROPOSED)
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import update

from broker.access.credential import Secret
from broker.access.principal import Principal, Scope
from broker.access.vault import KeyFile, Vault
from broker.egress import Egress
from broker.execution import credentials, publish
from broker.execution.collect import key, media_type
from broker.execution.publishdesk import Desk
from broker.execution.publishers import Publishers
from broker.execution.publishrequest import Asked
from broker.execution.publishstep import step
from broker.execution.quotas import Ledger
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase, StageItem
from broker.jobs.publication import State
from broker.packages.bundle import Bundle
from broker.platform import LogChunk, OutputFile
from broker.results.configuration import Publishing
from broker.storage.local import LocalStorage
from broker.store import claims, ended, files, processes, publicationclaims, publications
from broker.store.database import Database
from broker.store.files import KeptFile
from broker.store.publications import Publication
from broker.store.result_tables import publications as table
from broker.store.tables import now
from tests.unit.store.rows import job_row, process_row

ADA = Principal("ada", "ada", frozenset({Scope.READ, Scope.RUN, Scope.DEPLOY, Scope.PUBLISH}))
BOB = Principal("bob", "bob", ADA.scopes)
ROOT = Principal("root", "root", frozenset(Scope))
PACKAGE = "cwlVersion: v1.2\nclass: CommandLineTool\n"
POINTS = b"a,b\n1,2\n"
ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "points",
    "geometry": {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]},
    "bbox": [10, 50, 11, 51],
    "properties": {"datetime": "2026-05-01T00:00:00Z", "title": "Points"},
    "links": [],
    "assets": {"points": {"href": "points.csv", "roles": ["data"], "type": "text/csv"}},
}
OUTPUTS = {"points/points.json": json.dumps(ITEM).encode(), "points/points.csv": POINTS}
REQUEST: dict[str, Any] = {
    "project": "fairsendd",
    "themes": ["land"],
    "variables": ["cropland-mask"],
    "missions": ["sentinel-2"],
    "licence": "CC-BY-4.0",
    "description": "Points that a test has found.",
    "title": "Points",
}


class Press:
    """`desk`: what publishing works with; people are ADA (whose everything is), BOB and ROOT (an operator)."""

    def __init__(
        self,
        database: Database,
        place: Path,
        egress: Egress,
        targets: dict[str, Any],
        secrets: Iterable[Secret] = (),
        **settings: Any,
    ) -> None:
        self.vault, self.egress = Vault(KeyFile(place / "secrets.key")), egress
        self.database, self.storage = database, LocalStorage(place / "files")
        for secret in secrets:
            credentials.keep(database, self.vault, ADA, secret.kind.value, secret)
        self.offering(targets, **settings)
        self.bundle = Bundle.make("package.cwl", {"package.cwl": PACKAGE}, {})
        with database.write() as tx:
            inspection = {"process": {"inputs": [], "outputs": []}, "steps": []}
            processes.keep_package(tx, self.bundle.digest, self.bundle.to_json(), inspection)
        source = {"license": "Apache-2.0", "authors": [{"name": "Bo"}], "repository": "https://git.example/points"}
        summary = {"id": "points", "title": "Find points", "description": "Finds points.", "keywords": ["points"]}
        process_row(database, "points", self.bundle.digest, owner="ada", project="ada", summary=summary, source=source)

    def offering(self, targets: dict[str, Any], **settings: Any) -> None:
        """What the operator offers from now on."""
        given = Publishing.model_validate({"targets": targets, **settings})
        publishers = Publishers(given, self.database, self.vault, self.egress, Ledger(self.database))
        home = "https://broker.example.org"
        self.desk = Desk(self.database, self.storage, publishers, self.egress, _nobody_looks, home, 0.0)

    def job(self, outputs: dict[str, bytes] | None = None, **fields: Any) -> Job:
        """One that ended well, with an input that nobody else has."""
        job = self.waiting(**fields)
        return self.succeed(job, OUTPUTS if outputs is None else outputs)

    def waiting(self, **fields: Any) -> Job:
        values = {
            "owner": "ada",
            "process_id": "points",
            "job_order": {"seeds": {"class": "File", "location": "inputs/seeds.txt"}, "count": 2},
            "stage": (StageItem("seeds.txt", text="7\n"),),
        }
        return job_row(self.database, **{**values, **fields})

    def succeed(self, job: Job, outputs: dict[str, bytes], phase: Phase = Phase.SUCCESSFUL) -> Job:
        for path, data in outputs.items():
            self.storage.keep(key(job, 1, path), io.BytesIO(data))
        moved = [
            KeptFile(path, 1, path, True, len(data), media_type(path), hashlib.sha256(data).hexdigest())
            for path, data in outputs.items()
        ]
        said = {"found": {"class": "Directory", "location": "points"}}
        with self.database.write() as tx:
            files.announce(tx, job.id, 1, [OutputFile(path, path) for path in outputs])
            files.kept(tx, job.id, moved)
            files.add_logs(tx, job.id, 1, [LogChunk("main", "found 1\n")])
            (held,) = claims.claim(tx, [job.id], [job.phase], "w")
            held = claims.save(tx, held, Change("submitting", Phase.SUBMITTING), hold=True)
            held = claims.save(tx, held, Change("submitted", Phase.SUBMITTED), hold=True)
            held = claims.save(tx, held, Change("collecting", Phase.COLLECTING, outputs=said), hold=True)
            return claims.save(tx, held, Change(phase.value, phase))

    def ask(self, *wanted: Job, who: Principal = ADA, **body: Any) -> list[Publication]:
        """What one asks with; `REQUEST` unless said otherwise."""
        asked = Asked.of({**REQUEST, "jobs": [job.id for job in wanted], **body})
        return publish.request(self.desk, who, asked)

    def get(self, one: Publication) -> Publication:
        with self.database.read() as tx:
            return publications.get(tx, one.id)

    def said(self, one: Publication) -> list[tuple[str, str]]:
        """(state, message) of what happened."""
        with self.database.read() as tx:
            return [(event.state, event.message) for event in publications.events(tx, one.id)]

    def later(self) -> None:
        """What is due some time is due now; who held it died."""
        with self.database.write() as tx:
            tx.execute(update(table).where(table.c.due_at.is_not(None)).values(due_at=now() - 1, lease_until=None))

    def turn(self) -> list[Publication]:
        """One step of all that is due; what somebody else has by then is left out."""
        with self.database.write() as tx:
            taken = publicationclaims.claim(tx, 10)
        return [done for one in taken if (done := step(self.desk, one)) is not None]

    def until(self, one: Publication, *states: State, most: int = 60) -> Publication:
        """Steps until it is in one of the states; a killed step is taken up again."""
        for _ in range(most):
            found = self.get(one)
            if found.state in states:
                return found
            self.later()
            self.turn()
        raise AssertionError((found.state, found.message, self.said(one)))

    def held(self, job: Job) -> list[str]:
        with self.database.read() as tx:
            return ended.held(tx, job.id)


def _nobody_looks(kind: str, head: bytes) -> dict[str, Any]:
    raise AssertionError(f"nothing here is a {kind}")
