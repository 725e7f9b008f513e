"""Process rows: a deployed package, versioned; a job pins the revision it was accepted for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, bindparam, cast, func, insert, or_, select, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from broker.access.principal import Reach
from broker.errors import DuplicatedProcess, Forbidden, ImmutableProcess, NoSuchProcess
from broker.jobs.model import Needs
from broker.store.tables import CURRENT_ROW, now, packages, processes
from broker.store.visible import PRIVATE, PUBLIC, by, changeable, visible

p = processes.c


@dataclass(frozen=True, slots=True)
class NewProcess:
    """A process to store. `summary` and `description` are OGC documents without links."""

    id: str
    owner: str
    project: str
    version: str
    kind: str
    digest: str
    body: bytes
    media_type: str
    summary: Mapping[str, Any]
    description: Mapping[str, Any]
    needs: Needs
    mutable: bool = True
    shared: str = PRIVATE
    shared_with: str | None = None
    delegate: str | None = None
    images: Mapping[str, str] | None = None
    source: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """A stored process; without body, bundle and inspection (`body`, `package` read those)."""

    id: str
    revision: int
    owner: str
    project: str
    version: str
    kind: str
    digest: str
    mutable: bool
    media_type: str
    summary: Mapping[str, Any]
    description: Mapping[str, Any]
    needs: Needs
    created: float
    shared: str
    shared_with: str | None
    delegate: str | None
    images: Mapping[str, str] | None
    source: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One of the revisions of a process, and when it was deployed."""

    revision: int
    version: str
    created: float
    current: bool


LOCKS = 20261125  # PostgreSQL: the first half of the advisory locks under which a process is changed
FIELDS = [column for column in p if column.name not in ("body", "current")]
# built once: they are part of every submission
_CURRENT = select(*FIELDS).where(p.id == bindparam("wanted"), CURRENT_ROW, visible(processes))
_WHICH = select(p.id, p.revision, p.digest, p.created).where(visible(processes))
_WHICH_CURRENT = _WHICH.where(p.id == bindparam("wanted"), CURRENT_ROW)
_WHICH_REVISION = _WHICH.where(p.id == bindparam("wanted"), p.revision == bindparam("number"))
_REVISION = select(*FIELDS).where(p.id == bindparam("wanted"), p.revision == bindparam("number"), visible(processes))
_CHANGEABLE = select(p.id).where(p.id == bindparam("wanted"), CURRENT_ROW, changeable(processes))


def keep_package(tx: Connection, digest: str, bundle: Mapping[str, Any], inspection: Mapping[str, Any]) -> None:
    """Store a closed package under its digest, once."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    row = {"digest": digest, "bundle": dict(bundle), "inspection": dict(inspection), "created": now()}
    tx.execute(make(packages).values(**row).on_conflict_do_nothing())


def package(tx: Connection, digest: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(bundle, inspection) of a digest."""
    row = tx.execute(select(packages.c.bundle, packages.c.inspection).where(packages.c.digest == digest)).one()
    return row.bundle, row.inspection


def inspection(tx: Connection, digest: str) -> Mapping[str, Any]:
    """The inspection of a digest, without its bundle."""
    found: Mapping[str, Any] = tx.execute(select(packages.c.inspection).where(packages.c.digest == digest)).scalar_one()
    return found


def add(tx: Connection, new: NewProcess) -> Process:
    """Deploy under a new id. Raises DuplicatedProcess, or ImmutableProcess when the one there cannot change."""
    refuse_there(tx, new.id)
    try:
        return _insert(tx, new)
    except IntegrityError as error:
        raise DuplicatedProcess(f"The process {new.id!r} is already deployed.") from error


