"""Who bears a token: one of the broker's own, or one of an issuer; what was verified is remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from broker.access import oidc
from broker.access.configuration import Access
from broker.access.keys import Issued
from broker.access.oidc import Identity, Seen
from broker.access.principal import SCOPES_OF, WORKS, Scope
from broker.access.tokens import PREFIX, digest
from broker.api.rows import Rows
from broker.egress import Egress
from broker.errors import Forbidden, IssuerSilent, Unauthenticated
from broker.store import people, projects, tokens
from broker.store.people import Person
from broker.store.tokens import Token

if TYPE_CHECKING:
    from joserfc.jwk import Key

T = TypeVar("T")
REMEMBERED = 2.0  # seconds that an answer of the database counts for: how long a revoked token may live on
LONGEST_REMEMBERED = 600.0  # seconds that a verified token of an issuer is not verified again
MOST_REMEMBERED = 10_000
USED_EVERY = 60.0  # seconds between notes of a token's use


@dataclass(frozen=True, slots=True)
class Known:
    """Who called, before any header says for whom. `project`: the owner's id where the request is not for a project;
    `token`: the id of the broker's own token; `identity`: what an issuer's token says; `name`: for a person to read;
    `reference`: what the audit knows the token or session by."""

    owner: str
    project: str
    scopes: frozenset[Scope]
    name: str
    token: str | None = None
    identity: Identity | None = None
    reference: str | None = None


class Bearers:
    """Tells who a bearer is. `issued`: what each configured issuer publishes, by its name."""

    def __init__(self, access: Access, rows: Rows, egress: Egress) -> None:
        self._access = access
        self._rows = rows
        self._by_url = {one.url: name for name, one in access.issuers.items()}
        self.issued: Mapping[str, Issued] = {name: Issued(one.url, egress) for name, one in access.issuers.items()}
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, tuple[float, Known]] = {}  # by hash of the token; until, monotonic
        self._noted: dict[str, float] = {}

    def forget(self) -> None:
        """Ask the database again: tokens have changed."""
        self._known.clear()

    async def known(self, secret: str) -> Known:
        """Raises Unauthenticated, Forbidden for somebody without a role, IssuerSilent."""
        hashed = digest(secret)
        until, found = self._known.get(hashed, (0.0, None))
        if found is None or time.monotonic() >= until:
            seconds, found = await (self._own(hashed) if secret.startswith(PREFIX) else self._foreign(secret))
            remember(self._known, hashed, (time.monotonic() + seconds, found))
        if found.token is not None and time.monotonic() >= self._noted.get(found.token, 0.0):
            remember(self._noted, found.token, time.monotonic() + USED_EVERY)
            await self._rows.quick(self._note, found.token)
        return found

    async def _own(self, hashed: str) -> tuple[float, Known]:
        return REMEMBERED, await self._rows.read(_bearer, hashed)

    def _note(self, token_id: str) -> None:
        with self._rows.database.write() as tx:
            tokens.used(tx, token_id)

    async def _foreign(self, token: str) -> tuple[float, Known]:
        """All that is believed before the signature is which of the configured issuers to ask for the key."""
        if not self._by_url:
            raise Unauthenticated("The Authorization header holds no token of this broker (Bearer eb_...).")
        from broker.access import signatures  # noqa: PLC0415 - see there

        seen = oidc.look(token)
        name = self._by_url.get(seen.issuer)
        if name is None:
            raise Unauthenticated("The token is of an issuer that does not count here (iss).")
        issuer = self._access.issuers[name]
        oidc.refuse_kind(seen, issuer)
        key = await self.key(name, seen)
        claims = signatures.verify(token, key, issuer, now=time.time(), audience=issuer.audience)
        who = oidc.identity(name, issuer, claims)
        left = who.expires + issuer.leeway - time.time()
        said = {"name": who.name, "email": who.email, "orcid": who.orcid}
        person = await self._rows.read(people.recent, issuer.url, who.subject, **said)
        if person is None:
            person = await self._rows.quick(self._met, issuer.url, who.subject, said)
        return min(left, LONGEST_REMEMBERED), _bearing(person, who, digest(token))

    def _met(self, url: str, subject: str, said: Mapping[str, str | None]) -> Person:
        """The person's row, made at first sight."""
        with self._rows.database.write() as tx:
            return people.meet(tx, url, subject, **said)

    async def key(self, name: str, seen: Seen) -> Key:
        """The key of a token's signature; the issuer is asked where that is due or allowed, by one request at a time.

        Raises Unauthenticated for a key that the issuer does not publish.
        """
        issued = self.issued[name]
        found = issued.key(seen.kid, seen.algorithm)
        if found is None and (issued.stale() or issued.may_ask_for(seen.kid)):
            await asyncio.shield(self.refresh(name, seen.kid, forced=True))
            found = issued.key(seen.kid, seen.algorithm)
        elif issued.stale():
            self.refresh(name)  # meanwhile the known keys count
        if found is not None:
            return found
        if not issued.metadata:
            raise IssuerSilent("The issuer of this token does not answer.", hint="Try again in half a minute.")
        raise Unauthenticated("The token is signed by a key that its issuer does not publish.")

    def refresh(self, name: str, kid: str | None = None, *, forced: bool = False) -> asyncio.Task[None]:
        """The one refresh of an issuer that is under way, or a new one."""
        task = self._refreshing.get(name)
        if task is None or task.done():
            task = asyncio.create_task(asyncio.to_thread(self.issued[name].refresh, kid, forced=forced))
            task.add_done_callback(_look_at)
            self._refreshing[name] = task
        return task


def _bearing(person: Person, who: Identity, hashed: str) -> Known:
    """A person as a caller."""
    scopes = SCOPES_OF[who.role] if who.role is not None else frozenset[Scope]()
    reference = f"jwt:{who.token or hashed[:16]}"
    return Known(person.id, person.id, scopes, person.name, identity=who, reference=reference)


def _look_at(task: asyncio.Task[None]) -> None:
    """A refresh that nobody waits for may fail: the issuer's silence is in the log already."""
    if not task.cancelled():
        task.exception()


def _bearer(tx: Connection, hashed: str) -> Known:
    """The bearer of one of the broker's own tokens. Raises Unauthenticated; Forbidden for the token of a project that
    its owner has left."""
    token: Token | None = tokens.by_hash(tx, hashed)
    if token is None:
        raise Unauthenticated("The token is not valid: unknown, expired or revoked.")
    person = people.get(tx, token.owner)
    bound = person is not None and token.project != token.owner
    if bound and projects.part_of(tx, token.project, token.owner) not in WORKS:
        raise Forbidden(f"This token is for the project {token.project}, which its owner no longer works in.")
    scopes = frozenset(scope for scope in Scope if scope.value in token.scopes)
    name = person.name if person is not None else token.owner
    return Known(token.owner, token.project, scopes, name, token.id, reference=token.id)


def remember(memory: dict[str, T], key: str, value: T) -> None:
    """Keep a value in a memory of bounded size: the oldest gives way."""
    if key not in memory and len(memory) >= MOST_REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
