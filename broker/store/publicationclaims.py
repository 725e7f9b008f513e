"""Publications change: claimed under a lease and a fence, saved by who holds them.

A claim raises the fence; every later write of the claimer carries it, and zero rows touched means that somebody else
has the publication now (`LostClaim`). What people do (withdraw, approve) raises it too.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Double, RowMapping, Text, bindparam, delete, or_, select, update

from broker.jobs import publication as life
from broker.jobs.model import Phase
from broker.jobs.publication import State
from broker.store import removals
from broker.store.account_tables import holds
from broker.store.database import new_id
from broker.store.jobs import record
from broker.store.publications import New, Publication, add, documents, hold, note, reason, with_jobs
from broker.store.result_tables import publications
from broker.store.tables import now

LEASE_SECONDS = 30.0
c = publications.c
_ID: Any = bindparam("wanted", type_=Text)
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


class LostClaim(Exception):
    """Somebody else has the publication now: drop what you were doing."""


def due(tx: Connection) -> bool:
    """Whether there is anything to do now."""
    return tx.execute(_DUE, {"most": 1}).first() is not None


def claim(tx: Connection, most: int) -> list[Publication]:
    """Take up to `most` that are due."""
    ids = list(tx.execute(_DUE, {"most": most}).scalars())
    if not ids:
        return []
    return with_jobs(tx, tx.execute(_CLAIM, {"ids": ids, "seconds": LEASE_SECONDS}).mappings().all())


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
        note(tx, taken.id, state, said, actor)
    if state is not taken.state:
        _moved(tx, taken, state)
    return with_jobs(tx, [row])[0]


def _moved(tx: Connection, old: Publication, state: State) -> None:
    """What the new state means for the jobs, the documents and the publications that build on this one."""
    if state in life.HOLDING and old.state not in life.HOLDING:
        hold(tx, old.id, old.jobs)
    elif state not in life.HOLDING and old.state in life.HOLDING:
        tx.execute(delete(holds).where(holds.c.job_id.in_(old.jobs), holds.c.reason == reason(old.id)))
    if state is State.PUBLISHED or state in life.LOST:
        removals.add(tx, documents(old))
    if state is State.FAILED or state in life.DONE | life.LOST:
        _tell(tx, old.id, state)


def _tell(tx: Connection, publication_id: str, state: State) -> None:
    """Those that wait for this one go on, or say why they cannot."""
    waiting = select(*c).where(c.after == publication_id, c.state == State.WAITING.value)
    for one in with_jobs(tx, tx.execute(waiting).mappings().all()):
        if state in life.DONE:
            save(tx, one, State.PENDING, due_in=0.0)
        elif state in life.LOST:
            save(tx, one, State.FAILED, message=f"The publication {publication_id} that it builds on was {state}.")
        else:
            save(tx, one, State.WAITING, message=f"It waits for {publication_id}, which failed: try that again.")


def of_ended(tx: Connection, row: RowMapping) -> None:
    """A job has ended that may have been asked to be published: `publish` of its request has `targets` [{target, kind,
    approval, repository}], repositories first, and the `request`."""
    try:
        wish = row["request"].get("publish")
    except ValueError:  # a job must be able to end whatever somebody did to its row
        return
    if wish is None:
        return
    if row["phase"] != Phase.SUCCESSFUL.value:
        names = ", ".join(one["target"] for one in wish["targets"])
        why = {"message": f"It is not published ({names}): it was not successful."}
        record(tx, row["id"], row["attempt"], "not-published", Phase(row["phase"]), why)
        return
    after = None
    for one in wish["targets"]:
        new = New(
            id=new_id(),
            owner=row["owner"],
            project=row["project"],
            target=one["target"],
            kind=one["kind"],
            title=row["title"] or row["process_id"],
            state=State.AWAITING if one["approval"] else State.PENDING,
            request=wish["request"],
            jobs=(row["id"],),
            after=None if one["repository"] else after,
            previous=wish["request"]["asked"].get("previous"),
            delegate=row["delegate"],
        )
        made = add(tx, new)
        after = made.id if one["repository"] else after
