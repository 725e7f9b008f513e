"""One way out, for every entry: no spelling, name, answer of a resolver or redirect leads to the inside."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import bootstrap
from broker.bootstrap import input_policy, package_policy
from broker.egress import Egress, EgressPolicy, FetchError
from broker.errors import BrokerError, EgressRefused
from broker.jobs.model import StageItem
from broker.runner.fetch import Rules
from broker.runner.stage import stage
from broker.settings import Settings
from tests.peers.web import WebPeer
from tests.unit.test_egress import names
from tests.unit.test_egress_addresses import SPELLINGS

ROOT = Path(__file__).parents[3]
TRICKS = """
http://public.example.org@127.0.0.1:{port}/ http://127.0.0.1:{port}\\@public.example.org/ http:///127.0.0.1/
http://public.example.org\\@127.0.0.1:{port}/ http://user:pass@localhost:{port}/ http:127.0.0.1:{port}/
http://127.0.0.1%2F@x.org:{port}/ http://%31%32%37.0.0.1:{port}/ http://１２７.0.0.1:{port}/
http://127。0。0。1:{port}/ http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/ http://127.0.0.1.:{port}/ http://localhost.:{port}/
http://[::ffff:127.0.0.1]:{port}/ http://127.0.0.1:{port}#@x.org/ http://0:{port}/ http://[::]:{port}/
http://[::1%25lo]:{port}/ http://127.0.0.1:{port}:80/ http://127.1:{port}/ gopher://127.0.0.1:{port}/
file:///etc/passwd dict://127.0.0.1:{port}/ ldap://127.0.0.1:{port}/ jar:http://127.0.0.1/
""".split()  # noqa: SIM905


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        peer.serve("/", b"of the inside")
        peer.serve("/x", b"of the inside")
        yield peer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path)


def staged(url: str, directory: Path, policy: EgressPolicy, *, stac: bool = False) -> None:
    """An input of a job, as the keeper fetches it."""
    with Egress(policy) as egress:
        stage([StageItem("x", url=url, stac=stac)], directory, egress, lambda _: None, Rules())


def linked(url: str, directory: Path, policy: EgressPolicy) -> None:
    """A package by link, or an import of one, as the API fetches it."""
    with Egress(policy) as egress:
        egress.get_bytes(url, 2**20)


def called(url: str, directory: Path, policy: EgressPolicy) -> None:
    """A callback, as it will be sent."""
    with Egress(policy) as egress:
        egress.post_json(url, {"status": "successful"})


Entry = Callable[[str, Path, EgressPolicy], None]
ENTRIES: dict[str, tuple[Entry, Callable[[Settings], EgressPolicy]]] = {
    "input": (staged, input_policy),
    "stac": (lambda url, directory, policy: staged(url, directory, policy, stac=True), input_policy),
    "package": (linked, package_policy),
    "callback": (called, lambda _: EgressPolicy(frozenset({"http", "https"}))),
}


def test_there_are_spellings_enough() -> None:
    assert len(set(SPELLINGS)) >= 40


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("url", [*TRICKS, *(f"http://{host}:{{port}}/x" for host in SPELLINGS)])
def test_spellings_at_every_entry(
    web: WebPeer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, url: str
) -> None:
    fetch, policy = ENTRIES[entry]
    (tmp_path / "in").mkdir()
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(BrokerError):
        fetch(url.format(port=web.port), tmp_path / "in", policy(settings))
    assert web.requests == []


INSIDE = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "fe80::1%lo", "64:ff9b::7f00:1")


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("name", ["127.0.0.1.nip.io", "localtest.me", "metadata.google.internal", "x.example.org"])
def test_names_that_resolve_to_the_inside(
    web: WebPeer, monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    names(monkeypatch, address)
    with Egress(EgressPolicy(frozenset({"http"}))) as egress, pytest.raises(EgressRefused):
        egress.open(f"http://{name}:{web.port}/x")
    assert web.requests == []


def test_a_name_that_changes_between_look_and_connection(web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up for each connection, and the address that was judged is the one that is connected to."""
    asked = names(monkeypatch, "93.184.216.34", "127.0.0.1", "127.0.0.1")
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: connected.append(address))
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: connected[-1])
    policy = EgressPolicy(frozenset({"http"}), connect_timeout=1, read_timeout=1)
    with Egress(policy) as egress, pytest.raises((EgressRefused, FetchError)):
        egress.open(f"http://rebind.example.org:{web.port}/x")
    assert asked == ["rebind.example.org"]
    assert {address[0] for address in connected} == {"93.184.216.34"}


@pytest.mark.parametrize(
    "target",
    [
        "http://[::1]:{port}/x", "http://0x7f000001:{port}/x", "https://localhost:{port}/x", "file:///etc/passwd",
        "//[::1]:{port}/x", "http://user@127.0.0.1:{port}/x", "http://169.254.169.254/latest/meta-data/",
    ],
)  # fmt: skip
def test_redirects_are_judged_again(tmp_path: Path, target: str) -> None:
    """The first server is allowed by its name, as an operator's may be; where it leads to is not."""
    with WebPeer() as outside, WebPeer() as inside:
        inside.serve("/x", b"of the inside")
        url = outside.redirect("/r", target.format(port=inside.port))
        policy = EgressPolicy(frozenset({"http", "https"}), allow_hosts=("127.0.0.1",))
        with Egress(policy) as egress, pytest.raises((EgressRefused, FetchError)):
            egress.open(url)
        assert inside.requests == []


