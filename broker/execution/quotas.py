"""Quotas in force: read from the database now and then, counted in the transaction that gives a place away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from broker.access import quota
from broker.access.principal import Principal, Scope
from broker.access.quota import Kind, Quota, Quotas, Tenant, Used
from broker.errors import Missing, QuotaExceeded
from broker.store import audit, usage
from broker.store import quotas as rows
from broker.store.database import Database

REMEMBERED = 2.0  # seconds: how long after an operator's change the old limits may count in other processes


class Ledger:
    """The limits as of a moment ago. For all threads of a process."""

    def __init__(self, database: Database, defaults: Mapping[Kind, Quota] | None = None) -> None:
        self._database = database
        self._until = 0.0
        self._state: tuple[int, float | None] = (0, None)
        self._lock = threading.Lock()
        self._now = Quotas(dict(defaults or {}))

    def now(self) -> Quotas:
        """Raises StorageError."""
        if time.monotonic() >= self._until:
            with self._lock:
                if time.monotonic() >= self._until:
                    self._read()
        return self._now

    def forget(self) -> None:
        """Ask the database again: somebody has changed a row."""
        self._until = 0.0

    def _read(self) -> None:
        with self._database.read() as tx:
            state = rows.state(tx)
            if state != self._state:
                self._now = Quotas(self._now.defaults, rows.every(tx))
                self._state = state
        self._until = time.monotonic() + REMEMBERED


class Places:
    """The places that are left to those who ask in one transaction: counted once, then kept account of.

    Made before anything else is written in the transaction; it holds the tenants' locks until that ends.
    """

    def __init__(self, tx: Connection, quotas: Quotas, asking: Iterable[tuple[str, str, str | None]]) -> None:
        self._of = {who: list(quotas.limited(*who)) for who in set(asking)} if quotas else {}
        limited = {tenant: limits for found in self._of.values() for tenant, limits in found}
        if not limited:
            return
        usage.lock(tx, limited)
        self._at = time.time()
        self._used = {tenant: usage.of(tx, tenant, limits, self._at) for tenant, limits in limited.items()}

    def refuse(self, owner: str, project: str, delegate: str | None) -> QuotaExceeded | None:
        """Why there is no place for a job of theirs."""
        for tenant, limits in self._of.get((owner, project, delegate), ()):
            refused = quota.refuse_job(tenant, limits, self._used[tenant], self._at)
            if refused is not None:
                return refused
        return None

    def take(self, owner: str, project: str, delegate: str | None) -> None:
        for tenant, _ in self._of.get((owner, project, delegate), ()):
            self._used[tenant].queued += 1

    def refuse_bytes(self, owner: str, project: str, delegate: str | None, more: int) -> QuotaExceeded | None:
        """Why so many more bytes of theirs cannot be kept."""
        for tenant, limits in self._of.get((owner, project, delegate), ()):
            refused = quota.refuse_bytes(tenant, limits, self._used[tenant], more)
            if refused is not None:
                return refused
        return None

    def bytes_left(self, owner: str, project: str, delegate: str | None) -> int | None:
        """None where nothing bounds them."""
        left = [
            limits.storage_bytes - self._used[tenant].storage_bytes
            for tenant, limits in self._of.get((owner, project, delegate), ())
            if limits.storage_bytes is not None
        ]
        return max(0, min(left)) if left else None


def used(tx: Connection, tenant: Tenant) -> Used:
    """All that a tenant has now, whatever is limited."""
    return usage.of(tx, tenant, usage.EVERYTHING, time.time())


def put(database: Database, principal: Principal, tenant: Tenant, limits: Quota) -> None:
    """Set the limits of one tenant, in place of those it had. Raises Forbidden."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        rows.put(tx, tenant, limits)
        audit.record(tx, audit.entry(principal, "set-quota", f"quota/{tenant}", **limits.to_json()))


def remove(database: Database, principal: Principal, tenant: Tenant) -> None:
    """From now on the defaults count. Raises Forbidden, Missing."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        if not rows.remove(tx, tenant):
            raise Missing(f"There is no quota of its own for {tenant}.", hint="See: broker quota show --all")
        audit.record(tx, audit.entry(principal, "unset-quota", f"quota/{tenant}"))
