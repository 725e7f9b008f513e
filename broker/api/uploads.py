"""Uploads: bytes that a client sends before a job refers to them; resumable, with quota and expiry.

A whole body of POST goes straight to its place; those of PATCH are kept as slices until the last one has come.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote, unquote

from fastapi import Query
from sqlalchemy import Connection
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.access.quota import Quotas
from broker.api import answers, bodies, slices, uploadpages
from broker.api.answers import JSON, Json, link, page_links, prefers_html, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, mendable
from broker.api.listed import OfProject, Owner, Public, listed
from broker.api.multipart import MULTIPART, form_of
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.problems import BodyTooLarge
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem, InvalidParameter, UploadConflict
from broker.execution.quotas import Places
from broker.execution.retention import remove
from broker.store import audit, leases, removals, uploads
from broker.store.database import new_id
from broker.store.uploads import Upload
from broker.web import HTML

router = guarded("Uploads")
UPLOADS = ConformanceClass(router)
OFFERS = {"json": JSON, "html": HTML}
OCTETS = "application/octet-stream"
LEASE_SECONDS = 30.0  # how long a killed server holds up an upload
RENEW_SECONDS = 10.0
Name = Annotated[str | None, Query(max_length=255, description="File name that the package sees.")]


@router.post("/uploads", name="upload", status_code=201)
async def create(request: Request, caller: Caller, name: Name = None) -> Response:
    """Upload a file whole, or (with Upload-Length or without a body) begin one that PATCH fills."""
    caller.need(Scope.RUN)
    if bodies.media_type(request) == MULTIPART:
        return await _create_by_form(request, caller)
    site = site_of(request)
    announced = _count(request, "upload-length")
    body = _count(request, "content-length")
    # a Content-Type tells an empty file from no body at all
    given = body or request.headers.get("transfer-encoding") or "content-type" in request.headers
    whole = announced is None and bool(given)
    bound = site.settings.uploads.max_bytes
    if (announced or 0) > bound:
        raise BodyTooLarge(f"An upload may have {bound} bytes at most.")
    if whole:
        bodies.refuse_longer(request, bound)
    upload = await site.rows.quick(
        _open, site, caller, _name(request, name), _type(request), body if whole else announced
    )
    if whole or announced == 0:
        upload = await _receive_whole(request.stream(), site, upload)
    base = site.base(request)
    headers = {"Location": f"{base}/uploads/{upload.id}", "Upload-Offset": str(upload.received)}
    return Json(_document(upload, base), 201, headers)


async def _create_by_form(request: Request, caller: Principal) -> Response:
    """The file of the page's form; an answer for programs that send one too (`curl -F file=@scene.tif`)."""
    site = site_of(request)
    sent = await form_of(request)
    try:
        while (part := await sent.part()) is not None and not part.filename:
            pass
        if part is None or not part.filename:
            raise InputError(InputProblem("/file", "choose a file"))
        upload = await receive(site, caller, part.filename, part.media_type, sent.chunks())
    except BrokerError as refused:
        status = mendable(request, refused)
        found, links = await _listed(request, caller, None, False, None, None, None)
        return await uploadpages.listing(request, caller, found, links, refused=refused, status=status)
    base = site.base(request)
    here = f"{base}/uploads/{upload.id}"
    if prefers_html(request):
        return done(f"{here}?f=html")
    return Json(_document(upload, base), 201, {"Location": here, "Upload-Offset": str(upload.received)})


def _open(site: Site, caller: Principal, name: str, media_type: str, length: int | None) -> Upload:
    rules = site.settings.uploads
    tenant = (caller.owner, caller.project, caller.delegate)
    days = site.broker.quotas.now().days("uploads_days", *tenant)
    with site.broker.database.write() as tx:
        _refuse_over_quota(tx, site, tenant, 1 if length is None else length)
        upload = uploads.open_upload(
            tx,
            new_id(),
            caller.owner,
            caller.project,
            name,
            media_type,
            length,
            min(rules.ttl_hours, math.inf if days is None else 24.0 * days) * 3600.0,
            rules.quota_bytes,
            caller.delegate,
        )
        audit.record(tx, audit.entry(caller, "upload", f"upload/{upload.id}"))
        return upload


