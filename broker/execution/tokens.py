"""Tokens that people make for themselves: never more than they have, never for longer than what they made it with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.access import tokens as secrets_of
from broker.access.principal import WORKS, Principal, Scope
from broker.errors import Forbidden, InputError, InputProblem, Missing
from broker.store import audit, projects, tokens
from broker.store.database import Database, new_id
from broker.store.tokens import Token


@dataclass(frozen=True, slots=True)
class Wish:
    """A token to make. `project`: None for that of its maker; `seconds`: how long it lives."""

    name: str
    scopes: Collection[Scope]
    project: str | None
    seconds: float


def make(database: Database, principal: Principal, maker: str | None, wish: Wish) -> tuple[Token, str]:
    """(the token, its secret). `maker`: the id of the token that asks for it, if one of the broker's own does: the new
    one ends with it. Raises Forbidden for what its maker may not, InputError."""
    if principal.delegate is not None:
        raise Forbidden(f"The platform {principal.delegate} may not make tokens of the people that it acts for.")
    if beyond := set(wish.scopes) - principal.scopes:
        raise Forbidden(f"You cannot give a scope that you do not have: {', '.join(sorted(beyond))}.")
    if not wish.scopes:
        raise InputError(InputProblem("/scopes", "name at least one scope"))
    secret, digest = secrets_of.generate()
    with database.write() as tx:
        project = _project(tx, principal, wish.project)
        parent = tokens.get(tx, maker) if maker is not None else None
        seconds = wish.seconds
        if parent is not None and parent.expires is not None:
            seconds = min(seconds, tokens.left(tx, parent))
        scopes = sorted(one.value for one in wish.scopes)
        made = tokens.add(tx, new_id(), digest, principal.owner, project, wish.name, scopes, seconds, parent=maker)
        said = {"name": wish.name, "scopes": scopes, "project": project, "expires": made.expires}
        audit.record(tx, audit.entry(principal, "make-token", f"token/{made.id}", **said))
    return made, secret


def _project(tx: Connection, principal: Principal, wanted: str | None) -> str:
    """The project of a new token. Raises Forbidden for one in which its maker does not work."""
    if wanted is None or wanted == principal.project:
        return principal.project
    bound = principal.project != principal.owner
    if bound or (wanted != principal.owner and projects.part_of(tx, wanted, principal.owner) not in WORKS):
        raise Forbidden(f"You cannot make a token for the project {wanted}: you do not work in it with this login.")
    return wanted


def revoke(database: Database, principal: Principal, token_id: str) -> None:
    """Revoke one's own token, an operator also others', and those it has made. Raises Missing for all others."""
    if principal.delegate is not None:
        raise Forbidden(f"The platform {principal.delegate} may not revoke tokens of the people that it acts for.")
    with database.write() as tx:
        found = tokens.get(tx, token_id)
        theirs = found is not None and (found.owner == principal.owner or Scope.ADMIN in principal.scopes)
        if not theirs or not tokens.revoke(tx, token_id):
            raise Missing("There is no such valid token.", hint="See: broker token list --server URL")
        audit.record(tx, audit.entry(principal, "revoke-token", f"token/{token_id}"))
