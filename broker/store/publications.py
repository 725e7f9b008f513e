"""Publication rows: made and seen; they change in `publicationclaims`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, RowMapping, Text, bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.principal import Reach
from broker.errors import Forbidden, NoSuchPublication
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.store.account_tables import holds
from broker.store.result_tables import publication_events, publication_jobs, publications
from broker.store.tables import jobs, now
from broker.store.visible import PRIVATE, PROJECT, by, changeable, visible

c, e, j = publications.c, publication_events.c, publication_jobs.c
_ID: Any = bindparam("wanted", type_=Text)
LISTED = [column for column in c if column.name != "plan"]
_SEEN = select(*c).where(c.id == _ID, visible(publications))
_CHANGEABLE = select(c.id).where(c.id == _ID, changeable(publications))


@dataclass(frozen=True, slots=True)
class New:
    """A publication to be made. `state`: where it begins; the rest as in `Publication`."""

    id: str
    owner: str
    project: str
    target: str
    kind: str
    title: str
    state: State
    request: Mapping[str, Any]
    jobs: tuple[str, ...] = ()
    process_id: str | None = None
    process_revision: int | None = None
    after: str | None = None
    previous: str | None = None
    promotes: str | None = None
    delegate: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What goes to one target. `request`: complete; `plan`: of a repository, made with the first step; `receipt`: what
    was done there; `after`: the publication that it builds on; `previous`: which it corrects; `promotes`: which one in
    the test catalog it repeats; `withdraw`: somebody wishes it back; `tries`: fruitless ones in a row; `agreed`: digest
    of what somebody agreed to."""

    id: str
    owner: str
    project: str
    shared: str
    shared_with: str | None
    delegate: str | None
    process_id: str | None
    process_revision: int | None
    target: str
    kind: str
    title: str
    state: State
    message: str
    request: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    receipt: Mapping[str, Any] | None
    after: str | None
    previous: str | None
    promotes: str | None
    withdraw: bool
    fence: int
    tries: int
    due_at: float | None
    lease_until: float | None
    created: float
    updated: float
    agreed: str | None = None
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: how it was from then on, in a sentence. `actor`: the person who did it, if anybody."""

    at: float
    state: str
    message: str
    actor: str | None


_NAMES = [field.name for field in fields(Publication) if field.name not in ("state", "jobs")]


def add(tx: Connection, new: New) -> Publication:
    """Make a row, which waits for what it builds on; its jobs keep their results from now on. The caller has seen that
    they have them."""
    shared, state, message = new.project != new.owner, new.state, None
    if state is State.PENDING:
        state, message = next_state(tx, new.after)
    same = ("id", "owner", "project", "target", "kind", "title", "process_id", "process_revision", "after", "previous")
    values = {name: getattr(new, name) for name in (*same, "promotes", "delegate")}
    said = message or life.said(state, None)
    values |= {"state": state.value, "message": said, "request": dict(new.request)}
    values |= {"shared": PROJECT if shared else PRIVATE, "shared_with": new.project if shared else None}
    due = now() if state in life.WORKED else None
    values |= {"withdraw": False, "fence": 0, "tries": 0, "due_at": due, "created": now(), "updated": now()}
    tx.execute(insert(publications).values(values))
    numbered = [{"publication_id": new.id, "number": n, "job_id": job} for n, job in enumerate(new.jobs)]
    if numbered:
        tx.execute(insert(publication_jobs), numbered)
    note(tx, new.id, state, said, new.owner)
    hold(tx, new.id, new.jobs)
    return get(tx, new.id)


def next_state(tx: Connection, after: str | None) -> tuple[State, str | None]:
    """Where one goes from the start, and what is said of it: on, to wait for the one that it builds on, or nowhere
    where that will never be."""
    if after is None:
        return State.PENDING, None
    other = get(tx, after)
    if other.state in life.DONE:
        return State.PENDING, None
    if other.state in life.LOST:
        return State.FAILED, f"The publication {after} that it builds on was {other.state}."
    return State.WAITING, f"It waits for {other.id} ({other.target}), which is {other.state}."


# ---- who sees what


def get(tx: Connection, publication_id: str, reach: Reach | None = None) -> Publication:
    """Raises NoSuchPublication, also for what the reach does not see."""
    row = tx.execute(_SEEN, {"wanted": publication_id, **by(reach)}).mappings().first()
    if row is None:
        raise NoSuchPublication(f"There is no publication {publication_id!r}.", hint="List yours: broker publications")
    return with_jobs(tx, [row])[0]


def lock(tx: Connection, publication_id: str) -> None:
    """Keep others from changing it until the end of the transaction: what is read from now on is how it is."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(c.id).where(c.id == publication_id).with_for_update())