def _refuse_over_quota(tx: Connection, site: Site, tenant: tuple[str, str, str | None], more: int) -> None:
    """Raise QuotaExceeded where so many more bytes are too many, in the transaction that keeps account of them."""
    refused = Places(tx, site.broker.quotas.now(), [tenant]).refuse_bytes(*tenant, more)
    if refused is not None:
        raise refused


async def receive(site: Site, caller: Principal, name: str, media_type: str, stream: AsyncIterator[bytes]) -> Upload:
    """The upload of a file that a form brings. Raises InvalidParameter (its name), BodyTooLarge, QuotaExceeded."""
    caller.need(Scope.RUN)
    upload = await site.rows.quick(_open, site, caller, _file_name(name), _media_type(media_type), None)
    return await _receive_whole(stream, site, upload)


async def _receive_whole(stream: AsyncIterator[bytes], site: Site, upload: Upload) -> Upload:
    source = bodies.Incoming(stream, await _room(site, upload))
    try:
        return await site.rows.arrive(upload.owner, _keep_whole, site, upload, source.buffered())
    except (BrokerError, ClientDisconnect):
        await site.rows.slow(_remove, site, upload)
        raise


async def _room(site: Site, upload: Upload) -> int:
    """How many bytes may still come: of its announced size, of the bound, and of the owner's quota."""
    rules = site.settings.uploads
    if upload.size is not None:
        return upload.size - upload.received
    held = await site.rows.read(uploads.held, upload.owner)
    bounds = [rules.max_bytes - upload.received, rules.quota_bytes - held]
    if (quotas := site.broker.quotas.now()) and (left := await site.rows.read(_left, quotas, upload)) is not None:
        bounds.append(left)
    return max(0, min(bounds))


def _left(tx: Connection, quotas: Quotas, upload: Upload) -> int | None:
    return Places(tx, quotas, [upload.tenant]).bytes_left(*upload.tenant)


def _keep_whole(site: Site, upload: Upload, source: BinaryIO) -> Upload:
    kept = site.broker.storage.keep(uploads.key(upload), source, media_type=upload.media_type)
    with site.broker.database.write() as tx:
        if upload.size is None:  # what was announced is counted already; others may have come at the same time
            _refuse_over_quota(tx, site, upload.tenant, kept.size)
        return uploads.complete(tx, upload, kept.size, kept.sha256)


@router.patch("/uploads/{upload_id}", name="uploadAppend")
async def append(request: Request, upload_id: str, caller: Caller) -> Response:
    """Append at Upload-Offset. The upload is complete at its announced length, or with `Upload-Complete: ?1`."""
    caller.need(Scope.RUN)
    site = site_of(request)
    upload = await site.rows.read(uploads.get_to_change, upload_id, caller.reach)
    offset = _count(request, "upload-offset")
    if offset is None:
        raise InvalidParameter(InputProblem("Upload-Offset", "is missing: say where these bytes belong"))
    holder = new_id()
    await site.rows.quick(_hold, site, upload, holder)
    try:
        # read again: the row may have moved on before this request held the upload
        upload = await site.rows.read(uploads.get_to_change, upload_id, caller.reach)
        _refuse_wrong_offset(upload, offset)
        bodies.refuse_longer(request, room := await _room(site, upload))
        source = bodies.Incoming(request.stream(), room, lenient=True, seen=_renewing(site, upload, holder))
        await site.rows.arrive(upload.owner, _keep_slice, site, upload, source)
        upload = await site.rows.read(uploads.get, upload_id, caller.reach)
        last = request.headers.get("upload-complete", "").strip() == "?1" and not source.cut
        if upload.received == upload.size or (last and upload.size is None):
            upload = await site.rows.slow(_compose, site, upload, holder)
    finally:
        await site.rows.quick(_let_go, site, upload, holder)
    return Json(_document(upload, site.base(request)), headers={"Upload-Offset": str(upload.received)})


