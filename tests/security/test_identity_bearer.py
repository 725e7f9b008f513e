"""Bearer tokens of a real issuer: what has to be true of one, and what a person is to the broker."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from broker.access.configuration import Access, Issuer
from broker.access.oidc import at, role_of
from broker.access.principal import Role
from broker.store import people
from tests.api.schemas import valid_problem
from tests.peers.broker import wait_for
from tests.peers.oidc import WEB
from tests.security.identity import Known

pytestmark = pytest.mark.xdist_group("identity-bearer")  # one API for all of them

HOUR = 3600


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def test_a_token_makes_a_person_at_first_sight(known: Known) -> None:
    answer = known.get("/me", known.idp.token("ada"))
    assert answer.status_code == 200, answer.text
    me = answer.json()
    assert me["id"] == people.id_of(known.idp.url, "ada")
    assert me["id"].isalnum(), "it is a part of paths and keys"
    assert len(me["id"]) == 20
    assert (me["name"], me["email"], me["project"]) == ("Ada Lovelace", "ada@example.org", me["id"])
    assert me["scopes"] == ["deploy", "read", "run"]
    assert known.id_of("ada") == me["id"]
    assert known.id_of("bob") != me["id"]


def test_roles_and_orcid_come_from_claims(known: Known) -> None:
    me = known.get("/me", known.idp.token("olga")).json()
    assert "admin" in me["scopes"]
    assert me["orcid"] == "0000-0002-1825-0097"


def test_somebody_without_a_role_is_told_so(known: Known) -> None:
    answer = known.get("/jobs", known.idp.token("eve"))
    valid_problem(answer, 403)
    assert "no role" in answer.json()["detail"]
    assert "access.issuers.test" in answer.json()["hint"]


def test_what_is_known_of_a_person_is_kept_up(known: Known) -> None:
    known.get("/me", known.idp.token("dora", name="Dora", roles=["eo-scientist"]))
    me = known.get("/me", known.idp.token("dora", name="Dora D.", email="d@example.org", roles=["eo-scientist"])).json()
    assert (me["name"], me["email"]) == ("Dora D.", "d@example.org")
    me = known.get("/me", known.idp.token("dora", roles=["eo-scientist"])).json()
    assert (me["name"], me["email"]) == ("Dora D.", "d@example.org"), "a token that does not say takes nothing away"


NOW = time.time()
WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://issuer.example"},
    "no issuer": {"iss": None},
    "issuer with a slash": {"iss": "+/"},
    "another audience": {"aud": "urn:somebody-else"},
    "audiences of others": {"aud": ["urn:somebody-else", "urn:broker2"]},
    "no audience": {"aud": None},
    "audience that is no text": {"aud": {"urn:broker": True}},
    "expired": {"exp": int(NOW) - HOUR},
    "no end": {"exp": None},
    "an end that is no time": {"exp": "never"},
    "not yet": {"nbf": int(NOW) + HOUR},
    "made in the future": {"iat": int(NOW) + HOUR},
    "nobody": {"sub": None},
    "empty": {"sub": ""},
    "no text": {"sub": 7},
    "bound to a key of its client": {"cnf": {"jkt": "x"}},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG.keys())
def test_claims_that_are_wrong(known: Known, claims: dict[str, Any]) -> None:
    given = {name: known.idp.url + "/" if value == "+/" else value for name, value in claims.items()}
    answer = known.get("/me", known.idp.token("ada", **given))
    valid_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_clocks_may_differ_by_the_leeway_and_no_more(known: Known) -> None:
    now = int(time.time())
    assert known.get("/me", known.idp.token("ada", exp=now - 10)).status_code == 200
    assert known.get("/me", known.idp.token("ada", exp=now - 60)).status_code == 401


WRONG_HEADERS: dict[str, dict[str, Any]] = {
    "an ID token": {"typ": "JWT"},
    "no type": {"typ": None},
    "a logout token": {"typ": "logout+jwt"},
    "unknown key": {"kid": "nobody"},
    "key that is no name": {"kid": 7},
    "crit that nobody knows": {"crit": ["exp2"], "exp2": 1},
}


@pytest.mark.parametrize("header", WRONG_HEADERS.values(), ids=WRONG_HEADERS.keys())
def test_headers_that_are_wrong(known: Known, header: dict[str, Any]) -> None:
    key = known.idp.key
    now = int(time.time())
    claims = {"iss": known.idp.url, "aud": "urn:broker", "sub": "ada", "exp": now + 300, "roles": ["eo-operator"]}
    full = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid, **header}
    head = part({name: value for name, value in full.items() if value is not None})
    signed = f"{head}.{part(claims)}"
    assert key.private_key is not None
    raw = key.private_key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
    token = f"{signed}.{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"
    valid_problem(known.get("/me", token), 401)


def test_the_type_is_compared_as_a_media_type(known: Known) -> None:
    for typ in ("AT+JWT", "application/at+jwt"):
        assert known.get("/me", known.idp.token("ada", header={"typ": typ})).status_code == 200


def test_no_algorithm_is_no_signature(known: Known) -> None:
    claims = claims_of(known.idp.token("ada", roles=["eo-operator"]))
    for name in ("none", "None", "NONE", "nOnE", ""):
        head = part({"alg": name, "typ": "at+jwt", "kid": known.idp.key.kid})
        for signature in ("", "x"):
            valid_problem(known.get("/me", f"{head}.{part(claims)}.{signature}"), 401)


@pytest.mark.parametrize("shape", ["pem", "der", "jwk"])
def test_the_public_key_is_no_shared_secret(known: Known, shape: str) -> None:
    """alg confusion: HS256 with what everybody can read."""
    key = known.idp.key
    secret = key.as_pem(private=False) if shape == "pem" else key.as_der(private=False)
    if shape == "jwk":
        secret = json.dumps(known.idp.key.as_dict(private=False)).encode()
    head = part({"alg": "HS256", "typ": "at+jwt", "kid": known.idp.key.kid})
    signed = f"{head}.{part(claims_of(known.idp.token('ada')))}"
    mac = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode().rstrip("=")
    valid_problem(known.get("/me", f"{signed}.{mac}"), 401)


def test_a_key_that_comes_with_the_token_counts_for_nothing(known: Known) -> None:
    mine = RSAKey.generate_key(2048, {"kid": known.idp.kid}, private=True)
    head = {"alg": "RS256", "typ": "at+jwt", "kid": known.idp.key.kid}
    public = mine.as_dict(private=False)
    for more in ({}, {"jwk": public}, {"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1/"}):
        token = jwt.encode(head | more, claims_of(known.idp.token("ada")), mine)
        valid_problem(known.get("/me", token), 401)


def test_another_kind_of_key_under_the_same_id(known: Known) -> None:
    mine = ECKey.generate_key("P-256", {"kid": known.idp.kid}, private=True)
    head = {"alg": "ES256", "typ": "at+jwt", "kid": known.idp.key.kid}
    valid_problem(known.get("/me", jwt.encode(head, claims_of(known.idp.token("ada")), mine)), 401)


def test_changed_claims_break_the_signature(known: Known) -> None:
    head, _, signature = known.idp.token("ada").split(".")
    claims = claims_of(known.idp.token("ada")) | {"roles": ["eo-operator"]}
    valid_problem(known.get("/me", f"{head}.{part(claims)}.{signature}"), 401)


@pytest.mark.parametrize("junk", ["x", "a.b", "a.b.c", "....", "e30.e30.", "e30.W10.x", "." * 2, "x" * 40_000])
def test_junk(known: Known, junk: str) -> None:
    valid_problem(known.get("/me", junk), 401)


def test_a_remembered_token_ends_when_it_expires(known: Known) -> None:
    token = known.idp.token("ada", exp=int(time.time()) - 28)  # with the leeway of 30 s: two seconds are left
    assert known.get("/me", token).status_code == 200
    wait_for(lambda: known.get("/me", token).status_code == 401, 10, lambda: "an expired token is still good")


def test_memory_of_tokens_is_bounded(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.api.bearers.MOST_REMEMBERED", 5)
    known.server.site.gate.forget()
    for _ in range(12):
        assert known.get("/me", known.idp.token("ada")).status_code == 200
    assert len(known.server.site.gate.bearers._known) == 5


def test_settings_that_would_let_others_in_are_refused() -> None:
    good: dict[str, Any] = {"url": "https://login.example.org", "audience": ["urn:broker"]}
    Issuer(**good)
    wrong: list[dict[str, Any]] = [
        {"url": "http://login.example.org"},
        {"audience": []},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"types": ["JWT"], "audience": [WEB], "client_id": WEB},
    ]
    for bad in wrong:
        with pytest.raises(ValueError):
            Issuer(**good | bad)
    with pytest.raises(ValueError, match="same url"):
        Access(issuers={"a": Issuer(**good), "b": Issuer(**good)})
    with pytest.raises(ValueError, match="callback"):
        Access(issuers={"callback": Issuer(**good)})


def test_paths_into_claims_and_the_highest_role() -> None:
    claims = {"realm_access": {"roles": ["b", "a"]}, "https://x.org/roles": ["a"], "scope": "read a"}
    roles = {"a": Role.SCIENTIST, "b": Role.PUBLISHER}
    issuer = Issuer(url="https://login.example.org", audience=("x",), roles=roles)
    assert at(claims, "realm_access.roles") == ["b", "a"]
    assert at(claims, "https://x.org/roles") == ["a"]
    assert at(claims, "realm_access.roles.x") is None
    assert role_of(issuer, ["a", "b"]) is Role.PUBLISHER
    assert role_of(issuer, "read a") is Role.SCIENTIST
    assert role_of(issuer, {"a": True}) is None
    assert role_of(issuer, [["a"], None, 7]) is None