def get_to_change(tx: Connection, publication_id: str, reach: Reach) -> Publication:
    """Raises NoSuchPublication, and Forbidden for what one sees but may not change."""
    found = get(tx, publication_id, reach)
    if tx.execute(_CHANGEABLE, {"wanted": publication_id, **by(reach)}).first() is None:
        raise Forbidden(f"The publication {publication_id} is not yours to change.")
    return found


def page(
    tx: Connection,
    reach: Reach,
    *,
    limit: int,
    before: str | None = None,
    job_id: str | None = None,
    state: str | None = None,
) -> list[Publication]:
    """Those that the reach sees, newest first; of one job, in one state. Without their plans, which may be long."""
    query = select(*LISTED).where(visible(publications)).order_by(c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(c.id < before)
    if job_id is not None:
        query = query.where(c.id.in_(select(j.publication_id).where(j.job_id == job_id)))
    if state is not None:
        query = query.where(c.state == state)
    return with_jobs(tx, tx.execute(query, by(reach)).mappings().all())


def open_at(tx: Connection, target: str, job_ids: Sequence[str]) -> str | None:
    """The first of these jobs that is being published at a target now."""
    mine = select(j.job_id).join_from(publication_jobs, publications, c.id == j.publication_id)
    going = c.state.in_([state.value for state in life.HOLDING])
    return tx.execute(mine.where(j.job_id.in_(job_ids), c.target == target, going).limit(1)).scalar()


def events(tx: Connection, publication_id: str) -> list[Event]:
    """In their order."""
    found = select(e.at, e.state, e.message, e.actor).where(e.publication_id == publication_id).order_by(e.id)
    return [Event(*row) for row in tx.execute(found)]


def linked(tx: Connection, publication_id: str, reach: Reach) -> dict[str, list[str]]:
    """The publications that build on this one (`after`), correct it (`previous`) and repeat it (`promotes`), as far as
    the reach sees them."""
    found: dict[str, list[str]] = {}
    for name in ("after", "previous", "promotes"):
        query = select(c.id).where(c[name] == publication_id, visible(publications)).order_by(c.id)
        if ids := list(tx.execute(query, by(reach)).scalars()):
            found[name] = ids
    return found


# ---- what is theirs


def documents(publication: Publication) -> str:
    """Below which the documents that go with a publication are in storage until it is done."""
    return f"{publication.owner}/publications/{publication.id}"


def reason(publication_id: str) -> str:
    """Why results are held."""
    return f"the publication {publication_id}"


def lock_results(tx: Connection, job_id: str) -> bool:
    """Keep others from deleting a job's results until the end of the transaction; False: they are deleted."""
    query = select(jobs.c.swept).where(jobs.c.id == job_id)
    row = tx.execute(query.with_for_update() if tx.dialect.name == "postgresql" else query).first()
    return row is not None and row.swept is None


def hold(tx: Connection, publication_id: str, job_ids: Sequence[str]) -> None:
    """Nobody deletes the results of these jobs from now on."""
    make = (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(holds).on_conflict_do_nothing()
    for job_id in dict.fromkeys(job_ids):
        tx.execute(make.values(job_id=job_id, reason=reason(publication_id), created=now()))


def note(tx: Connection, publication_id: str, state: State, message: str, actor: str | None) -> None:
    """What happened, as people read it."""
    row = {"publication_id": publication_id, "state": state.value, "message": message, "actor": actor}
    tx.execute(insert(publication_events).values(**row, at=now()))


def with_jobs(tx: Connection, rows: Sequence[RowMapping]) -> list[Publication]:
    """Rows with all columns, and the jobs of each."""
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    found: dict[str, list[str]] = {}
    query = select(j.publication_id, j.job_id).where(j.publication_id.in_(ids)).order_by(j.publication_id, j.number)
    for one in tx.execute(query):
        found.setdefault(one.publication_id, []).append(one.job_id)
    made = []
    for row in rows:
        values: dict[str, Any] = {name: row.get(name) for name in _NAMES}
        made.append(Publication(**values, state=State(row["state"]), jobs=tuple(found.get(row["id"], ()))))
    return made
