"""How the bytes of uploads arrive: whole, or in slices that are joined once the last one has come."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import ClientDisconnect

from broker.access.principal import Principal, Scope
from broker.access.quota import Quotas
from broker.api import bodies, slices
from broker.api.site import Site
from broker.errors import BrokerError, InputProblem, InvalidParameter, UploadConflict
from broker.execution.quotas import Places
from broker.execution.retention import remove
from broker.store import audit, leases, removals, uploads
from broker.store.database import new_id
from broker.store.uploads import Upload

OCTETS = "application/octet-stream"
LEASE_SECONDS = 30.0  # how long a killed server holds up an upload
RENEW_SECONDS = 10.0


def begin(site: Site, caller: Principal, name: str, media_type: str, length: int | None) -> Upload:
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
    upload = await site.rows.quick(begin, site, caller, file_name(name), media_type_of(media_type), None)
    return await receive_whole(stream, site, upload)


async def receive_whole(stream: AsyncIterator[bytes], site: Site, upload: Upload) -> Upload:
    source = bodies.Incoming(stream, await room(site, upload))
    try:
        return await site.rows.arrive(upload.owner, _keep_whole, site, upload, source.buffered())
    except (BrokerError, ClientDisconnect):
        await site.rows.slow(forget, site, upload)
        raise


async def room(site: Site, upload: Upload) -> int:
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


def refuse_wrong_offset(upload: Upload, offset: int) -> None:
    if upload.complete:
        raise UploadConflict("The upload is complete already.", hint="Make a new one with POST /uploads.")
    if offset != upload.received:
        raise UploadConflict(
            f"The upload has {upload.received} bytes, so that nothing can be appended at {offset}.",
            hint=f"Go on with Upload-Offset: {upload.received}.",
        )


def _lease(upload: Upload) -> str:
    return f"upload:{upload.id}"


def hold(site: Site, upload: Upload, holder: str) -> None:
    with site.broker.database.write() as tx:
        if not leases.hold(tx, _lease(upload), holder, LEASE_SECONDS):
            raise UploadConflict("Another request is writing to this upload.", hint="Try again in some seconds.")


def let_go(site: Site, upload: Upload, holder: str) -> None:
    with site.broker.database.write() as tx:
        leases.forget(tx, _lease(upload), holder)


def renewing(site: Site, upload: Upload, holder: str) -> Callable[[int], None]:
    renewed = time.monotonic()

    def seen(count: int) -> None:
        nonlocal renewed
        if time.monotonic() - renewed > RENEW_SECONDS:
            renewed = time.monotonic()
            hold(site, upload, holder)

    return seen


def keep_slice(site: Site, upload: Upload, source: bodies.Incoming) -> None:
    """Keep what arrives, also the part of a request that breaks off, then count it."""
    size = slices.keep(site.broker.storage, upload, source.buffered())
    if size:
        with site.broker.database.write() as tx:
            if upload.size is None:
                _refuse_over_quota(tx, site, upload.tenant, size)
            uploads.grow(tx, upload, upload.received + size)


def compose(site: Site, upload: Upload, holder: str) -> Upload:
    """Join the slices into the object that jobs read; then they can go."""
    storage = site.broker.storage
    parts = slices.of(storage, upload)
    kept = slices.joined(storage, upload, parts, renewing(site, upload, holder))
    with site.broker.database.write() as tx:
        done = uploads.complete(tx, upload, kept.size, kept.sha256)
    for where in parts:
        storage.delete(where)
    return done


def forget(site: Site, upload: Upload, *entries: audit.Entry) -> None:
    """The row, then the bytes; those that storage cannot remove now go later."""
    with site.broker.database.write() as tx:
        uploads.remove(tx, upload.id)
        removal = removals.add(tx, uploads.prefix(upload))
        audit.record(tx, *entries)
    remove(site.broker.database, site.broker.storage, removal)


def file_name(given: str) -> str:
    name = given.replace("\\", "/").rpartition("/")[2]
    if not name or name in (".", "..") or not name.isprintable() or len(quote(name)) > 700 or len(name.encode()) > 255:
        raise InvalidParameter(InputProblem("?name", f"{given[:60]!r} is not a file name"))
    return name


def media_type_of(given: str) -> str:
    given = given.strip()[:200]
    return given if given.isprintable() and "/" in given else OCTETS
