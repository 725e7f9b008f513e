"""With whom a process, a job or an upload is shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, Table, update

from broker.access.principal import Reach
from broker.store import jobs as job_rows
from broker.store import processes as process_rows
from broker.store import uploads as upload_rows
from broker.store.tables import jobs, processes, uploads

Kind = Literal["process", "job", "upload"]
TABLES: Mapping[Kind, Table] = {"process": processes, "job": jobs, "upload": uploads}


@dataclass(frozen=True, slots=True)
class Sharing:
    """`shared`: private | project | public; `project`: which one (None: none); `owner`: a person's id."""

    owner: str
    shared: str
    project: str | None


def get(tx: Connection, kind: Kind, row_id: str, reach: Reach) -> Sharing:
    """Raises NoSuchProcess, NoSuchJob, NoSuchUpload."""
    match kind:
        case "process":
            process = process_rows.get(tx, row_id, reach=reach)
            return Sharing(process.owner, process.shared, process.shared_with)
        case "job":
            job = job_rows.get_light(tx, row_id, reach)
            return Sharing(job.owner, job.shared, job.shared_with)
        case "upload":
            upload = upload_rows.get(tx, row_id, reach)
            return Sharing(upload.owner, upload.shared, upload.shared_with)


def get_to_change(tx: Connection, kind: Kind, row_id: str, reach: Reach) -> Sharing:
    """The same for who may change the row. Raises also Forbidden, and ImmutableProcess for a built-in one."""
    match kind:
        case "process":
            process_rows.get_to_change(tx, row_id, reach)
        case "job":
            job_rows.get_to_change(tx, row_id, reach)
        case "upload":
            upload_rows.get_to_change(tx, row_id, reach)
    return get(tx, kind, row_id, reach)


def put(tx: Connection, kind: Kind, row_id: str, owner: str, shared: str, project: str | None) -> Sharing:
    """Share the row, of a process all its owner's revisions: an id may have belonged to somebody else before; of a job
    also those that run steps of it."""
    table = TABLES[kind]
    mine = update(table).where(table.c.id == row_id, table.c.owner == owner)
    tx.execute(mine.values(shared=shared, shared_with=project))
    if kind == "job":
        children = table.c.parent == row_id
        tx.execute(update(table).where(children, table.c.owner == owner).values(shared=shared, shared_with=project))
    return Sharing(owner, shared, project)