def keep_part(tx: Connection, new: NewProcess) -> Process:
    """A process for steps of another one: it is in no list, is never the current revision, and has one revision."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    row = _values(new) | {"revision": 1, "current": False}
    tx.execute(make(processes).values(**row).on_conflict_do_nothing())
    return get(tx, new.id, 1)


def refuse_there(tx: Connection, process_id: str) -> None:
    """Raise DuplicatedProcess or ImmutableProcess when a process of this id is deployed."""
    there = tx.execute(select(p.mutable).where(p.id == process_id, CURRENT_ROW)).first()
    if there is None:
        return
    if not there.mutable:
        raise ImmutableProcess(f"The process {process_id!r} is built in.", hint="Deploy yours under another id.")
    raise DuplicatedProcess(
        f"The process {process_id!r} is already deployed.",
        hint=f"Replace it with PUT /processes/{process_id}, or deploy under another id.",
    )


def replace(tx: Connection, new: NewProcess, reach: Reach) -> Process:
    """A new revision, as shared as the old ones, which stay for their jobs.

    Raises NoSuchProcess, ImmutableProcess, Forbidden.
    """
    _alone(tx, new.id)
    old = get_to_change(tx, new.id, reach)
    new = dataclasses.replace(new, owner=old.owner, project=old.project, shared=old.shared, shared_with=old.shared_with)
    retire(tx, new.id)
    return _insert(tx, new)


def _alone(tx: Connection, process_id: str) -> None:
    """Let nobody else change this process until the transaction ends: revisions are counted up one by one. SQLite has
    one writer anyway."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(func.pg_advisory_xact_lock(LOCKS, func.hashtext(process_id))))


def find(tx: Connection, process_id: str) -> Process | None:
    """The current revision, or None."""
    try:
        return get(tx, process_id)
    except NoSuchProcess:
        return None


def retire(tx: Connection, process_id: str) -> None:
    """Make room for another process of this id, whoever owns it, also where it is immutable."""
    tx.execute(update(processes).where(p.id == process_id, p.current).values(current=False))


def remove(tx: Connection, process_id: str, reach: Reach) -> None:
    """Undeploy: no new jobs; revisions stay for jobs and provenance.

    Raises NoSuchProcess, ImmutableProcess, Forbidden.
    """
    _alone(tx, process_id)
    get_to_change(tx, process_id, reach)
    retire(tx, process_id)


def get_to_change(tx: Connection, process_id: str, reach: Reach) -> Process:
    """The current revision. Raises NoSuchProcess, ImmutableProcess, and Forbidden for what one only sees."""
    old = get(tx, process_id, reach=reach)
    if not old.mutable:
        raise ImmutableProcess(f"The process {old.id!r} is built in and cannot be replaced or undeployed.")
    if tx.execute(_CHANGEABLE, {"wanted": process_id, **by(reach)}).first() is None:
        raise Forbidden(f"The process {process_id!r} is shared with you; it is not yours to change.")
    return old


def _insert(tx: Connection, new: NewProcess) -> Process:
    last = tx.execute(select(func.max(p.revision)).where(p.id == new.id)).scalar()
    tx.execute(insert(processes).values(**_values(new), revision=(last or 0) + 1, current=True))
    return get(tx, new.id)


def _values(new: NewProcess) -> dict[str, Any]:
    """The columns of a new revision, without its number."""
    return {
        "id": new.id,
        "owner": new.owner,
        "project": new.project,
        "mutable": new.mutable,
        "version": new.version,
        "kind": new.kind,
        "digest": new.digest,
        "body": new.body,
        "media_type": new.media_type,
        "summary": dict(new.summary),
        "description": dict(new.description),
        "needs": new.needs.to_json(),
        "created": now(),
        "shared": new.shared,
        "shared_with": new.shared_with,
        "delegate": new.delegate,
        "images": None if new.images is None else dict(new.images),
        "source": None if new.source is None else dict(new.source),
    }


def get(tx: Connection, process_id: str, revision: int | None = None, *, reach: Reach | None = None) -> Process:
    """The current revision, or the given one. With a reach: what it does not see does not exist.

    Raises NoSuchProcess.
    """
    query = _CURRENT if revision is None else _REVISION
    row = tx.execute(query, {"wanted": process_id, "number": revision, **by(reach)}).mappings().first()
    if row is None:
        raise _no_such(process_id)
    return Process(**{**row, "needs": Needs.from_json(row["needs"])})