def _refuse_wrong_offset(upload: Upload, offset: int) -> None:
    if upload.complete:
        raise UploadConflict("The upload is complete already.", hint="Make a new one with POST /uploads.")
    if offset != upload.received:
        raise UploadConflict(
            f"The upload has {upload.received} bytes, so that nothing can be appended at {offset}.",
            hint=f"Go on with Upload-Offset: {upload.received}.",
        )


def _lease(upload: Upload) -> str:
    return f"upload:{upload.id}"


def _hold(site: Site, upload: Upload, holder: str) -> None:
    with site.broker.database.write() as tx:
        if not leases.hold(tx, _lease(upload), holder, LEASE_SECONDS):
            raise UploadConflict("Another request is writing to this upload.", hint="Try again in some seconds.")


def _let_go(site: Site, upload: Upload, holder: str) -> None:
    with site.broker.database.write() as tx:
        leases.forget(tx, _lease(upload), holder)


def _renewing(site: Site, upload: Upload, holder: str) -> Callable[[int], None]:
    renewed = time.monotonic()

    def seen(count: int) -> None:
        nonlocal renewed
        if time.monotonic() - renewed > RENEW_SECONDS:
            renewed = time.monotonic()
            _hold(site, upload, holder)

    return seen


def _keep_slice(site: Site, upload: Upload, source: bodies.Incoming) -> None:
    """Keep what arrives, also the part of a request that breaks off, then count it."""
    size = slices.keep(site.broker.storage, upload, source.buffered())
    if size:
        with site.broker.database.write() as tx:
            if upload.size is None:
                _refuse_over_quota(tx, site, upload.tenant, size)
            uploads.grow(tx, upload, upload.received + size)


def _compose(site: Site, upload: Upload, holder: str) -> Upload:
    """Join the slices into the object that jobs read; then they can go."""
    storage = site.broker.storage
    parts = slices.of(storage, upload)
    kept = slices.joined(storage, upload, parts, _renewing(site, upload, holder))
    with site.broker.database.write() as tx:
        done = uploads.complete(tx, upload, kept.size, kept.sha256)
    for where in parts:
        storage.delete(where)
    return done


@router.get("/uploads/{upload_id}", name="uploadStatus")
async def one(request: Request, upload_id: str, caller: Caller, f: Representation = None) -> Response:
    """An upload: how much has arrived, and the `href` to use as an input."""
    if representation(request, OFFERS) == "html":
        return await uploadpages.shown(request, caller, upload_id)
    site = site_of(request)
    upload = await site.rows.read(uploads.get, upload_id, caller.reach)
    return Json(_document(upload, site.base(request)), headers={"Upload-Offset": str(upload.received)})


@router.head("/uploads/{upload_id}", name="uploadOffset", include_in_schema=False)
async def offset_of(request: Request, upload_id: str, caller: Caller) -> Response:
    """Where to go on."""
    upload = await site_of(request).rows.read(uploads.get, upload_id, caller.reach)
    fields = {"Upload-Offset": str(upload.received), "Cache-Control": "no-store"}
    if upload.size is not None:
        fields["Upload-Length"] = str(upload.size)
    fields["Upload-Complete"] = "?1" if upload.complete else "?0"
    return Response(headers=fields)


@router.get("/uploads", name="uploads")
async def page(
    request: Request,
    caller: Caller,
    project: OfProject = None,
    public: Public = False,
    owner: Owner = None,
    limit: Limit = None,
    cursor: Cursor = None,
    f: Representation = None,
) -> Response:
    """One's own uploads, newest first (an operator's: everybody's); those shared with a project; public ones."""
    kind = representation(request, OFFERS)
    shown, links = await _listed(request, caller, project, public, owner, limit, cursor)
    if kind == "html":
        return await uploadpages.listing(request, caller, shown, links)
    base = site_of(request).base(request)
    return Json({"uploads": [_document(upload, base) for upload in shown], "links": links})


