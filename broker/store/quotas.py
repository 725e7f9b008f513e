"""Rows of quotas: what an operator set for one person, project or delegating platform."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.quota import Kind, Quota, Tenant
from broker.store.account_tables import quotas
from broker.store.tables import now

q = quotas.c
_STATE = select(func.count(), func.max(q.changed))
_ALL = select(q.kind, q.subject, q.limits).order_by(q.kind, q.subject)


def state(tx: Connection) -> tuple[int, float | None]:
    """Something that changes whenever a row does."""
    count, changed = tx.execute(_STATE).one()
    return int(count), changed


def every(tx: Connection) -> Mapping[Tenant, Quota]:
    """All rows, by kind and subject."""
    return {Tenant(Kind(row.kind), row.subject): Quota.from_json(row.limits) for row in tx.execute(_ALL)}


def get(tx: Connection, tenant: Tenant) -> Quota | None:
    found = tx.execute(select(q.limits).where(q.kind == tenant.kind.value, q.subject == tenant.id)).scalar()
    return None if found is None else Quota.from_json(found)


def put(tx: Connection, tenant: Tenant, quota: Quota) -> None:
    """Set the limits of one tenant, in place of those it had."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    values = {"limits": quota.to_json(), "changed": now()}
    row = make(quotas).values(kind=tenant.kind.value, subject=tenant.id, **values)
    tx.execute(row.on_conflict_do_update(index_elements=[q.kind, q.subject], set_=values))


def remove(tx: Connection, tenant: Tenant) -> bool:
    """Whether there was a row."""
    return bool(tx.execute(delete(quotas).where(q.kind == tenant.kind.value, q.subject == tenant.id)).rowcount)