def which(
    tx: Connection, process_id: str, revision: int | None = None, *, reach: Reach | None = None
) -> tuple[str, int, str, float]:
    """(id, revision, digest, created) of what `get` gives: what has the same is the same. Raises NoSuchProcess."""
    query = _WHICH_CURRENT if revision is None else _WHICH_REVISION
    row = tx.execute(query, {"wanted": process_id, "number": revision, **by(reach)}).first()
    if row is None:
        raise _no_such(process_id)
    return row.id, row.revision, row.digest, row.created


def _no_such(process_id: str) -> NoSuchProcess:
    return NoSuchProcess(f"There is no process {process_id!r}.", hint="List what is deployed with: broker processes")


def with_digest(tx: Connection, digest: str, reach: Reach, *, prefer: str | None = None) -> Process | None:
    """A current process that the reach sees and that has this package; best the one with the id `prefer`."""
    query = select(p.id).where(p.digest == digest, CURRENT_ROW, visible(processes)).order_by(p.id != prefer, p.id)
    found = tx.execute(query.limit(1), by(reach)).scalar()
    return None if found is None else get(tx, found, reach=reach)


def revision_of(tx: Connection, process_id: str, version: str, *, reach: Reach | None = None) -> int:
    """The newest revision that has this version. Raises NoSuchProcess."""
    newest = select(func.max(p.revision)).where(p.id == process_id, p.version == version, visible(processes))
    number = tx.execute(newest, by(reach)).scalar()
    if number is None:
        raise NoSuchProcess(f"There is no process {process_id!r} with the version {version!r}.")
    return int(number)


def page(
    tx: Connection,
    *,
    limit: int,
    after: str | None = None,
    reach: Reach | None = None,
    owner: str | None = None,
    project: str | None = None,
    public: bool = False,
    words: str = "",
) -> Sequence[Process]:
    """Current processes that the reach sees by id, at most `limit`, after the id `after` (keyset paging); only of an
    owner, shared with a project, public ones (None, False: whichever); only those that hold each of the `words`."""
    ids = select(p.id).where(CURRENT_ROW, visible(processes)).order_by(p.id).limit(limit)
    if owner is not None:
        ids = ids.where(p.owner == owner)
    if project is not None:
        ids = ids.where(p.shared_with == project, p.shared != PRIVATE)
    if public:
        ids = ids.where(p.shared == PUBLIC)
    if after is not None:
        ids = ids.where(p.id > after)
    for word in words.split():
        ids = ids.where(_holds(tx, word))
    # which ones is read from ix_processes_listed alone: most rows may be those that the reach does not see
    query = select(*FIELDS).where(CURRENT_ROW, p.id.in_(ids.correlate(None))).order_by(p.id)
    return [
        Process(**{**row, "needs": Needs.from_json(row["needs"])}) for row in tx.execute(query, by(reach)).mappings()
    ]


def _holds(tx: Connection, word: str) -> ColumnElement[bool]:
    """Whether a process has a word in its id, title, description or keywords, in capitals or not."""
    summary = cast(p.summary, JSON) if tx.dialect.name == "postgresql" else type_coerce(p.summary, JSON)
    texts = (p.id, *(summary[name].as_string() for name in ("title", "description", "keywords")))
    return or_(*(text.icontains(word, autoescape=True) for text in texts))


def revisions(tx: Connection, process_id: str, *, reach: Reach | None = None, limit: int = 100) -> Sequence[Revision]:
    """The newest revisions of a process that the reach sees, newest first."""
    query = select(p.revision, p.version, p.created, p.current).where(p.id == process_id, visible(processes))
    rows = tx.execute(query.order_by(p.revision.desc()).limit(limit), by(reach))
    return [Revision(*row) for row in rows]


def body(tx: Connection, process_id: str, revision: int | None = None) -> tuple[bytes, str]:
    """(what was deployed, its media type). Raises NoSuchProcess."""
    which = p.current if revision is None else p.revision == revision
    row = tx.execute(select(p.body, p.media_type).where(p.id == process_id, which)).first()
    if row is None:
        raise NoSuchProcess(f"There is no process {process_id!r}.")
    return row.body, row.media_type
