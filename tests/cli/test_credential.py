"""`broker credential`: the secret comes from a prompt, the standard input or a file, and is printed nowhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from broker.access.vault import KeyFile
from broker.cli import doctor, sealed
from broker.settings import load
from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer

CANARY = "canary-of-the-command-line"
ADD = ("credential", "add", "data", "http", "https://data.example.org", "--no-test")


def kept(state: Path) -> list[bytes]:
    """All that is sealed, the credential first: tests before this one leave what signs callbacks."""
    tables = ("credentials order by id", "callback_secrets", "platform_configs")
    with sqlite3.connect(state / "broker.db") as found:
        rows = [row[0] for table in tables for row in found.execute(f"select sealed from {table}")]
    found.close()
    return rows


def test_added_listed_and_removed(broker: Broker) -> None:
    added = broker(*ADD, input=f"{CANARY}\n")
    assert added.code == 0, added.err
    assert "data is used for https://data.example.org" in added.err
    [listed] = broker("credential", "list", "--json").json
    assert (listed["name"], listed["kind"], listed["tested"]) == ("data", "http", False)
    plain = broker("credential", "list")
    assert "https://data.example.org" in plain.out
    second = broker(*ADD[:2], "more", *ADD[3:], input=f"{CANARY}\n")
    assert "more is used for https://data.example.org from now on, and not data." in second.err
    assert broker("credential", "remove", "more").code == 0
    tried = broker("credential", "test", "data")
    assert tried.code == 1  # there is no such host
    removed = broker("credential", "remove", "data", "--json")
    assert removed.json == {"name": "data", "removed": True}
    assert broker("credential", "test", "data").code == 1
    assert CANARY not in "".join(one.out + one.err for one in (added, plain, tried, removed))


def test_the_secret_from_a_file(broker: Broker, alone: Path) -> None:
    file = alone / "secret.txt"
    file.write_text(f"{CANARY}\n")
    words = ("credential", "add", "scenes", "s3", "bucket", "--access-key", "AK", "--secret-file", file, "--no-test")
    assert broker(*words).code == 0
    assert broker("credential", "remove", "scenes").code == 0
    file.unlink()
    assert broker(*words).code == 2


def test_no_option_takes_a_secret(broker: Broker) -> None:
    for option in ("--token", "--password", "--secret-key", "--secret"):
        assert broker(*ADD, option, CANARY).code == 2
    assert broker(*ADD, input="\n").code == 2


def test_a_refusal_says_what_was_answered(broker: Broker) -> None:
    refused = broker("credential", "add", "x", "http", "http://127.0.0.1:9", input=CANARY)
    assert refused.code == 1
    assert "https" in refused.err
    assert CANARY not in refused.err + refused.out


def test_rotation_while_the_broker_runs(broker: Broker, peer: BrokerPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_STATE", str(peer.state))
    assert broker(*ADD, input=f"{CANARY}\n").code == 0
    file = KeyFile(peer.state / "secrets.key")
    [old], before = file(), kept(peer.state)
    assert broker("credential", "rotate", "--json").json == {"resealed": 0}
    done = broker("credential", "rotate", "--new-key", "--drop-old", "--json")
    assert done.json == {"resealed": len(before)}
    [new], after = file(), kept(peer.state)
    assert new != old
    assert not set(after) & set(before)
    assert file.path.stat().st_mode & 0o777 == 0o600
    tried = broker("credential", "test", "data", "--json")  # the running broker opens it with the new key
    assert "data.example.org" in tried.err
    assert "key" not in tried.err
    assert broker(*ADD, input=f"{CANARY}\n").code == 0
    assert broker("credential", "remove", "data").code == 0


def test_doctor_looks_at_the_key(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    assert sealed.secrets(settings).state == "ok"
    file = KeyFile(settings.key_file)
    file(make=True)
    assert "1 keys in" in sealed.secrets(settings).detail
    file.path.chmod(0o644)
    found = sealed.secrets(settings)
    assert (found.state, found.mend) == ("error", f"chmod 600 {file.path}")
    monkeypatch.setenv("BROKER_SECRETS__KEY", CANARY)
    found = sealed.secrets(load())
    assert found.state == "error"
    assert CANARY not in str(found)
    assert CANARY not in repr(load())


def test_doctor_looks_at_where_images_come_from(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.images(load()).state == "ok"
    monkeypatch.setenv("BROKER_API__HOST", "0.0.0.0")
    assert doctor.images(load()).state == "warning"
    monkeypatch.setenv("BROKER_IMAGES__REGISTRIES", '["docker.io"]')
    assert doctor.images(load()).state == "ok"
