"""Tokens of OpenID Connect issuers: what has to be true of one before any of its claims counts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker.access.configuration import Issuer
from broker.access.principal import Role
from broker.errors import Unauthenticated

LONGEST_TOKEN: Final = 32 * 1024  # characters
LONGEST_KID: Final = 200
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])\Z")
_RANK = {Role.SCIENTIST: 1, Role.PUBLISHER: 2, Role.OPERATOR: 3}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token speaks of. `issuer`: its name in the settings; `client`: whom it was given to;
    `token`: its id (jti); `expires` in epoch seconds; `role`: None for somebody with no business here."""

    issuer: str
    subject: str
    name: str | None
    email: str | None
    orcid: str | None
    role: Role | None
    client: str | None
    token: str | None
    expires: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a token says before it is verified: good for no more than choosing the issuer and its key."""

    issuer: str
    algorithm: str
    type: str
    kid: str | None


def look(token: str) -> Seen:
    """Read a token without believing it. Raises Unauthenticated for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > LONGEST_TOKEN:
        raise Unauthenticated("The Authorization header holds neither a token of this broker nor a JWT.")
    header, claims = _json(parts[0]), _json(parts[1])
    kid = header.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= LONGEST_KID):
        raise Unauthenticated("The token names its key by something that is no name (kid).")
    return Seen(str(claims.get("iss", "")), str(header.get("alg", "")), str(header.get("typ", "")), kid)


def refuse_kind(seen: Seen, issuer: Issuer, types: Sequence[str] | None = None) -> None:
    """Raise Unauthenticated for an algorithm or type that this issuer's tokens must not have."""
    if seen.algorithm not in issuer.algorithms:
        raise Unauthenticated(f"Tokens of this issuer are not signed by {seen.algorithm[:20]!r}.")
    allowed = issuer.types if types is None else types
    if seen.type.lower() not in {one.lower() for one in allowed}:
        raise Unauthenticated(
            f"This is a token of the type {seen.type[:40]!r}, not an access token.",
            hint=f"Its header must say typ: {' or '.join(allowed)}.",
        )


def identity(name: str, issuer: Issuer, claims: Mapping[str, Any]) -> Identity:
    """Who verified claims speak of. Raises Unauthenticated when they name nobody."""
    paths = issuer.claims
    subject = at(claims, paths.subject)
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise Unauthenticated(f"The token names nobody ({paths.subject}).")
    orcid = _ORCID.match(_text(at(claims, paths.orcid)) or "")
    client = claims.get("client_id", claims.get("azp"))
    return Identity(
        name,
        subject,
        _text(at(claims, paths.name)),
        _text(at(claims, paths.email)),
        orcid[1] if orcid else None,
        role_of(issuer, at(claims, paths.roles)),
        client if isinstance(client, str) else None,
        _text(claims.get("jti")),
        float(claims["exp"]),
    )


def role_of(issuer: Issuer, found: object) -> Role | None:
    """The highest role that the values of the roles claim (a list, or words with spaces between) map to."""
    values = [*found.split(), found] if isinstance(found, str) else found if isinstance(found, list) else []
    roles = [issuer.roles[one] for one in values if isinstance(one, str) and one in issuer.roles]
    return max(roles, key=_RANK.__getitem__, default=issuer.default_role)


def at(claims: Mapping[str, Any], path: str) -> Any:
    """What is at a path: a name that has dots itself (`https://x.org/roles`) goes before a dotted path."""
    if path in claims:
        return claims[path]
    first, dot, rest = path.partition(".")
    inner = claims.get(first)
    return at(inner, rest) if dot and isinstance(inner, Mapping) else None


def _text(found: object) -> str | None:
    """A text of a claim that may be shown: one line of at most 200 characters."""
    if not isinstance(found, str):
        return None
    shown = "".join(one for one in found if one.isprintable()).strip()
    return shown[:200] or None


def _json(part: str) -> Mapping[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unauthenticated("The Authorization header holds neither a token of this broker nor a JWT.")
    return found
