"""Where tokens are made and revoked: in the database of one's own broker, or by the API of any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from broker.access import tokens as secrets_of
from broker.access.principal import LOCAL
from broker.cli.client import Client
from broker.cli.problems import UsageError
from broker.errors import Missing
from broker.settings import Settings
from broker.store import audit, tokens
from broker.store.audit import Entry
from broker.store.database import Database, new_id
from broker.store.schema import migrate

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token to make; None where the place has a default. `seconds`: None: for ever, where that can be."""

    name: str
    scopes: Sequence[str] | None
    owner: str | None
    project: str | None
    seconds: float | None


class TokenPlace(Protocol):
    """Tokens as the API shows them: id, name, owner, project, scopes, created, expires, revoked, lastUsed."""

    def make(self, wanted: Wanted) -> dict[str, Any]:
        """The new token with its `secret`; `first`: there was none before."""

    def every(self) -> list[dict[str, Any]]: ...

    def revoke(self, token_id: str) -> None:
        """Raises Missing."""

    def open(self) -> bool:
        """Whether everybody on the broker's machine may use it."""


class Remote:
    """One's own tokens on a server; an operator revokes others' too."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def make(self, wanted: Wanted) -> dict[str, Any]:
        if wanted.owner is not None:
            raise UsageError(
                "On a server one makes tokens of one's own only.",
                hint="Leave --owner out, or work on the broker's machine: --config FILE",
            )
        body: dict[str, Any] = {"name": wanted.name, "scopes": wanted.scopes, "project": wanted.project}
        body["days"] = None if wanted.seconds is None else wanted.seconds / DAY
        return self._client.make_token({key: value for key, value in body.items() if value is not None})

    def every(self) -> list[dict[str, Any]]:
        return self._client.tokens()

    def revoke(self, token_id: str) -> None:
        self._client.revoke_token(token_id)

    def open(self) -> bool:
        return False


class Local:
    """Everybody's tokens, straight in the database: whoever may write it is the operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def make(self, wanted: Wanted) -> dict[str, Any]:
        secret, digest = secrets_of.generate()
        owner, project = wanted.owner or LOCAL.owner, wanted.project or wanted.owner or LOCAL.project
        scopes = wanted.scopes or ["deploy", "read", "run"]
        with self._database() as database, database.write() as tx:
            first = not tokens.any_valid(tx)
            made = tokens.add(tx, new_id(), digest, owner, project, wanted.name, sorted(scopes), wanted.seconds)
            said = {"name": made.name, "owner": owner, "project": project, "scopes": list(made.scopes)}
            audit.record(tx, _entry("make-token", made.id, said))
        return _shown(made) | {"secret": secret, "first": first}

    def every(self) -> list[dict[str, Any]]:
        with self._database() as database, database.read() as tx:
            return [_shown(one) for one in tokens.every(tx)]

    def revoke(self, token_id: str) -> None:
        with self._database() as database, database.write() as tx:
            if not tokens.revoke(tx, token_id):
                raise Missing(f"There is no valid token {token_id}.", hint="See: broker token list")
            audit.record(tx, _entry("revoke-token", token_id, {}))

    def open(self) -> bool:
        if self._settings.access.issuers:
            return False
        with self._database() as database, database.read() as tx:
            return not tokens.any_valid(tx)

    @contextmanager
    def _database(self) -> Iterator[Database]:
        database = Database(self._settings.database, pool_size=1)
        try:
            migrate(database)
            yield database
        finally:
            database.close()


def _entry(action: str, token_id: str, said: dict[str, Any]) -> Entry:
    """What was done on the broker's machine, by whoever may write its database."""
    data = said | {"by": "command line"}
    return Entry(LOCAL.owner, LOCAL.project, action, f"token/{token_id}", data=data)


def _shown(one: tokens.Token) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "owner": one.owner,
        "project": one.project,
        "scopes": list(one.scopes),
        "created": _time(one.created),
        "expires": _time(one.expires),
        "revoked": _time(one.revoked),
        "lastUsed": _time(one.last_used),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
