"""Jobs as OGC status documents (statusInfo.yaml), with what is ours beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.access.quota import WAITS
from broker.api.answers import OGC, link, sharing, time
from broker.jobs import lifecycle
from broker.jobs.model import Job, Phase
from broker.store.children import Shown

WAITING = "Waiting for "
HAS_PROVENANCE = "http://www.w3.org/ns/prov#has_provenance"


def status_info(
    job: Job,
    base: str,
    *,
    position: int | None = None,
    children: Sequence[Shown] = (),
    trouble: str | None = None,
) -> dict[str, Any]:
    """`position`: in the line of its platform, from 1; None where that is not known or no longer matters. `children`:
    the jobs that run steps of it on other platforms. `trouble`: with its platform, instead of the job's own message.
    `account`, where it ran in a person's own account at the platform: whose."""
    here = f"{base}/jobs/{job.id}"
    full: dict[str, Any] = {
        "jobID": job.id,
        "processID": job.process_id,
        "type": "process",
        "status": lifecycle.status(job.phase, job.dismiss_requested),
        "message": trouble or job.message,
        "created": time(job.created),
        "updated": time(job.updated),
        "phase": job.phase.value,
        "platform": job.platform,
        "attempt": job.attempt,
        "revision": job.process_revision,
        "title": job.title,
        "tags": job.tags,
        "project": job.project,
        **sharing(job.shared, job.shared_with),
    }
    if job.started is not None:
        full["started"] = time(job.started)
    if job.finished is not None:
        full["finished"] = time(job.finished)
    account = job.account and {"person": job.owner}
    told = {"placement": job.placement, "account": account, "reusedFrom": job.reused, "reproduces": job.reproduces}
    full |= {name: value for name, value in told.items() if value is not None}
    if job.swept is not None:
        full["resultsDeleted"] = time(job.swept)
    _progress(full, job)
    if position is not None:
        full["queue"] = {"position": position}
        for waiting in (WAITING, WAITS):
            if job.message.startswith(waiting):
                full["queue"]["waitingFor"] = job.message.removeprefix(waiting)
    if job.failure is not None and job.phase is Phase.FAILED:
        full["failure"] = job.failure.to_json()
    full["links"] = _links(job, here, base)
    if children:
        full["children"] = [_child(one) for one in children]
        full["links"] += [link(f"{base}/jobs/{one.id}", "child", f"{one.step} on {one.platform}") for one in children]
    return full


def _child(child: Shown) -> dict[str, Any]:
    return {
        "jobID": child.id,
        "step": child.step,
        "platform": child.platform,
        "status": lifecycle.status(child.phase, child.dismiss_requested),
    }


def _progress(full: dict[str, Any], job: Job) -> None:
    """Percent only where it is known: nothing is better than a made-up number."""
    if job.progress is not None:
        full["steps"] = {"done": job.progress.done, "total": job.progress.total}
    if job.phase is Phase.SUCCESSFUL:
        full["progress"] = 100
    elif job.progress is not None and job.progress.percent is not None:
        full["progress"] = min(job.progress.percent, 99)


def _links(job: Job, here: str, base: str) -> list[dict[str, str]]:
    links = [link(here, "self", "This status")]
    if job.phase is Phase.SUCCESSFUL and job.swept is None:
        links.append(link(f"{here}/results", OGC + "results", "Results"))
        links.append(link(f"{here}/files", "related", "Output files"))
    elif job.phase is Phase.FAILED:
        links.append(link(f"{here}/results", OGC + "exceptions", "Why it failed", "application/problem+json"))
    elif not job.terminal:
        links.append(link(here, "monitor", "Status while it runs"))
    if job.terminal:
        links.append(link(f"{here}/prov", HAS_PROVENANCE, "Where the results come from"))
    links.append(link(f"{here}/logs", "related", "Logs", "text/plain"))
    if job.subscriber is not None:
        links.append(link(f"{here}/callbacks", "related", "Whom it tells, and what became of that"))
    described = f"{base}/processes/{job.process_id}?revision={job.process_revision}"
    links.append(link(described, "describedby", "The process as it was run"))
    if job.parent is not None:
        links.append(link(f"{base}/jobs/{job.parent}", "up", "The job of which it runs a step"))
    return links
