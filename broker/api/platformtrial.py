"""The trial of a platform: a real job that runs there from its inputs to its results, as the check begins it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.api.executerequest import execute_request
from broker.api.site import Site
from broker.execution import deploy as deploying
from broker.execution import operate
from broker.execution.accept import Ticket, prepare
from broker.jobs.model import Job
from broker.store import jobs, tables

TAG = "platform-check"
SHOWN = 5
DAYS = 30


async def begin(site: Site, caller: Principal, name: str) -> Job:
    """Start a job that tries a platform. A package that has to be deployed for it is undeployed at once: the job goes
    on with all it needs.

    Raises Forbidden, and all that `operate.trial`, deploying and executing raise.
    """
    caller.need(Scope.RUN)
    trial = await site.rows.slow(operate.trial, site.broker.database, site.broker.fleet, name)
    process, ours = await site.rows.slow(_process, site, caller, trial)
    body = {"inputs": trial["inputs"], "platform": name, "title": f"Check of {name}", "tags": [TAG]}
    try:
        wanted = execute_request(body)
        ticket = await site.rows.read_long(prepare, caller, process, wanted, upload_id=site.upload_id)
        job, _ = await site.rows.admit(ticket) if isinstance(ticket, Ticket) else (ticket, False)
    finally:
        if ours:
            await site.rows.quick(deploying.undeploy, site.broker.database, caller, process)
    site.relay.wake()
    return job


def _process(site: Site, caller: Principal, trial: Mapping[str, Any]) -> tuple[str, bool]:
    """(the process of a trial, whether it was deployed for this)."""
    if "process" in trial:
        return trial["process"], False
    broker = site.broker
    package, inspection = broker.read_package(trial["package"].encode(), trial["mediaType"], None)
    new = f"check-{secrets.token_hex(6)}"  # what two check at once is not one process, which the first would undeploy
    deploying.deploy(broker.database, caller, package, lambda _: inspection, images=broker.images, process_id=new)
    return new, True


def latest(tx: Connection, name: str, caller: Principal) -> Sequence[Job]:
    """The caller's last trials of a platform, the newest first."""
    wanted = jobs.Filter(
        owner=caller.owner,
        created_after=time.time() - DAYS * 24 * 3600,
        tags=(TAG,),
        extra=(tables.jobs.c.platform == name,),
    )
    return jobs.page(tx, wanted, limit=SHOWN)
