"""Attacks that several defences stand against: without any the attack works, and each alone stops it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from joserfc.jwk import Key, OctKey
from joserfc.jws import JWSRegistry

from broker.access import oidc, signatures
from broker.access.keys import Issued
from tests.security.identity import Known
from tests.security.test_identity_bearer import claims_of, part

pytestmark = pytest.mark.xdist_group("identity-layers")  # one API for all of them

LAYERS = ("the issuer's list of algorithms", "the registry of the verification", "the kinds of published keys")


class Gullible(JWSRegistry):
    """A registry as it would be without ours: every algorithm there is."""

    def __init__(self, algorithms: object) -> None:
        super().__init__(algorithms=list(JWSRegistry.algorithms), strict_check_header=False)


def published(known: Known) -> bytes:
    """The issuer's public key; not as PEM, which the library itself takes for no secret."""
    return json.dumps(known.idp.key.as_dict(private=False)).encode()


def forged(known: Known, algorithm: str) -> str:
    """An operator's token that its issuer never made."""
    signed = ".".join(
        part(one)
        for one in (
            {"alg": algorithm, "typ": "at+jwt", "kid": known.idp.kid},
            claims_of(known.idp.token("ada", roles=["eo-operator"])),
        )
    )
    if algorithm == "none":
        return f"{signed}."
    mac = hmac.new(published(known), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def without(known: Known, monkeypatch: pytest.MonkeyPatch, layers: set[str]) -> None:
    secret = OctKey.import_key(published(known))
    if LAYERS[0] in layers:
        monkeypatch.setattr(oidc, "refuse_kind", lambda *_: None)
    if LAYERS[1] in layers:
        monkeypatch.setattr(signatures, "Registry", Gullible)
    if LAYERS[2] in layers:  # as one would who takes what is published for what the algorithm wants

        def key(self: Issued, kid: str | None, algorithm: str) -> Key | None:
            return secret

        monkeypatch.setattr(Issued, "key", key)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS256"])
@pytest.mark.parametrize("left", [*LAYERS, None])
def test_algorithms_that_prove_nothing(
    known: Known, monkeypatch: pytest.MonkeyPatch, algorithm: str, left: str | None
) -> None:
    """`alg: none`, and HS256 with the public key as the secret. The case without any layer shows that the forged token
    is one that would be believed: each other case is red without its layer."""
    known.server.site.gate.forget()
    known.get("/me", known.idp.token("ada"))  # the issuer's documents are there
    token = forged(known, algorithm)
    without(known, monkeypatch, set(LAYERS) - {left})
    answer = known.get("/me", token)
    known.server.site.gate.forget()
    if left is None:
        assert answer.status_code == 200, answer.text
        assert "admin" in answer.json()["scopes"]
    else:
        assert answer.status_code == 401, answer.text
