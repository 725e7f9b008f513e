"""Keys and signatures of OpenID Connect issuers.

Its library takes 8 MB, so that it is imported where a signature is checked, and by brokers that have issuers only.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwk, jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError, UnsupportedAlgorithmError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from broker.access import oidc
from broker.access.configuration import Issuer
from broker.access.keys import FAMILY
from broker.errors import Unauthenticated

MOST_KEYS = 50
SHORTEST_RSA = 2048  # bits


class Registry(JWSRegistry):
    """Exactly the given algorithms; headers that we do not know are let be (those named by `crit` are not)."""

    max_header_length = 8 * 1024
    max_payload_length = oidc.LONGEST_TOKEN

    def __init__(self, algorithms: Sequence[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError("not on the list")
        return self.algorithms[name]


def verify(
    token: str, key: Key, issuer: Issuer, *, now: float, audience: Sequence[str], types: Sequence[str] | None = None
) -> Mapping[str, Any]:
    """The claims of a token: signature, algorithm, type, issuer, audience and times are right.

    `types`: of `typ`, default those of the issuer's access tokens. Raises Unauthenticated, which says what is wrong.
    """
    oidc.refuse_kind(oidc.look(token), issuer, types)
    registry = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=int(issuer.leeway),
        iss={"essential": True, "value": issuer.url},
        aud={"essential": True, "values": list(audience)},
        exp={"essential": True},
    )
    try:
        decoded = jwt.decode(token, key, registry=Registry(issuer.algorithms))
        registry.validate(decoded.claims)
    except ExpiredTokenError:
        raise Unauthenticated("The token has expired.", hint="Log in again: broker login") from None
    except (InvalidClaimError, MissingClaimError) as error:
        raise Unauthenticated(f"The token is not for this broker, or not valid now: {error.claim}.") from None
    except (JoseError, ValueError, TypeError):
        raise Unauthenticated("The token is not signed by its issuer.") from None
    if "cnf" in decoded.claims:
        raise Unauthenticated("The token is bound to a key of its client (cnf), which this broker cannot check.")
    return decoded.claims


def usable_keys(document: Mapping[str, Any]) -> tuple[tuple[str | None, str, Key], ...]:
    """(id, type, key) of the public signing keys of a JWK set; secret, private, short and broken ones are left out."""
    given = document.get("keys")
    found = []
    for one in given[:MOST_KEYS] if isinstance(given, list) else ():
        if not isinstance(one, dict) or one.get("kty") not in FAMILY.values() or "d" in one:
            continue
        if one.get("use") not in (None, "sig") or (one["kty"] == "RSA" and _bits(one.get("n")) < SHORTEST_RSA):
            continue
        try:
            key = jwk.import_key(one)
        except (JoseError, ValueError, KeyError, TypeError):
            continue
        kid = one.get("kid")
        found.append((kid if isinstance(kid, str) else None, str(one["kty"]), key))
    return tuple(found)


def _bits(number: object) -> int:
    """The length of a number in base64url."""
    try:
        raw = base64.urlsafe_b64decode(str(number) + "=" * (-len(str(number)) % 4))
    except ValueError:
        return 0
    return int.from_bytes(raw, "big").bit_length()
