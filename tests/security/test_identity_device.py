"""`broker login`: the device flow by the program itself, against a real provider and a real API."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from broker.cli import credentials
from broker.cli.oauth import Device, Grant, Issuer
from broker.cli.problems import Unreachable
from broker.errors import Unauthenticated
from tests.peers.oidc import CLI
from tests.peers.web import WebPeer
from tests.security.identity import Known

pytestmark = pytest.mark.xdist_group("identity-device")  # one API for all of them


class Program:
    """The command line as a program, with a configuration of its own."""

    def __init__(self, known: Known, home: Path) -> None:
        self.known = known
        self.file = home / "config" / "tokens.json"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("BROKER_", "XDG_"))}
        self.environment = clean | {"BROKER_TOKEN_FILE": str(self.file), "BROKER_SERVER": known.server.url}
        self.environment |= {"XDG_CONFIG_HOME": str(home), "BROKER_STATE": str(home / "state")}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "broker.cli", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, umask=0
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        with self.start(*words) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def login(self, *words: str, who: str = "ada") -> tuple[int, str, str]:
        """`broker login`, confirmed in a browser by somebody."""
        with self.start("login", *words) as process:
            assert process.stderr is not None
            lines: queue.Queue[str] = queue.Queue()
            reader = threading.Thread(target=_put, args=(process.stderr, lines))
            reader.start()
            said = ""
            while "confirm the code" not in said:
                said += lines.get(timeout=30)
            found = re.search(r"Open (\S+)", said)
            assert found is not None, said
            self.known.idp.approve(found[1], who)
            assert process.stdout is not None
            out = process.stdout.read()
            code = process.wait(60)
            reader.join()
        return code, out, said + "".join(lines.queue)

    def kept(self) -> dict[str, Any]:
        [one] = json.loads(self.file.read_text()).values()
        assert isinstance(one, dict)
        return one


def _put(lines: IO[str], sink: queue.Queue[str]) -> None:
    for line in lines:
        sink.put(line)


@pytest.fixture
def program(known: Known, tmp_path: Path) -> Program:
    return Program(known, tmp_path)


def test_login_whoami_renewal_and_logout(program: Program) -> None:
    code, out, err = program.login()
    assert code == 0, err
    assert "You are Ada Lovelace" in err
    assert program.file.stat().st_mode & 0o777 == 0o600
    assert program.file.parent.stat().st_mode & 0o777 == 0o700
    me = program.known.id_of("ada")
    code, out, err = program.run("whoami", "--json")
    assert code == 0, err
    assert json.loads(out)["id"] == me

    before = program.kept()
    assert before["refresh_token"]
    program.file.write_text(json.dumps({program.known.server.url: {**before, "expires": time.time() - 10}}))
    code, out, _ = program.run("whoami")
    assert code == 0
    assert me in out
    after = program.kept()
    assert after["access_token"] != before["access_token"]
    assert after["expires"] > time.time()
    assert program.file.stat().st_mode & 0o777 == 0o600

    program.environment["BROKER_TOKEN"] = program.known.idp.token("bob")
    code, out, _ = program.run("whoami")
    assert program.known.id_of("bob") in out, "BROKER_TOKEN goes before what is kept"
    del program.environment["BROKER_TOKEN"]

    assert program.run("logout")[0] == 0
    assert json.loads(program.file.read_text()) == {}
    with pytest.raises(Unauthenticated):
        Issuer(program.known.idp.url, CLI).renew(Grant(**after))
    code, _, err = program.run("whoami")
    assert code == 1
    assert "broker login" in err


def test_somebody_without_a_role_is_not_kept(program: Program) -> None:
    code, _, err = program.login("--issuer", "test", who="eve")
    assert code == 1
    assert "no role" in err
    assert not program.file.exists() or json.loads(program.file.read_text()) == {}


def test_an_issuer_that_is_not_there(program: Program) -> None:
    code, _, err = program.run("login", "--issuer", "nobody")
    assert code == 2
    assert "test" in err


def test_tokens_of_a_server_by_its_api_and_renewals_at_once(program: Program) -> None:
    assert program.login()[0] == 0
    code, out, err = program.run("token", "create", "laptop", "--scope", "read", "--expires", "1d")
    assert code == 0, err
    secret = out.strip()
    assert secret.startswith("eb_")
    me = program.known.get("/me", secret).json()
    assert me["id"] == program.known.id_of("ada")
    assert me["scopes"] == ["read"]
    code, out, _ = program.run("token", "list", "--json")
    [one] = json.loads(out)
    assert one["name"] == "laptop"
    assert program.run("token", "revoke", "laptop")[0] == 0
    assert program.known.get("/me", secret).status_code == 401
    assert program.run("token", "create", "too-much", "--role", "operator")[0] == 1
    assert program.run("token", "create", "other", "--owner", "bob")[0] == 2

    # a refresh token is good for one use: the provider ends the login of whoever uses it twice
    kept = program.kept()
    program.file.write_text(json.dumps({program.known.server.url: {**kept, "expires": time.time() - 10}}))
    running = [program.start("whoami") for _ in range(4)]
    for process in running:
        with process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err


# ---- what a provider may say while one waits; no provider can be made to say it when one wants


@pytest.fixture
def scripted() -> Iterator[tuple[WebPeer, Issuer]]:
    with WebPeer() as web:
        url = f"http://127.0.0.1:{web.port}"
        paths = {"token_endpoint": "/token", "device_authorization_endpoint": "/device"}
        document = {"issuer": url, **{name: url + path for name, path in paths.items()}}
        web.serve("/.well-known/openid-configuration", document)
        yield web, Issuer(url, "cli")


DEVICE = Device("secret", "ABCD", "https://login.example.org", None, 5.0, 600.0)


def test_slow_down_is_heeded(scripted: tuple[WebPeer, Issuer]) -> None:
    web, issuer = scripted
    answers = ["authorization_pending", "slow_down", "slow_down", "authorization_pending", None]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        error = answers.pop(0)
        if error is None:
            web.serve("/token", {"access_token": "good", "expires_in": 60})
        else:
            web.serve("/token", {"error": error}, status=400)

    assert issuer.wait(DEVICE, sleep).access_token == "good"
    assert slept == [5.0, 5.0, 10.0, 15.0, 15.0]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant"])
def test_a_no_is_a_no(scripted: tuple[WebPeer, Issuer], error: str) -> None:
    web, issuer = scripted
    web.serve("/token", {"error": error}, status=400)
    with pytest.raises(Unauthenticated, match=error):
        issuer.wait(DEVICE, lambda _: None)


def test_nobody_waits_for_ever(scripted: tuple[WebPeer, Issuer]) -> None:
    web, issuer = scripted
    web.serve("/token", {"error": "authorization_pending"}, status=400)
    slept: list[float] = []
    with pytest.raises(Unauthenticated, match="in time"):
        issuer.wait(DEVICE, slept.append)
    assert sum(slept) == 600


def test_addresses_that_are_no_issuers(scripted: tuple[WebPeer, Issuer]) -> None:
    web, _ = scripted
    for url in ("http://192.0.2.1", "ftp://127.0.0.1", "javascript:alert(1)"):
        with pytest.raises(Unreachable):
            Issuer(url, "cli")
    web.serve("/.well-known/openid-configuration", {"issuer": "https://another.example"})
    with pytest.raises(Unreachable, match="another issuer"):
        Issuer(f"http://127.0.0.1:{web.port}", "cli")


def test_a_verification_address_that_is_none(scripted: tuple[WebPeer, Issuer]) -> None:
    web, issuer = scripted
    web.serve("/device", {"device_code": "x", "user_code": "y", "verification_uri": "javascript:alert(1)"})
    with pytest.raises(Unauthenticated):
        issuer.begin(["openid"])


def test_commands_at_once_renew_once(
    scripted: tuple[WebPeer, Issuer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, issuer = scripted
    monkeypatch.delenv("BROKER_TOKEN", raising=False)
    monkeypatch.setenv("BROKER_TOKEN_FILE", str(tmp_path / "tokens.json"))
    server = "https://broker.example.org"
    credentials.keep(server, Grant("old", issuer.url, "cli", "refresh", time.time() - 10))
    web.serve("/token", {"access_token": "new", "expires_in": 600, "refresh_token": "next"})
    answering = web.hold("/token")
    together = threading.Barrier(4)

    def ask() -> str | None:
        together.wait(10)
        return credentials.token_for(server)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        web.wait_for("/token")
        answering.set()
        assert {one.result(30) for one in asked} == {"new"}
    assert len([one for one in web.requests if one.path == "/token"]) == 1
