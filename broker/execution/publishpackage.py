"""Publishes with a repository's own application package: a process that is deployed here, run once for each item.

The package takes three inputs: `product`, a Directory with `item.json` (a STAC item, its assets by the names of files
beside it) and these files; `collection`, the id of a collection; `credentials`, a JSON File with the username and the
password of who publishes. (reg-api's own package takes the two as texts: they would be in the job, on command lines and
in the record of provenance, so it needs a step around it that reads them.) It registers the item; that it has done so
is looked at in the repository afterwards, as after any other way.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from broker.access.principal import Principal, Scope
from broker.access.quota import Quotas
from broker.egress import Egress
from broker.errors import BrokerError, NoSuchProcess, TargetRefused, TargetUnavailable
from broker.execution.accept import CREDENTIAL_SCHEME, STORED_SCHEME, ExecuteRequest, Key, admit, prepare_own
from broker.jobs.model import TERMINAL, Job, Phase, StageItem
from broker.packages.inputs import Order
from broker.results.prr import Place, Prr
from broker.results.target import File, Files, Finding, Json
from broker.storage.signing import S3Account
from broker.store import jobs, processes
from broker.store.database import Database

LOOK_SECONDS = 2.0  # between two looks at the job


class PackageTarget:
    """See `broker.results.target.Target`. `process`: the package, run for `owner` and `project`; `stac`: the read
    interface of the repository; `credential`: what the one that the package logs in with is kept for."""

    kind = "prr-package"

    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        egress: Egress,
        process: str,
        stac: str,
        credential: str,
        owner: str,
        project: str,
        collection: str,
    ) -> None:
        self._database, self._quotas, self._process, self._credential = database, quotas, process, credential
        self._principal = Principal(owner, project, frozenset({Scope.READ, Scope.RUN}))
        self._collection = collection
        # nothing is written there from here: what the package has done is looked at
        self._seen = Prr(egress, Place(stac, stac, collection, "", "", S3Account(None), ""))

    def check(self) -> list[Finding]:
        """See `Target.check`."""
        try:
            with self._database.read() as tx:
                processes.which(tx, self._process, reach=self._principal.reach)
        except NoSuchProcess as missing:
            who = "who deployed the repository's package, and has to share it with everybody"
            return [Finding("error", "target", missing.detail, grants=who)]
        return self._seen.check_collection()

    def plan(self, items: list[Json]) -> Json:
        """See `Target.plan`. Raises TargetRefused for directories: the package would make other archives of them."""
        for planned in items:
            for file in planned["files"].values():
                if file.get("members"):
                    raise TargetRefused(f"{file['path']} is a directory, which {self._process} is not given.")
        return {"target": self.kind, "collection": self._collection, "items": items}

    def step(self, plan: Mapping[str, Any], receipt: Mapping[str, Any] | None, files: Files) -> Json:
        """See `Target.step`. One of: a job started, its end seen, an asset looked at."""
        made: Json = copy.deepcopy(dict(receipt or {"state": "planned", "items": {}}))
        for planned in plan["items"]:
            own = made["items"].setdefault(planned["item"]["id"], {"state": "planned"})
            if own["state"] == "verified":
                continue
            if own["state"] == "registered":
                return self._seen.step(plan, made, files)
            if own["state"] == "planned":
                own |= {"state": "staging", "job": self._started(planned)}
            else:
                self._refuse_unless_done(own["job"])
                own |= {"state": "registered", "files": {}, "assets": {}}
            break
        return made | {"state": "staging"}

    def _started(self, planned: Mapping[str, Any]) -> str:
        """The job for an item: the one that was made, unless that has failed."""
        item, order = planned["item"], self._order(planned)
        request = ExecuteRequest(
            inputs={"collection": self._collection, "product": item["id"]},
            title=f"Publishes {item['id']}"[:200],
            tags=("publication",),
        )
        digest = hashlib.sha256(json.dumps([self._collection, planned], sort_keys=True).encode()).hexdigest()
        for number in range(100):
            key = Key(f"publish-{digest}-{number}", digest)
            with self._database.read() as tx:
                ticket = prepare_own(tx, self._principal, self._process, request, order, key)
            if isinstance(ticket, Job):
                if ticket.phase not in (Phase.FAILED, Phase.DISMISSED):
                    return ticket.id
                continue
            [made] = admit(self._database, [ticket], self._quotas)
            if isinstance(made, Exception):
                raise _later(made)
            return made[0].id
        raise TargetRefused(f"{self._process} has failed too often with the item {item['id']}.")

    def _order(self, planned: Mapping[str, Any]) -> Order:
        files = {href: File.from_json(value) for href, value in planned["files"].items()}
        stage = [StageItem("product/item.json", text=json.dumps(planned["item"]))]
        stage += [
            StageItem(f"product/{href}", f"{STORED_SCHEME}{file.source}", size=file.size, sha256=file.sha256)
            for href, file in files.items()
        ]
        stage.append(StageItem("credentials/credentials.json", f"{CREDENTIAL_SCHEME}{self._credential}"))
        order = {
            "product": {"class": "Directory", "location": "inputs/product"},
            "collection": self._collection,
            "credentials": {"class": "File", "location": "inputs/credentials/credentials.json"},
        }
        return Order(order, tuple(stage))

    def _refuse_unless_done(self, job_id: str) -> None:
        with self._database.read() as tx:
            job = jobs.get(tx, job_id)
        if job.phase not in TERMINAL:
            raise TargetUnavailable(f"{self._process} runs as the job {job_id}.", retry_after=LOOK_SECONDS)
        if job.phase is not Phase.SUCCESSFUL:
            raise TargetRefused(
                f"{self._process} has failed in the job {job_id}: {job.message}",
                hint="Look at its log, then publish again.",
            )


def _later(problem: Exception) -> Exception:
    """A quota that is used up, or a platform that is away, is waited for."""
    return TargetUnavailable(problem.detail, hint=problem.hint) if isinstance(problem, BrokerError) else problem