async def _listed(
    request: Request,
    caller: Principal,
    project: str | None,
    public: bool,
    owner: str | None,
    limit: int | None,
    cursor: str | None,
) -> tuple[Sequence[Upload], list[dict[str, str]]]:
    """(the uploads of a page, its links)."""
    site = site_of(request)
    count = size(limit, site.settings.api.page)
    whose = await listed(site, caller, project, public, owner)
    found = await site.rows.read(uploads.page, **whose, limit=count + 1, before=cursor)
    shown = found[:count]
    following = {"cursor": shown[-1].id, "limit": str(count)} if len(found) > count else None
    return shown, page_links(site.base(request), "/uploads", request, following, "This list")


@router.delete("/uploads/{upload_id}", name="uploadDelete", status_code=204)
async def delete(request: Request, upload_id: str, caller: Caller) -> Response:
    """Forget an upload. A job that has not fetched it yet then fails."""
    await _forget(site_of(request), caller, upload_id)
    return Response(status_code=204)


@router.post("/uploads/{upload_id}", name="uploadForm", include_in_schema=False)
async def delete_by_form(request: Request, upload_id: str, caller: Caller) -> Response:
    """The same for its page."""
    fields = await form(request)
    if fields.get("do") != "delete":
        raise InputError(InputProblem("/do", "is nothing that this page can do"))
    site = site_of(request)
    await _forget(site, caller, upload_id)
    return done(f"{site.base(request)}/uploads?f=html")


async def _forget(site: Site, caller: Principal, upload_id: str) -> None:
    caller.need(Scope.RUN)
    upload = await site.rows.read(uploads.get_to_change, upload_id, caller.reach)
    await site.rows.slow(_remove, site, upload, audit.entry(caller, "delete-upload", f"upload/{upload.id}"))


def _remove(site: Site, upload: Upload, *entries: audit.Entry) -> None:
    """The row, then the bytes; those that storage cannot remove now go later."""
    with site.broker.database.write() as tx:
        uploads.remove(tx, upload.id)
        removal = removals.add(tx, uploads.prefix(upload))
        audit.record(tx, *entries)
    remove(site.broker.database, site.broker.storage, removal)


def _document(upload: Upload, base: str) -> dict[str, Any]:
    here = f"{base}/uploads/{upload.id}"
    return {
        "id": upload.id,
        "href": here,
        "name": upload.name,
        "type": upload.media_type,
        "size": upload.size,
        "received": upload.received,
        "complete": upload.complete,
        "sha256": upload.sha256,
        "created": answers.time(upload.created),
        "expires": answers.time(upload.expires),
        **answers.sharing(upload.shared, upload.shared_with),
        "links": [link(here, "self", "This upload")],
    }


def _count(request: Request, header: str) -> int | None:
    value = request.headers.get(header)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 18:
        raise InvalidParameter(InputProblem(header.title(), f"{value[:30]!r} is not a number of bytes"))
    return int(value)


def _name(request: Request, given: str | None) -> str:
    """The file name: `?name=`, else Content-Disposition, else `upload`. A last path part without control characters."""
    if given is None:
        disposition = request.headers.get("content-disposition", "")
        star = disposition.partition("filename*=")[2].partition("''")[2].partition(";")[0].strip()
        plain = disposition.partition("filename=")[2].partition(";")[0].strip().strip('"')
        given = unquote(star) or plain or "upload"
    return _file_name(given)


def _file_name(given: str) -> str:
    name = given.replace("\\", "/").rpartition("/")[2]
    if not name or name in (".", "..") or not name.isprintable() or len(quote(name)) > 700 or len(name.encode()) > 255:
        raise InvalidParameter(InputProblem("?name", f"{given[:60]!r} is not a file name"))
    return name


def _type(request: Request) -> str:
    return _media_type(request.headers.get("content-type", ""))


def _media_type(given: str) -> str:
    given = given.strip()[:200]
    return given if given.isprintable() and "/" in given else OCTETS
