"""The secret of a person's callbacks: made when it is first needed, shown to them, replaced when they wish."""

from __future__ import annotations

from dataclasses import dataclass

from broker.access import webhooks
from broker.access.principal import Principal, Scope
from broker.access.vault import Vault
from broker.errors import Forbidden
from broker.store import audit, callbacksecrets
from broker.store.callbacksecrets import Sealed
from broker.store.database import Database


@dataclass(frozen=True, slots=True)
class CallbackSecret:
    """`before`: the one that signs as well, for a day after a change. `changed`: epoch seconds."""

    secret: str
    before: str | None
    changed: float

    @property
    def signing(self) -> list[str]:
        return [self.secret] if self.before is None else [self.secret, self.before]


def of(database: Database, vault: Vault, owner: str) -> CallbackSecret:
    """A person's secret; made if there is none. Raises SetupError where it cannot be opened."""
    with database.read() as tx:
        row = callbacksecrets.get(tx, owner)
    if row is None:
        sealed = vault.seal(webhooks.new_secret().encode(), callbacksecrets.bond(owner))
        with database.write() as tx:
            callbacksecrets.make(tx, owner, sealed)
            row = callbacksecrets.get(tx, owner)
    assert row is not None  # noqa: S101 - made just now, and nothing deletes it
    return _opened(vault, row)


def shown(database: Database, vault: Vault, principal: Principal) -> CallbackSecret:
    """One's own. Raises Forbidden for platforms that act for somebody: the secret is that person's."""
    _refuse_delegate(principal)
    return of(database, vault, principal.owner)


def change(database: Database, vault: Vault, principal: Principal) -> CallbackSecret:
    """A new one; the old one signs as well for a day. Raises Forbidden."""
    _refuse_delegate(principal)
    of(database, vault, principal.owner)
    sealed = vault.seal(webhooks.new_secret().encode(), callbacksecrets.bond(principal.owner))
    with database.write() as tx:
        callbacksecrets.replace(tx, principal.owner, sealed)
        audit.record(tx, audit.entry(principal, "change-callback-secret", f"person/{principal.owner}"))
    return of(database, vault, principal.owner)


def reseal(database: Database, vault: Vault) -> int:
    """Seal all with the vault's first key of now; how many were not. Raises SetupError."""
    with database.read() as tx:
        rows = callbacksecrets.every(tx)
    count = 0
    for row in rows:
        if vault.newest(row.sealed) and (row.before is None or vault.newest(row.before)):
            continue
        sealed, before = (
            None if old is None else vault.seal(vault.open(old, row.bond), row.bond) for old in (row.sealed, row.before)
        )
        assert sealed is not None  # noqa: S101 - the first of the two always is there
        with database.write() as tx:
            count += callbacksecrets.reseal(tx, row, sealed, before)
    return count


def _refuse_delegate(principal: Principal) -> None:
    principal.need(Scope.RUN)
    if principal.delegate is not None:
        raise Forbidden(f"The platform {principal.delegate} may not see the callback secrets of people it acts for.")


def _opened(vault: Vault, row: Sealed) -> CallbackSecret:
    before = None if row.before is None else vault.open(row.before, row.bond).decode()
    return CallbackSecret(vault.open(row.sealed, row.bond).decode(), before, row.changed)
