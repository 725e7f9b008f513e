"""Publications: asked for, looked at, agreed to, tried again, promoted, taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Reach, Scope
from broker.api import bodies, publicationpages
from broker.api.answers import JSON, Json, link, page_links, representation, time
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import MOST_BYTES
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.site import site_of
from broker.errors import InputError, InputProblem, InvalidParameter
from broker.execution.publishrequest import Asked
from broker.jobs.publication import State
from broker.store import jobs, publications
from broker.store.publications import Event, Publication
from broker.web import HTML

router = guarded("Publications")
PUBLICATIONS = ConformanceClass(router, (), (("/publications", "related", "Your publications"),))
OFFERS = {"json": JSON, "html": HTML}
Check = Annotated[bool, Query(description="Nothing is kept: what is missing, and what would be published.")]
OfJob = Annotated[str | None, Query(alias="job", max_length=64, description="Only of this job.")]
Shown = Annotated[str | None, Query(max_length=64, description="Only this: the digest that came with the diff (ETag).")]
InState = Annotated[str | None, Query(alias="state", max_length=20, description="Only those in this state.")]


@router.post("/jobs/{job_id}/publications", name="jobPublish", status_code=201)
async def publish_job(request: Request, job_id: str, caller: Caller, check: Check = False) -> Response:
    """Publish a successful job: one publication for each target."""
    return await _publish(request, caller, job_id, check)


@router.post("/publications", name="publish", status_code=201)
async def publish(request: Request, caller: Caller, check: Check = False) -> Response:
    """Publish several jobs (`jobs`) as one, a process alone (`process`), or what lies elsewhere (`items`, `access`)."""
    return await _publish(request, caller, None, check)


async def _publish(request: Request, caller: Principal, job_id: str | None, check: bool) -> Response:
    from broker.execution import publish as verbs  # noqa: PLC0415 - in memory where somebody publishes

    asked = await _asked(request, caller, job_id)
    site = site_of(request)
    if check:
        drafted = await site.rows.slow(verbs.check, site.broker.desk, caller, asked)
        return Json(drafted.to_json())
    made = await site.rows.slow(verbs.request, site.broker.desk, caller, asked)
    base = site.base(request)
    found = [document(one, base) for one in made]
    return Json({"publications": found}, 201, {"Location": f"{base}/publications/{made[0].id}"})


async def _asked(request: Request, caller: Principal, job_id: str | None) -> Asked:
    """Raises NoSuchJob before anything is said of the body."""
    caller.need(Scope.PUBLISH)
    site = site_of(request)
    if job_id is not None:
        await site.rows.read(jobs.get_to_change, job_id, caller.reach)
    body, _ = await bodies.parsed_object(request, site.settings.limits.document_bytes)
    return Asked.of(body, job_id)


@router.post("/jobs/{job_id}/publications/bundle", name="jobPublicationBundle")
async def job_bundle(request: Request, job_id: str, caller: Caller) -> Response:
    """What is to be published as a zip for who does it by hand, of the first target: for a catalog all files and the
    diff, for a repository the collection that has to be made there first."""
    from broker.execution.publishbundle import bundle_of  # noqa: PLC0415

    site = site_of(request)
    asked = await _asked(request, caller, job_id)
    return _zip(*await site.rows.slow(bundle_of, site.broker.desk, caller, asked))


@router.get("/publications", name="publications")
async def listing(
    request: Request,
    caller: Caller,
    job: OfJob = None,
    state: InState = None,
    limit: Limit = None,
    cursor: Cursor = None,
    f: Representation = None,
) -> Response:
    """The publications that one sees, newest first."""
    chosen = representation(request, OFFERS)
    if state is not None and state not in list(State):
        raise InvalidParameter(InputProblem("state", f"is none of {', '.join(State)}"))
    site = site_of(request)
    count = size(limit, site.settings.api.page)
    found = await site.rows.read(
        publications.page, caller.reach, limit=count + 1, before=cursor, job_id=job, state=state
    )
    shown, base = found[:count], site.base(request)
    following = {"cursor": shown[-1].id, "limit": str(count)} if len(found) > count else None
    links = page_links(base, "/publications", request, following, "This list")
    if chosen == "html":
        return publicationpages.listing(request, shown, links)
    return Json({"publications": [document(one, base) for one in shown], "links": links})


@router.get("/publications/{publication_id}", name="publication")
async def one(request: Request, publication_id: str, caller: Caller, f: Representation = None) -> Response:
    """A publication: its state, its receipt, and what happened."""
    chosen = representation(request, OFFERS)
    site = site_of(request)
    found, events, linked = await site.rows.read(with_events, publication_id, caller.reach)
    if chosen == "html":
        return await publicationpages.shown(request, caller, found, events, linked, addresses(found))
    return Json(document(found, site.base(request), events, linked))


def with_events(
    tx: Connection, publication_id: str, reach: Reach
) -> tuple[Publication, list[Event], dict[str, list[str]]]:
    """A publication, what happened to it, and those that name it."""
    found = publications.get(tx, publication_id, reach)
    return found, publications.events(tx, publication_id), publications.linked(tx, publication_id, reach)


@router.get("/publications/{publication_id}/diff", name="publicationDiff")
async def diff(request: Request, publication_id: str, caller: Caller) -> Response:
    """What a catalog's publication still changes there, as a unified diff. Of what waits for agreement, `ETag` is the
    digest to agree to (`?shown=`)."""
    from broker.execution import publishbundle  # noqa: PLC0415

    site = site_of(request)
    text, digest = await site.rows.slow(publishbundle.shown, site.broker.desk, caller, publication_id)
    return Response(text, media_type="text/plain", headers={"ETag": f'"{digest}"'} if digest else None)


@router.get("/publications/{publication_id}/bundle", name="publicationBundle")
async def bundle(request: Request, publication_id: str, caller: Caller) -> Response:
    """A zip for who does it by hand: of a catalog's publication all files and the diff, of a repository's the
    collection, its items and the letter that asks for it."""
    from broker.execution import publishbundle  # noqa: PLC0415

    site = site_of(request)
    return _zip(*await site.rows.slow(publishbundle.bundle, site.broker.desk, caller, publication_id))


def _zip(name: str, body: bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=headers, media_type="application/zip")


# ---- what people decide


@router.post("/publications/{publication_id}/approve", name="publicationApprove")
async def approve(request: Request, publication_id: str, caller: Caller, shown: Shown = None) -> Response:
    """Agree to a publication that waits for it, and to nothing but what it brings now."""
    return await _act(request, caller, publication_id, "approve", shown)


@router.post("/publications/{publication_id}/reject", name="publicationReject")
async def reject(request: Request, publication_id: str, caller: Caller) -> Response:
    """Refuse a publication that waits for agreement. {reason: what its owner reads}"""
    await _seen(request, caller, publication_id)
    given, _ = await bodies.parsed_object(request, MOST_BYTES)
    reason = given.get("reason")
    if not isinstance(reason, str):
        raise InputError(InputProblem("/reason", "is missing: what the owner reads"))
    return await _act(request, caller, publication_id, "reject", reason)


@router.post("/publications/{publication_id}/retry", name="publicationRetry")
async def retry(request: Request, publication_id: str, caller: Caller) -> Response:
    """Try a failed publication again, or do at once what is only due later."""
    return await _act(request, caller, publication_id, "retry")


@router.post("/publications/{publication_id}/promote", name="publicationPromote", status_code=201)
async def promote(request: Request, publication_id: str, caller: Caller) -> Response:
    """Publish in the live catalog what is proposed in its test catalog: a new publication."""
    return await _act(request, caller, publication_id, "promote", status=201)


@router.delete("/publications/{publication_id}", name="publicationWithdraw")
async def withdraw(request: Request, publication_id: str, caller: Caller) -> Response:
    """Take a publication back: at once before anything was sent, else as soon as the target answers."""
    return await _act(request, caller, publication_id, "withdraw")


async def _act(
    request: Request, caller: Principal, publication_id: str, verb: str, *words: str | None, status: int = 200
) -> Response:
    from broker.execution import publish as verbs  # noqa: PLC0415

    await _seen(request, caller, publication_id)
    site = site_of(request)
    act: Callable[..., Publication] = getattr(verbs, verb)
    done = await site.rows.slow(act, site.broker.desk, caller, publication_id, *words)
    base = site.base(request)
    return Json(document(done, base), status, {"Location": f"{base}/publications/{done.id}"} if status == 201 else None)


async def _seen(request: Request, caller: Principal, publication_id: str) -> None:
    """What one does not see does not exist, whatever is said of it."""
    await site_of(request).rows.read(publications.get, publication_id, caller.reach)


# ---- documents


def document(
    found: Publication,
    base: str,
    events: list[Event] | None = None,
    linked: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """A publication as JSON; without its plan, which only the broker reads."""
    here = f"{base}/publications/{found.id}"
    names = ("id", "target", "kind", "title", "message", "owner", "project", "after", "previous", "promotes")
    full: dict[str, Any] = {name: getattr(found, name) for name in names}
    full |= {
        "state": found.state.value,
        "jobs": list(found.jobs),
        "process": found.process_id and {"id": found.process_id, "revision": found.process_revision},
        "withdrawing": found.withdraw or None,
        "tries": found.tries or None,
        "due": None if found.due_at is None else time(found.due_at),
        "created": time(found.created),
        "updated": time(found.updated),
        "request": dict(found.request),
        "receipt": found.receipt,
    }
    if linked is not None:
        full |= {name: linked.get(kind) for name, kind in LINKED.items()}
    if events is not None:
        full["events"] = [
            {"at": time(one.at), "state": one.state, "message": one.message} | ({"by": one.actor} if one.actor else {})
            for one in events
        ]
    links = [link(here, "self", "This publication")]
    links += [link(f"{base}/jobs/{job}", "related", "A job that it publishes") for job in found.jobs]
    links += [link(address, "item", title) for title, address in addresses(found)]
    return {name: value for name, value in full.items() if value is not None} | {"links": links}


LINKED = {"builtOnBy": "after", "correctedBy": "previous", "promotedTo": "promotes"}


def addresses(found: Publication) -> list[tuple[str, str]]:
    """(what it is, address) of what a target has of it: items, the pull request, the records once they are live. They
    become links, and the target is a stranger: only addresses of the web."""
    receipt = found.receipt or {}
    items = (receipt.get("items") or {}).items()
    made = [(f"Item {name}", one["href"]) for name, one in items if one.get("href")]
    made += [("Pull request", receipt["href"])] if receipt.get("href") else []
    made += [("Record", address) for address in receipt.get("live") or ()]
    return [(what, address) for what, address in made if str(address).startswith(("https://", "http://"))]
