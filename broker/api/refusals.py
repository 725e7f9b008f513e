"""Refused requests for the audit: counted in memory, written together, so that a flood of them is few rows a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from broker.api.rows import Rows
from broker.errors import BrokerError
from broker.store import audit
from broker.store.audit import Entry

REFUSED: Final = frozenset({401, 403, 429})
SOON, WINDOW = 1.0, 60.0  # seconds: from the first refusal to its row, and between rows
MOST = 20  # rows of a window; what is over that is counted in one more
NOBODY = "?"  # the actor where nobody knows who asked; the id of no person
LONGEST = 200  # characters of a path
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is counted together. `path`: of the route, with its parameters unfilled."""

    actor: str = NOBODY
    project: str = NOBODY
    delegate: str | None = None
    token: str | None = None
    address: str | None = None
    method: str = "*"
    path: str = "*"
    status: int = 0
    reason: str | None = None


@dataclass(slots=True)
class _Seen:
    example: str
    first: float
    times: int = 0


class Refusals:
    """What one API process has refused since it last wrote it down. Used on its event loop only."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._seen: dict[Refusal, _Seen] = {}
        self._some = asyncio.Event()

    def add(self, scope: Scope, status: int) -> None:
        """A request was answered with a status of REFUSED."""
        one = _refusal(scope, status)
        if one not in self._seen and len(self._seen) >= MOST:
            one = Refusal()
        seen = self._seen.setdefault(one, _Seen(str(scope["path"])[:LONGEST], time.time()))
        seen.times += 1
        self._some.set()

    async def run(self) -> None:
        """Write what was counted, for ever."""
        while True:
            await self._some.wait()
            await asyncio.sleep(SOON)
            await self.write()
            await asyncio.sleep(WINDOW - SOON)

    async def write(self) -> None:
        """Write what was counted; where the database does not answer, it stays for the next time."""
        self._some.clear()
        seen, self._seen = self._seen, {}
        try:
            await self._rows.quick(self._record, seen)
        except BrokerError as error:
            log.warning("refused requests are not in the audit yet: %s", error)
            for one, found in seen.items():
                found.times += self._seen[one].times if one in self._seen else 0
                self._seen[one] = found
            self._some.set()

    def _record(self, seen: Mapping[Refusal, _Seen]) -> None:
        with self._rows.database.write() as tx:
            audit.record(tx, *(_entry(one, found) for one, found in seen.items()))


@contextlib.asynccontextmanager
async def writing(refusals: Refusals) -> AsyncIterator[None]:
    """Refusals are written in here; the last ones on the way out."""
    task = asyncio.create_task(refusals.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await refusals.write()


def _refusal(scope: Scope, status: int) -> Refusal:
    state = scope.get("state") or {}
    who = state.get("principal")
    client = scope.get("client")
    return Refusal(
        actor=who.owner if who is not None else NOBODY,
        project=who.project if who is not None else NOBODY,
        delegate=who.delegate if who is not None else None,
        token=who.token if who is not None else None,
        address=client[0] if client else None,
        method=scope["method"],
        path=getattr(scope.get("route"), "path", "*"),
        status=status,
        reason=state.get("reason"),
    )


def _entry(one: Refusal, seen: _Seen) -> Entry:
    said = {"status": one.status, "reason": one.reason, "times": seen.times, "first": seen.first, "path": seen.example}
    return Entry(
        actor=one.actor,
        project=one.project,
        action="request",
        subject=f"{one.method} {one.path}",
        delegate=one.delegate,
        outcome="refused",
        token=one.token,
        address=one.address,
        data={name: value for name, value in said.items() if value},
    )
