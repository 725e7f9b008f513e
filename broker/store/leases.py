"""Named leases: who may do what only one may do at a time (the reconciler)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, or_, update
from sqlalchemy.exc import IntegrityError

from broker.store.tables import leases, now


def hold(tx: Connection, name: str, owner: str, seconds: float) -> bool:
    """Take or renew a lease by the database's clock; False when somebody else has it."""
    mine = or_(leases.c.owner == owner, leases.c.until < now())
    if tx.execute(
        update(leases).where(leases.c.name == name, mine).values(owner=owner, until=now() + seconds)
    ).rowcount:
        return True
    try:
        with tx.begin_nested():
            tx.execute(insert(leases).values(name=name, owner=owner, until=now() + seconds))
    except IntegrityError:
        return False
    return True


def give_up(tx: Connection, name: str, owner: str) -> None:
    tx.execute(update(leases).where(leases.c.name == name, leases.c.owner == owner).values(until=0.0))


def forget(tx: Connection, name: str, owner: str) -> None:
    """Give up a lease that nobody will take again, and its row with it."""
    tx.execute(delete(leases).where(leases.c.name == name, leases.c.owner == owner))
