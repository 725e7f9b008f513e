"""Keys of issuers: found again when they change, kept while their issuer is down, and not fetched for junk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from joserfc.jwk import ECKey, OctKey, RSAKey

from broker.access import keys
from broker.access.configuration import Access
from broker.access.keys import Issued
from broker.access.signatures import MOST_KEYS, usable_keys
from broker.cli import doctor
from broker.egress import Egress, EgressPolicy
from broker.errors import IssuerSilent
from broker.settings import Api, Settings
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.peers.oidc import AUDIENCE, ROLES, Provider, new_key, provider
from tests.peers.web import WebPeer


def bearer(server: Server, token: str) -> int:
    return server.get("/me", headers={"Authorization": f"Bearer {token}"}).status_code


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def counted() -> Iterator[tuple[WebPeer, Provider]]:
    """An issuer whose documents come from a web server that counts; the provider only signs."""
    with WebPeer() as web:
        signer = Provider(web.port, new_key("first"))
        publish(web, signer)
        yield web, signer


def publish(web: WebPeer, signer: Provider, **more: Any) -> None:
    document = {"issuer": signer.url, "jwks_uri": f"{signer.url}/jwks", **more}
    web.serve("/.well-known/openid-configuration", document)
    web.serve("/jwks", {"keys": [signer.key.as_dict(private=False)]})


def test_a_storm_of_unknown_keys_is_one_refresh(with_settings: MakeServer, counted: tuple[WebPeer, Provider]) -> None:
    web, signer = counted
    issuer = {"url": signer.url, "audience": [AUDIENCE], "roles": ROLES}
    server = with_settings(access={"issuers": {"test": issuer}})
    assert bearer(server, signer.token()) == 200
    assert len(web.requests) == 2
    stranger = Provider(signer.port, new_key("none"))

    def junk(number: int) -> int:
        token = stranger.token(header={"kid": f"junk-{number}"})
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{server.url}/me", headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(junk, range(200))) == {401}
    assert len(web.requests) <= 4, "one refresh is two documents"
    assert bearer(server, signer.token()) == 200


def test_one_key_is_asked_for_once_in_a_while(counted: tuple[WebPeer, Provider]) -> None:
    web, signer = counted
    clock = Clock()
    issued = Issued(signer.url, Egress(EgressPolicy()), clock)
    issued.refresh()
    assert len(web.requests) == 2
    for _ in range(5):
        clock.now += keys.FORCED + 1
        issued.refresh("unknown", forced=True)
    assert len(web.requests) == 4, "the same key is not asked for again soon"
    for number in range(5):
        issued.refresh(f"other-{number}", forced=True)
    assert len(web.requests) == 6, "other keys not more often than the limit"
    clock.now += keys.MISSED + 1
    issued.refresh("unknown", forced=True)
    assert len(web.requests) == 8


def test_memory_of_missed_keys_is_bounded(counted: tuple[WebPeer, Provider], monkeypatch: pytest.MonkeyPatch) -> None:
    _, signer = counted
    monkeypatch.setattr(keys, "REMEMBERED_MISSES", 5)
    clock = Clock()
    issued = Issued(signer.url, Egress(EgressPolicy()), clock)
    for number in range(12):
        clock.now += keys.FORCED + 1
        issued.refresh(f"junk-{number}", forced=True)
    assert 0 < len(issued._missed) <= 5


def test_keys_rotate(with_settings: MakeServer) -> None:
    with provider() as idp:
        server = with_settings(access={"issuers": {"test": idp.settings()}})
        old = idp.machine()
        assert bearer(server, idp.token("ada")) == 200
        idp.stop()
        idp.key = new_key("second")
        idp.start()
        assert bearer(server, idp.token("ada")) == 200, "an unknown key is looked up"
        assert idp.machine() != old
        valid_problem(server.get("/me", headers={"Authorization": f"Bearer {old}"}), 401)


def test_keys_are_kept_while_the_issuer_is_down(with_settings: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FRESH", 0.0)
    monkeypatch.setattr(keys, "RETRY", 0.0)
    with provider() as idp:
        server = with_settings(access={"issuers": {"test": idp.settings()}})
        assert bearer(server, idp.token("ada")) == 200
        idp.stop()
        for _ in range(3):
            assert bearer(server, idp.token("ada")) == 200, "its keys are stale, and it is down"
        other = idp.token("ada", header={"kid": "new"})
        valid_problem(server.get("/me", headers={"Authorization": f"Bearer {other}"}), 401)
        idp.start()


def test_an_issuer_that_was_never_there_is_no_reason_to_let_anybody_in(with_settings: MakeServer) -> None:
    silent = Provider(1, new_key("first"))
    issuer = {"url": silent.url, "audience": [AUDIENCE], "default_role": "scientist"}
    server = with_settings(access={"issuers": {"test": issuer}})
    answer = server.get("/me", headers={"Authorization": f"Bearer {silent.token()}"})
    valid_problem(answer, 503)
    assert answer.headers["retry-after"]
    valid_problem(server.get("/me"), 401)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://somebody-else.example"},
        {"issuer": None},
        {"jwks_uri": "http://192.0.2.1/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
    ],
)
def test_documents_that_do_not_fit(counted: tuple[WebPeer, Provider], document: dict[str, Any]) -> None:
    web, signer = counted
    publish(web, signer, **document)
    with pytest.raises(IssuerSilent):
        Issued(signer.url, Egress(EgressPolicy())).refresh()


def test_a_huge_document_is_not_read(counted: tuple[WebPeer, Provider]) -> None:
    web, signer = counted
    web.serve("/jwks", b'{"keys": [' + b" " * 2**20 + b"]}", media_type="application/json")
    with pytest.raises(IssuerSilent):
        Issued(signer.url, Egress(EgressPolicy())).refresh()


def test_only_public_signing_keys_count() -> None:
    good = new_key("good").as_dict(private=False)
    curve = ECKey.generate_key("P-256", {"kid": "curve"}).as_dict(private=False)
    assert [kid for kid, _, _ in usable_keys({"keys": [good, curve]})] == ["good", "curve"]
    wrong: list[Any] = [
        new_key("private").as_dict(private=True),
        OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True),
        {**good, "use": "enc"},
        {"kty": "RSA", "kid": "broken", "n": "x", "e": "AQAB"},
        {"kty": "RSA", "kid": "small", "n": "AQAB" * 40, "e": "AQAB"},
        "text",
        None,
    ]
    assert usable_keys({"keys": wrong}) == ()
    assert usable_keys({"keys": "text"}) == ()
    assert len(usable_keys({"keys": [good] * 500})) == MOST_KEYS


def test_a_token_without_a_key_id_needs_that_one_key_alone_fits() -> None:
    one, two = (RSAKey.generate_key(2048, {"kid": kid}) for kid in ("one", "two"))
    issued = Issued("http://127.0.0.1:1", Egress(EgressPolicy()))
    issued._keys = usable_keys({"keys": [one.as_dict(private=False)]})
    assert issued.key(None, "RS256") is not None
    assert issued.key(None, "ES256") is None
    issued._keys = usable_keys({"keys": [one.as_dict(private=False), two.as_dict(private=False)]})
    assert issued.key(None, "RS256") is None
    assert issued.key("two", "RS256") is not None


def test_the_keys_of_one_issuer_are_not_those_of_another(with_settings: MakeServer, tmp_path: Path) -> None:
    with provider() as one, provider() as other:
        settings = {"one": one.settings(), "other": other.settings()}
        server = with_settings(access={"issuers": settings})
        assert bearer(server, one.token("ada")) == bearer(server, other.token("ada")) == 200
        ids = {
            server.get("/me", headers={"Authorization": f"Bearer {idp.token('ada')}"}).json()["id"]
            for idp in (one, other)
        }
        assert len(ids) == 2, "the same subject of two issuers is two people"
        forged = other.token("ada", iss=one.url)
        assert bearer(server, forged) == 401


def test_an_issuer_with_certificates_of_its_own(with_settings: MakeServer) -> None:
    with WebPeer(tls=True) as web:
        url = f"https://localhost:{web.port}"
        signer = Provider(web.port, new_key("first"))
        web.serve("/.well-known/openid-configuration", {"issuer": url, "jwks_uri": f"{url}/jwks"})
        web.serve("/jwks", {"keys": [signer.key.as_dict(private=False)]})
        access = {"issuers": {"test": {"url": url, "audience": [AUDIENCE], "roles": ROLES}}}
        headers = {"Authorization": f"Bearer {signer.token(iss=url)}"}
        valid_problem(with_settings(access=access).get("/me", headers=headers), 503)
        assert with_settings(access={**access, "ca_file": web.ca_file}).get("/me", headers=headers).status_code == 200


def test_the_doctor_asks_the_issuers(counted: tuple[WebPeer, Provider], tmp_path: Path) -> None:
    web, signer = counted
    publish(web, signer, authorization_endpoint=f"{signer.url}/auth")
    one = {"url": signer.url, "audience": [AUDIENCE], "client_id": "web"}
    gone = {"url": "http://127.0.0.1:1", "audience": [AUDIENCE]}
    access = {"issuers": {"good": one, "gone": gone, "half": {**one, "url": signer.url + "/", "cli_client_id": "cli"}}}
    settings = Settings(state=tmp_path, access=Access.model_validate(access))
    found = {finding.what: finding for finding in doctor.issuers(settings)}
    assert found["issuer good"].state == "ok"
    assert "/login/callback" in found["issuer good"].detail
    assert found["issuer gone"].state == "warning"
    assert "calls itself" in found["issuer half"].detail
    assert doctor.access(settings).state == "ok"
    clear = settings.model_copy(update={"api": Api(url="http://broker.example.org")})
    assert doctor.access(clear).state == "warning"