def test_credentials_stay_with_their_origin() -> None:
    with WebPeer() as first, WebPeer() as second:
        second.serve("/x", b"x")
        policy = EgressPolicy(frozenset({"http"}), allow_networks=("127.0.0.0/8",))
        headers = {"Authorization": "Bearer canary", "Cookie": "a=canary", "X-Api-Key": "canary"}
        with Egress(policy) as egress:
            egress.open(first.redirect("/r", second.url("/x")), headers=headers).close()
        assert "canary" in str(first.requests[0].headers)
        assert "canary" not in str(second.requests[0].headers)


def test_package_hosts_are_a_list_that_imports_keep_to(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, egress={"package_hosts": ("packages.example.org",)})
    policy = package_policy(settings)
    assert policy.only_hosts == ("packages.example.org",)
    for host in ("evil.org", "packages.example.org.evil.org", "xpackages.example.org", "packages.example.org@evil.org"):
        with Egress(policy) as egress, pytest.raises((EgressRefused, FetchError)):
            egress.open(f"https://{host}/x.cwl")
    assert policy.max_seconds <= 30
    assert bootstrap.input_policy(settings).only_hosts == ()


FORMS = [
    "import requests\n", "from requests import get\n", "import httpx\n", "import urllib3\n", "import aiohttp\n",
    "import http.client\n", "from http.client import HTTPConnection\n", "import urllib.request\n",
    "from urllib.request import urlopen\n", "from urllib import request\n", "import ftplib\n", "import smtplib\n",
    "import socket\n\nsocket.create_connection(('x', 1))\n", "from socket import create_connection\n",
    "import socket\n\nsocket.socket(socket.AF_INET)\n", "import asyncio\n\nasyncio.open_connection('x', 1)\n",
]  # fmt: skip
PLACES = ["broker/api/x.py", "broker/execution/x.py", "broker/runner/x.py", "broker/access/x.py", "broker/web/x.py"]


@pytest.mark.parametrize("place", PLACES)
def test_the_rule_against_other_ways_out_bites(place: str) -> None:
    for form in FORMS:
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--quiet", "--select", "TID251", "--stdin-filename", place, "-"],
            input=form.encode(),
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert b"TID251" in done.stdout, (place, form, done.stdout)


def test_the_contract_names_every_part() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [one for one in contracts if one["id"] == "one-egress"]
    parts = {f"broker.{one.stem}" for one in (ROOT / "broker").iterdir() if one.suffix == ".py" or one.is_dir()}
    allowed = {"broker.__init__", "broker.__pycache__", "broker.egress", "broker.cli", "broker.py"}
    assert parts - allowed <= set(contract["source_modules"])
    assert {"requests", "httpx", "urllib3", "aiohttp"} <= set(contract["forbidden_modules"])


def test_no_socket_but_to_this_machine() -> None:
    """What the rule cannot see: a socket without a family is one to other machines."""
    for path in (ROOT / "broker").rglob("*.py"):
        if path.relative_to(ROOT / "broker").parts[0] in ("egress", "cli"):
            continue
        for call in re.findall(r"socket\.socket\(([^)]*)\)", path.read_text()):
            assert "AF_UNIX" in call or "fileno=" in call, (path, call)


def packed(name: str) -> bytes:
    """A real archive, with a member that would leave the directory it is unpacked in."""
    found = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(found, "w") as archive:
            archive.writestr("../evil", b"evil")
            archive.writestr("inside", b"x" * 10**6)
    else:
        with tarfile.open(fileobj=found, mode="w" if name.endswith(".tar") else "w:gz") as tar:
            for member in ("../evil", "inside"):
                tar.addfile(tarfile.TarInfo(member))
    return found.getvalue()


@pytest.mark.parametrize(
    ("name", "said"),
    [(name, {}) for name in ("a.zip", "a.tar", "a.tar.gz", "a.tgz")]
    + [(name, {"Content-Encoding": "gzip"}) for name in ("a.tar.gz", "a.tgz")],
)
def test_archives_stay_packed(tmp_path: Path, name: str, said: dict[str, str]) -> None:
    """No archive is unpacked for a job: not by its name, not by its type, not by what a server says of it.

    Seen red: with shutil.unpack_archive in `Fetcher._one`, and with `decode_content` in egress.
    """
    content = packed(name)
    policy = EgressPolicy(frozenset({"http"}), allow_networks=("127.0.0.0/8",))
    with WebPeer() as web, Egress(policy) as egress:
        web.serve(f"/{name}", content, headers=said)
        stage([StageItem(name, url=web.url(f"/{name}"))], tmp_path / "inputs", egress, lambda _: None, Rules())
    assert (tmp_path / "inputs" / name).read_bytes() == content
    assert [str(one.relative_to(tmp_path)) for one in sorted(tmp_path.rglob("*"))] == ["inputs", f"inputs/{name}"]


def test_a_stac_document_leads_nowhere_else(web: WebPeer, tmp_path: Path) -> None:
    """Links and assets of a STAC document that came by value of a user's server are judged as inputs are."""
    with WebPeer(host="127.0.0.1") as outside:
        item: dict[str, Any] = {
            "type": "Feature", "stac_version": "1.0.0", "id": "x", "geometry": None, "bbox": None,
            "properties": {"datetime": "2020-01-01T00:00:00Z"}, "links": [],
            "assets": {"a": {"href": f"http://[::1]:{web.port}/x"}, "b": {"href": "file:///etc/passwd"}},
        }  # fmt: skip
        outside.serve("/item.json", json.dumps(item).encode())
        policy = EgressPolicy(frozenset({"http"}), allow_hosts=("127.0.0.1",))
        with pytest.raises(BrokerError):
            staged(outside.url("/item.json"), tmp_path, policy, stac=True)
        assert web.requests == []
        assert "root:" not in "".join(one.read_text() for one in tmp_path.rglob("*") if one.is_file())
