"""Upload rows: bytes that a client sends before a job refers to them, resumable, with quota and expiry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Text, delete, func, insert, select, type_coerce, update

from broker.access.principal import Reach
from broker.errors import Forbidden, NoSuchUpload, QuotaExceeded, UploadConflict
from broker.store.tables import LIVE_ROW, jobs, now, uploads
from broker.store.visible import PRIVATE, PUBLIC, by, changeable, visible

u = uploads.c
FIELDS = [
    u.id,
    u.owner,
    u.project,
    u.name,
    u.media_type,
    u.size,
    u.received,
    u.sha256,
    u.complete,
    u.created,
    u.expires,
    u.shared,
    u.shared_with,
    u.delegate,
]


@dataclass(frozen=True, slots=True)
class Upload:
    """`size`: announced bytes (None: unknown until complete); `received`: bytes safely stored; times epoch seconds.

    `shared`: private | project | public; `shared_with`: which project.
    """

    id: str
    owner: str
    project: str
    name: str
    media_type: str
    size: int | None
    received: int
    sha256: str | None
    complete: bool
    created: float
    expires: float
    shared: str
    shared_with: str | None
    delegate: str | None = None

    @property
    def tenant(self) -> tuple[str, str, str | None]:
        return self.owner, self.project, self.delegate


def prefix(upload: Upload) -> str:
    """Below which its bytes are in storage: finished, and in parts before."""
    return f"{upload.owner}/uploads/{upload.id}/"


def key(upload: Upload) -> str:
    """Where its bytes are in storage once it is complete."""
    return prefix(upload) + "content"


def open_upload(
    tx: Connection,
    upload_id: str,
    owner: str,
    project: str,
    name: str,
    media_type: str,
    size: int | None,
    ttl: float,
    quota: int,
    delegate: str | None = None,
) -> Upload:
    """A new, empty upload that expires after `ttl` seconds. Raises QuotaExceeded (bytes per owner)."""
    reserve(tx, owner, size or 0, quota)
    row = {"id": upload_id, "owner": owner, "project": project, "name": name, "media_type": media_type, "size": size}
    tx.execute(
        insert(uploads).values(**row, delegate=delegate, received=0, complete=False, created=now(), expires=now() + ttl)
    )
    return get(tx, upload_id)


def held(tx: Connection, owner: str) -> int:
    """Bytes of the owner's live uploads: stored, or announced where that is more."""
    greatest = func.max if tx.dialect.name == "sqlite" else func.greatest
    total = func.coalesce(func.sum(greatest(u.received, func.coalesce(u.size, 0))), 0)
    return int(tx.execute(select(total).where(u.owner == owner, u.expires > now())).scalar_one())


def reserve(tx: Connection, owner: str, more: int, quota: int) -> None:
    """Raise QuotaExceeded when `more` bytes would take the owner's live uploads over `quota` bytes."""
    used = held(tx, owner)
    if used + more > quota:
        raise QuotaExceeded(
            f"Your uploads would hold {used + more} bytes; {quota} are allowed.",
            hint="Delete uploads that you no longer need, or wait until they expire.",
        )


def get(tx: Connection, upload_id: str, reach: Reach | None = None) -> Upload:
    """Raises NoSuchUpload, also for an expired one and for what the reach does not see."""
    query = select(*FIELDS).where(u.id == upload_id, u.expires > now(), visible(uploads))
    row = tx.execute(query, by(reach)).first()
    if row is None:
        raise NoSuchUpload(f"There is no upload {upload_id!r}; it may have expired.")
    return Upload(*row)


def get_to_change(tx: Connection, upload_id: str, reach: Reach) -> Upload:
    """Raises NoSuchUpload, and Forbidden for what one sees but may not change."""
    found = get(tx, upload_id, reach)
    if tx.execute(select(u.id).where(u.id == upload_id, changeable(uploads)), by(reach)).first() is None:
        raise Forbidden(f"The upload {upload_id} is shared with you; it is not yours to change.")
    return found


def grow(tx: Connection, upload: Upload, received: int) -> None:
    """`received` bytes are stored now. Raises UploadConflict when another request was faster."""
    step = update(uploads).where(u.id == upload.id, u.received == upload.received, ~u.complete)
    if not tx.execute(step.values(received=received)).rowcount:
        raise UploadConflict("Another request has written to this upload.", hint="Ask for its offset with HEAD.")


def complete(tx: Connection, upload: Upload, size: int, sha256: str) -> Upload:
    tx.execute(update(uploads).where(u.id == upload.id).values(size=size, received=size, sha256=sha256, complete=True))
    return get(tx, upload.id)


def page(
    tx: Connection,
    owner: str | None = None,
    *,
    project: str | None = None,
    public: bool = False,
    limit: int,
    before: str | None = None,
) -> Sequence[Upload]:
    """Newest first: of an owner, shared with a project, public ones (None, False: whichever)."""
    query = select(*FIELDS).where(u.expires > now()).order_by(u.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(u.owner == owner)
    if project is not None:
        query = query.where(u.shared_with == project, u.shared != PRIVATE)
    if public:
        query = query.where(u.shared == PUBLIC)
    if before is not None:
        query = query.where(u.id < before)
    return [Upload(*row) for row in tx.execute(query)]


def expired(tx: Connection, limit: int = 100) -> list[Upload]:
    """Uploads past their time, whose bytes can go."""
    return [Upload(*row) for row in tx.execute(select(*FIELDS).where(u.expires <= now()).limit(limit))]


def remove_expired(tx: Connection, upload_id: str) -> bool:
    """Delete the row unless somebody has prolonged it meanwhile."""
    return bool(tx.execute(delete(uploads).where(u.id == upload_id, u.expires <= now())).rowcount)


def of_live_jobs(tx: Connection, scheme: str) -> set[str]:
    """The uploads that jobs count on which have not ended: items of their stage whose url begins with `scheme`."""
    text = type_coerce(jobs.c.stage, Text)
    rows = tx.execute(select(jobs.c.stage).where(LIVE_ROW, text.contains(f'"{scheme}', autoescape=True))).scalars()
    urls = (str(item.get("url") or "") for stage in rows for item in stage)
    return {url.removeprefix(scheme) for url in urls if url.startswith(scheme)}


def keep_needed(tx: Connection, ids: Collection[str], seconds: float) -> None:
    """Let these live at least so much longer; those that are gone are gone."""
    some = list(ids)
    for first in range(0, len(some), 500):
        soon = update(uploads).where(
            u.id.in_(some[first : first + 500]), u.expires > now(), u.expires < now() + seconds
        )
        tx.execute(soon.values(expires=now() + seconds))


def prolong(tx: Connection, ids: Collection[str], seconds: float) -> None:
    """Let uploads live at least so much longer: a job counts on them. Raises NoSuchUpload where one is gone."""
    greatest = func.max if tx.dialect.name == "sqlite" else func.greatest
    live = update(uploads).where(u.id.in_(ids), u.expires > now())
    if tx.execute(live.values(expires=greatest(u.expires, now() + seconds))).rowcount != len(ids):
        raise NoSuchUpload("An upload that the job needs has just expired or been deleted.")


def remove(tx: Connection, upload_id: str) -> None:
    tx.execute(delete(uploads).where(u.id == upload_id))
