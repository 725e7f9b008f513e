"""Who is asking: an owner, acting in a project, with scopes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.errors import Forbidden


class Scope(StrEnum):
    """What a token may do. READ: one's own jobs and all processes; RUN: execute and dismiss; DEPLOY: deploy,
    replace, undeploy; ADMIN: everybody's jobs, tokens, platforms."""

    READ = "read"
    RUN = "run"
    DEPLOY = "deploy"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """`owner` owns what the request makes, in `project`; `token` is the id of the token used, if any."""

    owner: str
    project: str
    scopes: frozenset[Scope]
    token: str | None = None

    def need(self, scope: Scope) -> None:
        """Raise Forbidden without the scope."""
        if scope not in self.scopes:
            # without --scope, all but ADMIN; a token of one scope alone could not even read what it made
            scopes = "".join(f" --scope {one.value}" for one in Scope) if scope is Scope.ADMIN else ""
            raise Forbidden(
                f"This token lacks the scope {scope.value!r}.",
                hint=f"Make one that has it: broker token create NAME{scopes}",
            )

    @property
    def sees(self) -> str | None:
        """The owner to filter by; None for an admin, who sees everybody's."""
        return None if Scope.ADMIN in self.scopes else self.owner


LOCAL = Principal("local", "local", frozenset(Scope) - {Scope.ADMIN})  # open mode: loopback, nobody asked
