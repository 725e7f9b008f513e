"""Publication rows: made, seen, claimed under a lease and a fence, saved by who holds them.

A claim raises the fence; every later write of the claimer carries it, and zero rows touched means that somebody else
has the publication now (`LostClaim`). What people do (withdraw, approve) raises it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Double, RowMapping, Text, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.principal import Reach
from broker.errors import Forbidden, NoSuchPublication
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.store import removals
from broker.store.account_tables import holds
from broker.store.claims import LostClaim
from broker.store.result_tables import publication_events, publication_jobs, publications
from broker.store.tables import jobs, now
from broker.store.visible import PRIVATE, PROJECT, by, changeable, visible

LEASE_SECONDS = 30.0
c, e, j = publications.c, publication_events.c, publication_jobs.c
_ID: Any = bindparam("wanted", type_=Text)
_SEEN = select(*c).where(c.id == _ID, visible(publications))
_CHANGEABLE = select(c.id).where(c.id == _ID, changeable(publications))
_DUE = (
    select(c.id)
    .where(c.due_at <= now(), or_(c.lease_until.is_(None), c.lease_until <= now()))
    .order_by(c.due_at)
    .limit(bindparam("most"))
)
_CLAIM = (
    update(publications)
    .where(c.id.in_(bindparam("ids", expanding=True)), c.due_at <= now())
    .where(or_(c.lease_until.is_(None), c.lease_until <= now()))
    .values(fence=c.fence + 1, lease_until=now() + bindparam("seconds", type_=Double))
    .returning(*c)
)
_RENEW = (
    update(publications)
    .where(c.id == _ID, c.fence == bindparam("under"), c.lease_until.is_not(None))
    .values(lease_until=now() + bindparam("seconds", type_=Double), message=bindparam("said"))
)


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
    the test catalog it repeats; `withdraw`: somebody wishes it back; `tries`: fruitless ones in a row."""

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
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: how it was from then on, in a sentence. `actor`: the person who did it, if anybody."""

    at: float
    state: str
    message: str
    actor: str | None


_NAMES = [field.name for field in fields(Publication) if field.name not in ("state", "jobs")]


def add(tx: Connection, new: New, message: str | None = None) -> Publication:
    """Make a row; its jobs keep their results from now on. The caller has seen that they have them."""
    shared = new.project != new.owner
    same = ("id", "owner", "project", "target", "kind", "title", "process_id", "process_revision", "after", "previous")
    values = {name: getattr(new, name) for name in (*same, "promotes", "delegate")}
    said = message or life.said(new.state, None)
    values |= {"state": new.state.value, "message": said, "request": dict(new.request)}
    values |= {"shared": PROJECT if shared else PRIVATE, "shared_with": new.project if shared else None}
    due = now() if new.state in life.WORKED else None
    values |= {"withdraw": False, "fence": 0, "tries": 0, "due_at": due, "created": now(), "updated": now()}
    tx.execute(insert(publications).values(values))
    numbered = [{"publication_id": new.id, "number": n, "job_id": job} for n, job in enumerate(new.jobs)]
    if numbered:
        tx.execute(insert(publication_jobs), numbered)
    _note(tx, new.id, new.state, said, new.owner)
    if new.state in life.HOLDING:
        _hold(tx, new.id, new.jobs)
    return get(tx, new.id)


# ---- who sees what


def get(tx: Connection, publication_id: str, reach: Reach | None = None) -> Publication:
    """Raises NoSuchPublication, also for what the reach does not see."""
    row = tx.execute(_SEEN, {"wanted": publication_id, **by(reach)}).mappings().first()
    if row is None:
        raise NoSuchPublication(f"There is no publication {publication_id!r}.", hint="List yours: broker publications")
    return _with_jobs(tx, [row])[0]


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
    """Those that the reach sees, newest first; of one job, in one state."""
    query = select(*c).where(visible(publications)).order_by(c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(c.id < before)
    if job_id is not None:
        query = query.where(c.id.in_(select(j.publication_id).where(j.job_id == job_id)))
    if state is not None:
        query = query.where(c.state == state)
    return _with_jobs(tx, tx.execute(query, by(reach)).mappings().all())


def events(tx: Connection, publication_id: str) -> list[Event]:
    """In their order."""
    found = select(e.at, e.state, e.message, e.actor).where(e.publication_id == publication_id).order_by(e.id)
    return [Event(*row) for row in tx.execute(found)]


def linked(tx: Connection, publication_id: str) -> dict[str, list[str]]:
    """The publications that build on this one (`after`), correct it (`previous`) and repeat it (`promotes`)."""
    found: dict[str, list[str]] = {}
    for name in ("after", "previous", "promotes"):
        query = select(c.id).where(c[name] == publication_id).order_by(c.id)
        if ids := list(tx.execute(query).scalars()):
            found[name] = ids
    return found


# ---- the broker's own work


def due(tx: Connection) -> bool:
    """Whether there is anything to do now."""
    return tx.execute(_DUE, {"most": 1}).first() is not None


def claim(tx: Connection, most: int) -> list[Publication]:
    """Take up to `most` that are due."""
    ids = list(tx.execute(_DUE, {"most": most}).scalars())
    if not ids:
        return []
    return _with_jobs(tx, tx.execute(_CLAIM, {"ids": ids, "seconds": LEASE_SECONDS}).mappings().all())


def renew(tx: Connection, taken: Publication, message: str | None = None) -> bool:
    """Hold it longer; False: somebody else has it, or has changed it. `message`: how far it is."""
    mine = {"wanted": taken.id, "under": taken.fence, "seconds": LEASE_SECONDS, "said": message or taken.message}
    return tx.execute(_RENEW, mine).rowcount == 1


def save(
    tx: Connection,
    taken: Publication,
    state: State,
    *,
    message: str | None = None,
    due_in: float | None = None,
    actor: str | None = None,
    **columns: Any,
) -> Publication:
    """Write what became of it and give it back. `message` None: what is said of such a state; `due_in`: seconds until
    the broker looks again, None: never by itself. A change of state or message becomes an event.

    Raises LostClaim, life.IllegalTransition.
    """
    life.check(taken.state, state)
    said = message or life.said(state, columns.get("receipt", taken.receipt)) or taken.message
    values = {"state": state.value, "message": said.replace("\0", "\ufffd"), "updated": now(), **columns}
    values |= {"due_at": None if due_in is None else now() + due_in, "lease_until": None}
    mine = update(publications).where(c.id == taken.id, c.fence == taken.fence)
    row = tx.execute(mine.values(values | {"fence": c.fence + 1}).returning(*c)).mappings().first()
    if row is None:
        raise LostClaim(taken.id)
    if (state, said) != (taken.state, taken.message):
        _note(tx, taken.id, state, said, actor)
    if state is not taken.state:
        _moved(tx, taken, state)
    return _with_jobs(tx, [row])[0]


def _moved(tx: Connection, old: Publication, state: State) -> None:
    """What the new state means for the jobs, the documents and the publications that build on this one."""
    if state in life.HOLDING and old.state not in life.HOLDING:
        _hold(tx, old.id, old.jobs)
    elif state not in life.HOLDING and old.state in life.HOLDING:
        tx.execute(delete(holds).where(holds.c.job_id.in_(old.jobs), holds.c.reason == reason(old.id)))
    if state is State.PUBLISHED or state in life.LOST:
        removals.add(tx, documents(old))
    if state is State.FAILED or state in life.DONE | life.LOST:
        _tell(tx, old.id, state)


def _tell(tx: Connection, publication_id: str, state: State) -> None:
    """Those that wait for this one go on, or say why they cannot."""
    waiting = select(*c).where(c.after == publication_id, c.state == State.WAITING.value)
    for one in _with_jobs(tx, tx.execute(waiting).mappings().all()):
        if state in life.DONE:
            save(tx, one, State.PENDING, due_in=0.0)
        elif state in life.LOST:
            save(tx, one, State.FAILED, message=f"The publication {publication_id} that it builds on was {state}.")
        else:
            save(tx, one, State.WAITING, message=f"It waits for {publication_id}, which failed: try that again.")


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


def _hold(tx: Connection, publication_id: str, job_ids: Sequence[str]) -> None:
    make = (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(holds).on_conflict_do_nothing()
    for job_id in dict.fromkeys(job_ids):
        tx.execute(make.values(job_id=job_id, reason=reason(publication_id), created=now()))


def _note(tx: Connection, publication_id: str, state: State, message: str, actor: str | None) -> None:
    row = {"publication_id": publication_id, "state": state.value, "message": message, "actor": actor}
    tx.execute(insert(publication_events).values(**row, at=now()))


def _with_jobs(tx: Connection, rows: Sequence[RowMapping]) -> list[Publication]:
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    found: dict[str, list[str]] = {}
    query = select(j.publication_id, j.job_id).where(j.publication_id.in_(ids)).order_by(j.publication_id, j.number)
    for one in tx.execute(query):
        found.setdefault(one.publication_id, []).append(one.job_id)
    return [
        Publication(
            **{name: row[name] for name in _NAMES}, state=State(row["state"]), jobs=tuple(found.get(row["id"], ()))
        )
        for row in rows
    ]
