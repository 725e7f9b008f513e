"""Rows that tests of the store and of execution start from."""

from __future__ import annotations

from typing import Any

from broker.jobs.model import Capabilities, Job, Needs
from broker.platform import Health
from broker.store import jobs, platforms, processes
from broker.store.database import Database, new_id

PLATFORM = "scripted"


def platform_row(database: Database, name: str = PLATFORM, **offer: Any) -> Capabilities:
    """A platform as if it had just been checked."""
    capabilities = Capabilities(**({"cores": 2.0, "ram_mib": 4096} | offer))
    with database.write() as tx:
        platforms.checked(tx, name, "scripted", 0, Health(True, capabilities))
    return capabilities


def process_row(database: Database, process_id: str = "p", digest: str = "d1", **fields: Any) -> processes.Process:
    values: dict[str, Any] = {
        "id": process_id,
        "owner": "local",
        "project": "local",
        "version": "1",
        "kind": "cwl",
        "digest": digest,
        "body": b"cwlVersion: v1.2",
        "media_type": "application/cwl",
        "summary": {"id": process_id},
        "description": {"id": process_id, "inputs": {}, "outputs": {"out": {}}},
        "needs": Needs(),
    }
    new = processes.NewProcess(**(values | fields))
    with database.write() as tx:
        processes.keep_package(tx, digest, {"kind": "cwl"}, {"process": {}})
        return processes.add(tx, new)


def job_row(database: Database, owner: str = "local", platform: str = PLATFORM, **fields: Any) -> Job:
    """An accepted job."""
    values: dict[str, Any] = {
        "id": new_id(),
        "owner": owner,
        "project": owner,
        "process_id": "p",
        "process_revision": 1,
        "platform": platform,
        "title": "",
        "tags": (),
        "request": {},
        "job_order": {},
        "stage": (),
        "needs": Needs(),
    }
    with database.write() as tx:
        return jobs.insert_jobs(tx, [jobs.NewJob(**(values | fields))])[0]
