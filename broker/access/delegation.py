"""Who may act for whom: what an operator allowed a platform, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from broker.access.configuration import Delegate
from broker.access.oidc import Identity
from broker.errors import Forbidden


def platform(delegates: Mapping[str, Delegate], owner: str, identity: Identity | None) -> tuple[str, Delegate]:
    """The platform that a caller is: the bearer of a token of an issuer (`identity`), or of `owner`'s own token.

    Raises Forbidden for everybody else. A token that a client got for one of its users is not the client's own: its
    subject is another one.
    """
    for name, one in delegates.items():
        if identity is None:
            known = one.owner is not None and one.owner == owner
        elif one.client is not None:
            known = one.issuer == identity.issuer and identity.client == one.client == identity.subject
        else:
            known = one.subject is not None and (one.issuer, one.subject) == (identity.issuer, identity.subject)
        if known:
            return name, one
    raise Forbidden(
        "Only platforms that the operator has named may act for others (Acting-For).",
        hint="Leave the header out, or ask the operator to add the platform to access.delegates.",
    )


def refuse_person(name: str, delegate: Delegate, issuer: str, subject: str) -> None:
    """Raise Forbidden for a person that the platform may not act for."""
    if not any(fnmatchcase(f"{issuer}:{subject}", pattern) for pattern in delegate.people):
        raise Forbidden(f"The platform {name} may not act for this person (access.delegates.{name}.people).")


def refuse_project(name: str, delegate: Delegate, project: str) -> None:
    """Raise Forbidden for a project that the platform may not act in."""
    if not any(fnmatchcase(project, pattern) for pattern in delegate.projects):
        raise Forbidden(f"The platform {name} may not act in the project {project} (access.delegates.{name}.projects).")
