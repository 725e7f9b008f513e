"""Accounts that people have at platforms: found for a job, and opened for the adapter of the platform only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import orjson
from sqlalchemy import Connection

from broker.access.credential import Kind, Secret
from broker.access.vault import Vault
from broker.errors import PlatformUnavailable
from broker.jobs.model import Job
from broker.store import credentials, leases
from broker.store.credentials import Credential, Sealed
from broker.store.database import Database, new_id

RENEWAL_SECONDS = 120.0  # more than the requests of one renewal take


def of_job(tx: Connection, vault: Vault, job: Job, at: str) -> Credential | None:
    """The credential of the job's owner for the platform at an origin. Others of the project are nobody else's, and
    logins that nobody has confirmed yet are none."""
    for one in credentials.usable(tx, job.owner, job.project, [Kind.OPENEO.value]):
        if one.row.owner == job.owner and one.row.target == at:
            fields = orjson.loads(vault.open(one.sealed, one.row.bond))
            if not Secret(Kind.OPENEO, at, fields).entering:
                return one.row
    return None


class Kept:
    """Implements `broker.platform.Accounts`."""

    def __init__(self, database: Database, vault: Callable[[], Vault]) -> None:
        self._database = database
        self._vault = vault

    def opened(self, account: str, at: str) -> tuple[float, Mapping[str, str]] | None:
        found = self._found(account, at)
        return None if found is None else (found.row.changed, self._fields(found))

    @contextmanager
    def renewing(self, account: str, at: str) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Many identity providers take a refresh token once, and end the login where it comes a second time."""
        name, mine = f"account/{account}", new_id()
        with self._database.write() as tx:
            held = leases.hold(tx, name, mine, RENEWAL_SECONDS)
        if not held:
            raise PlatformUnavailable("Your login there is being renewed.", retry_after=1.0, sent=False, personal=True)
        try:
            found = self._found(account, at)
            fields = {} if found is None else self._fields(found)
            if found is None or "refreshToken" not in fields:
                raise PlatformUnavailable("Your login there was replaced.", sent=False, personal=True)
            row, old = found.row, found.sealed

            def keep(token: str) -> None:
                sealed = self._vault().seal(orjson.dumps({**fields, "refreshToken": token}), row.bond)
                with self._database.write() as tx:
                    credentials.reseal(tx, row, old, sealed)  # not over what its owner has put there meanwhile

            yield fields["refreshToken"], keep
        finally:
            with self._database.write() as tx:
                leases.forget(tx, name, mine)

    def _found(self, account: str, at: str) -> Sealed | None:
        with self._database.read() as tx:
            found = credentials.account(tx, account)
        good = found is not None and (found.row.kind, found.row.target) == (Kind.OPENEO, at)
        return found if good else None

    def _fields(self, found: Sealed) -> dict[str, str]:
        fields: dict[str, str] = orjson.loads(self._vault().open(found.sealed, found.row.bond))
        return fields
