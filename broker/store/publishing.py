"""What projects publish with where nobody says otherwise, and who agrees to it: their technical officers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from broker.store.result_tables import project_publishing
from broker.store.tables import now

p = project_publishing.c


@dataclass(frozen=True, slots=True)
class ProjectPublishing:
    """`request`: members of a request to publish; `officers`: ids of the persons who agree to publications."""

    request: Mapping[str, Any]
    officers: tuple[str, ...]


def get(tx: Connection, project: str) -> ProjectPublishing:
    """Empty where nobody has said anything, also for what is no project."""
    row = tx.execute(select(p.request, p.officers).where(p.project == project)).first()
    return ProjectPublishing({}, ()) if row is None else ProjectPublishing(row.request, tuple(row.officers))


def put(tx: Connection, project: str, given: ProjectPublishing) -> None:
    values = {"request": dict(given.request), "officers": list(given.officers), "changed": now()}
    if tx.execute(update(project_publishing).where(p.project == project).values(**values)).rowcount == 0:
        tx.execute(insert(project_publishing).values(project=project, **values))
