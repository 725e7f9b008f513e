"""Fixtures of tests of identity: one real OpenID provider for the session, and an API that believes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from broker.store import audit
from tests.api.conftest import Around
from tests.api.server import Server
from tests.peers.oidc import PORTAL, Provider, provider
from tests.peers.ports import free_port

DELEGATES: dict[str, Any] = {
    "portal": {"issuer": "test", "client": PORTAL, "people": ["test:a*", "test:z*"], "projects": ["flood-*"]},
    "machine": {"owner": "machine", "people": ["test:*"], "scopes": ["read"]},
}


@dataclass(frozen=True)
class Known:
    """An API (`server`) that believes a provider (`idp`), called `test` there."""

    server: Server
    idp: Provider

    def get(self, path: str, token: str | None = None, **headers: str) -> requests.Response:
        return self.request("GET", path, token, headers=headers)

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        # without the session: no cookie and no connection of another test
        return requests.request(method, self.server.url + path, headers=headers, timeout=30, **options)

    def id_of(self, subject: str) -> str:
        """The id of a person who is let in, made at first sight."""
        answer = self.get("/me", self.idp.token(subject))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def audited(self, action: str) -> list[dict[str, Any]]:
        with self.server.database.read() as tx:
            return [row for row in audit.page(tx) if row["action"] == action]


@pytest.fixture(scope="session")
def port() -> int:
    """Where the API of these tests is, so that the provider can know where browsers come back to."""
    return free_port()


@pytest.fixture(scope="session")
def idp(port: int) -> Iterator[Provider]:
    """A provider that no test stops or changes."""
    with provider(f"http://127.0.0.1:{port}/login/callback") as running:
        yield running


@pytest.fixture(scope="module")
def known(
    idp: Provider, port: int, around: Around, sqlite_migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Known]:
    """One API for the tests of a file; people make their own rows."""
    state = tmp_path_factory.mktemp("known")
    file = state / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    access = {"issuers": {"test": idp.settings()}, "delegates": DELEGATES}
    with around.server(f"sqlite:///{file}", state, port=port, access=access) as server:
        yield Known(server, idp)
