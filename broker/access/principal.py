"""Who is asking: a person, in a project, with scopes; perhaps a platform asks in that person's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from broker.errors import Forbidden


class Scope(StrEnum):
    """What a request may do. READ: what one sees; RUN: execute and dismiss; DEPLOY: deploy, replace, undeploy;
    PUBLISH: send results to the PRR and the catalog; ADMIN: everybody's jobs, tokens, projects, platforms."""

    READ = "read"
    RUN = "run"
    DEPLOY = "deploy"
    PUBLISH = "publish"
    ADMIN = "admin"


class Role(StrEnum):
    """What a person is to this broker."""

    SCIENTIST = "scientist"
    PUBLISHER = "publisher"
    OPERATOR = "operator"


SCOPES_OF: Mapping[Role, frozenset[Scope]] = MappingProxyType(
    {
        Role.SCIENTIST: frozenset({Scope.READ, Scope.RUN, Scope.DEPLOY}),
        Role.PUBLISHER: frozenset({Scope.READ, Scope.RUN, Scope.DEPLOY, Scope.PUBLISH}),
        Role.OPERATOR: frozenset(Scope),
    }
)


class Part(StrEnum):
    """What a person is in a project. VIEWER: sees what is shared with it; MEMBER: also works in its name and at its
    quota's expense; MAINTAINER: also changes what is shared with it, and its members."""

    VIEWER = "viewer"
    MEMBER = "member"
    MAINTAINER = "maintainer"


WORKS = frozenset({Part.MEMBER, Part.MAINTAINER})  # who acts in a project's name


@dataclass(frozen=True, slots=True)
class Reach:
    """Which rows somebody sees and may change: one's own, those shared with one's projects, public ones.

    `everything`: an operator's. Which projects are one's, the database knows (`broker.store.visible`).
    """

    owner: str
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """`owner` (a person's id) owns what the request makes, in `project` (one's own has the id of the person).

    `token`: the id of the token used, if any. `delegate`: the platform that acts for the person, if any.
    `address`: of the client, for the audit.
    """

    owner: str
    project: str
    scopes: frozenset[Scope]
    token: str | None = None
    delegate: str | None = None
    address: str | None = None

    def need(self, scope: Scope) -> None:
        """Raise Forbidden without the scope."""
        if scope not in self.scopes:
            if self.token is None and self.owner == LOCAL.owner:
                raise Forbidden(
                    "Where nobody is asked who they are, nobody is an operator.",
                    hint="Make an operator's token on the broker's machine (from then on everybody is asked): "
                    "broker token create NAME --role operator",
                )
            # without --scope, all but ADMIN; a token of one scope alone could not even read what it made
            scopes = "".join(f" --scope {one.value}" for one in Scope) if scope is Scope.ADMIN else ""
            raise Forbidden(
                f"This token lacks the scope {scope.value!r}.",
                hint=f"Make one that has it: broker token create NAME{scopes}",
            )

    @property
    def reach(self) -> Reach:
        return Reach(self.owner, everything=Scope.ADMIN in self.scopes)

    @property
    def lists(self) -> str | None:
        """Whose rows a list shows when it is asked for nothing else: one's own; None: everybody's, for an operator."""
        return None if Scope.ADMIN in self.scopes else self.owner


LOCAL = Principal("local", "local", frozenset(Scope) - {Scope.ADMIN})  # open mode: loopback, nobody asked
