"""Callbacks: what became of those of a job, once more what was given up, and the secret that signs one's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Reach
from broker.api import answers, bodies
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import PART1, ConformanceClass, guarded
from broker.api.forms import MOST_BYTES, done, is_form
from broker.api.jobpages import to_part
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.egress import shown
from broker.execution import callbacksecret, notify
from broker.execution.callbacksecret import CallbackSecret
from broker.store import callbacks, jobs
from broker.store.callbacks import OPEN, Callback
from broker.web import HTML, page

router = guarded("Callbacks")
CALLBACKS = ConformanceClass(router, (PART1 + "callback",))


@router.get("/jobs/{job_id}/callbacks", name="jobCallbacks")
async def of_job(request: Request, job_id: str, caller: Caller, f: Representation = None) -> Response:
    """What the subscriber of a job was told, and what is still to be delivered, in order."""
    if representation(request, {"json": JSON, "html": HTML}) == "html":
        return to_part(request, job_id, "callbacks")
    site = site_of(request)
    return Json(await site.rows.read(_of_job, caller.reach, job_id, site.base(request)))


@router.post("/jobs/{job_id}/callbacks", name="jobCallbacksAgain")
async def again(request: Request, job_id: str, caller: Caller) -> Response:
    """Deliver once more what was given up."""
    site = site_of(request)
    await site.rows.quick(notify.again, site.broker.database, caller, job_id)
    return Json(await site.rows.read(_of_job, caller.reach, job_id, site.base(request)))


def _of_job(tx: Connection, reach: Reach, job_id: str, base: str) -> dict[str, Any]:
    jobs.get_light(tx, job_id, reach)
    found = callbacks.of_job(tx, job_id)
    here = f"{base}/jobs/{job_id}"
    links = [link(f"{here}/callbacks", "self", "This list"), link(here, "up", "The job")]
    return {"callbacks": [document(one) for one in found], "links": links}


def document(one: Callback) -> dict[str, Any]:
    """A delivery without the query of its address, which may be a secret between the two."""
    waits = one.state in OPEN
    full = {
        "id": f"{one.job_id}-{one.id}",
        "kind": one.kind,
        "uri": shown(one.uri),
        "state": one.state,
        "tries": one.tries,
        "created": answers.time(one.created),
        "updated": answers.time(one.updated),
        "due": answers.time(one.due_at) if waits and one.lease_until is None else None,
        "status": one.status,
        "message": one.message or None,
    }
    return {name: value for name, value in full.items() if value is not None}


@router.get("/callbacks/secret", name="callbackSecret")
async def secret(request: Request, caller: Caller, f: Representation = None) -> Response:
    """The secret that signs the callbacks of one's own jobs (Standard Webhooks)."""
    kind = representation(request, {"json": JSON, "html": HTML})
    found = await _secret(request, caller, callbacksecret.shown)
    if kind == "html":
        return page(request, "callbacksecret.html", title="Callback secret", found=found)
    return Json(_document(found))


@router.post("/callbacks/secret", name="changeCallbackSecret")
async def change(request: Request, caller: Caller) -> Response:
    """A new secret; for a day the old one signs as well."""
    await bodies.read(request, MOST_BYTES)  # nothing is asked of it but that it is small
    found = await _secret(request, caller, callbacksecret.change)
    return (
        done(f"{site_of(request).base(request)}/callbacks/secret?f=html")
        if is_form(request)
        else Json(_document(found))
    )


async def _secret(request: Request, caller: Principal, do: Any) -> CallbackSecret:
    site = site_of(request)
    found: CallbackSecret = await site.rows.quick(do, site.broker.database, site.broker.vault, caller)
    return found


def _document(found: CallbackSecret) -> dict[str, str]:
    document = {"secret": found.secret, "before": found.before, "changed": answers.time(found.changed)}
    return {key: value for key, value in document.items() if value is not None}
