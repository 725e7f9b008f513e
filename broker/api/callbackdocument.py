"""What a subscriber is sent: the results of a job that succeeded, else its status (Part 1, callbacks)."""

from __future__ import annotations

from dataclasses import replace

import orjson

from broker.api.outputs import located
from broker.api.resultdocument import document
from broker.api.status import status_info
from broker.bootstrap import Broker
from broker.execution.notify import Document
from broker.jobs.model import Job, Phase, Progress
from broker.store import files, jobs
from broker.store.callbacks import SUCCESS, Callback


def documents(broker: Broker) -> Document:
    """How to make the body of a delivery: results.yaml, or statusInfo.yaml (also where the results were deleted before
    they could be sent). Raises StorageError."""

    def body(job: Job, told: Callback) -> bytes:
        base = (job.subscriber or {}).get("base", broker.settings.public_url)
        if told.kind == SUCCESS and job.swept is None:
            with broker.database.read() as tx:
                whole, kept = jobs.get(tx, job.id), files.of_job(tx, job.id)
            return orjson.dumps(document(broker.storage, whole, located(whole, kept, base)))
        return orjson.dumps(status_info(_as_seen(job, told), base))

    return body


def _as_seen(job: Job, told: Callback) -> Job:
    """The job as it was when there was something to tell."""
    seen = told.seen
    if seen is None:
        return job
    done, total = seen["progress_done"], seen["progress_total"]
    return replace(
        job,
        phase=Phase(seen["phase"]),
        message=seen["message"],
        progress=None if done is None else Progress(done, total),
        attempt=seen["attempt"],
        started=seen["started"],
        updated=seen["updated"],
        finished=None,
        failure=None,
        dismiss_requested=False,
    )
