"""Uploads: bytes that a client sends before a job refers to them; resumable, with quota and expiry.

A whole body of POST goes straight to its place; those of PATCH are kept as slices until the last one has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import answers, bodies, receiving, uploadpages
from broker.api.answers import JSON, Json, link, page_links, prefers_html, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, mendable
from broker.api.listed import OfProject, Owner, Public, listed
from broker.api.multipart import MULTIPART, form_of
from broker.api.paging import Cursor, Limit, Representation, size
from broker.api.problems import BodyTooLarge
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem, InvalidParameter
from broker.store import audit, uploads
from broker.store.database import new_id
from broker.store.uploads import Upload
from broker.web import HTML

router = guarded("Uploads")
UPLOADS = ConformanceClass(router)
OFFERS = {"json": JSON, "html": HTML}
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
        receiving.begin, site, caller, _name(request, name), _type(request), body if whole else announced
    )
    if whole or announced == 0:
        upload = await receiving.receive_whole(request.stream(), site, upload)
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
        upload = await receiving.receive(site, caller, part.filename, part.media_type, sent.chunks())
    except BrokerError as refused:
        status = mendable(request, refused)
        found, links = await _listed(request, caller, None, False, None, None, None)
        return await uploadpages.listing(request, caller, found, links, refused=refused, status=status)
    base = site.base(request)
    here = f"{base}/uploads/{upload.id}"
    if prefers_html(request):
        return done(f"{here}?f=html")
    return Json(_document(upload, base), 201, {"Location": here, "Upload-Offset": str(upload.received)})


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
    await site.rows.quick(receiving.hold, site, upload, holder)
    try:
        # read again: the row may have moved on before this request held the upload
        upload = await site.rows.read(uploads.get_to_change, upload_id, caller.reach)
        receiving.refuse_wrong_offset(upload, offset)
        bodies.refuse_longer(request, room := await receiving.room(site, upload))
        renewing = receiving.renewing(site, upload, holder)
        source = bodies.Incoming(request.stream(), room, lenient=True, seen=renewing)
        await site.rows.arrive(upload.owner, receiving.keep_slice, site, upload, source)
        upload = await site.rows.read(uploads.get, upload_id, caller.reach)
        last = request.headers.get("upload-complete", "").strip() == "?1" and not source.cut
        if upload.received == upload.size or (last and upload.size is None):
            upload = await site.rows.slow(receiving.compose, site, upload, holder)
    finally:
        await site.rows.quick(receiving.let_go, site, upload, holder)
    return Json(_document(upload, site.base(request)), headers={"Upload-Offset": str(upload.received)})


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
    await site.rows.slow(receiving.forget, site, upload, audit.entry(caller, "delete-upload", f"upload/{upload.id}"))


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
    return receiving.file_name(given)


def _type(request: Request) -> str:
    return receiving.media_type_of(request.headers.get("content-type", ""))
