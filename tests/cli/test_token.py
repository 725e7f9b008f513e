"""`broker token`: straight in the database, the secret shown once; and the file of tokens that one was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.cli import credentials
from broker.errors import SetupError
from tests.cli.conftest import Broker

SERVER = "https://broker.example.org"


def test_a_token_is_made_listed_and_revoked(command: Broker) -> None:
    assert "open to everybody on this machine" in command("token", "list").err
    made = command("token", "create", "portal", "--scope", "read", "--expires", "30d", "--json").json
    assert made["secret"].startswith("eb_")
    assert made["scopes"] == ["read"]
    [listed] = command("token", "list", "--json").json
    assert "secret" not in listed
    assert listed["expires"] > listed["created"]
    plain = command("token", "list")
    assert "portal" in plain.out
    assert "valid" in plain.out
    said = command("token", "revoke", made["id"])
    assert said.code == 0
    assert "open to everybody" in said.err
    assert command("token", "revoke", made["id"]).code == 1
    assert "revoked" in command("token", "list").out


def test_the_first_token_is_announced_and_its_secret_is_all_of_stdout(command: Broker) -> None:
    said = command("token", "create", "me")
    assert said.out.startswith("eb_")
    assert len(said.out.split()) == 1
    assert "first token" in said.err
    assert "first token" not in command("token", "create", "other").err


@pytest.mark.parametrize("text", ["never", "0d", "-1d", "1", "1000000000y"])
def test_a_time_that_is_none_is_wrong_use(command: Broker, text: str) -> None:
    said = command("token", "create", "x", f"--expires={text}")
    assert said.code == 2
    assert "30d" in said.err


def test_a_token_is_saved_for_one_server_in_a_file_of_ones_own(command: Broker, alone: Path) -> None:
    old = os.umask(0)
    try:
        assert command("token", "save", "--server", SERVER, input="eb_secret\n").code == 0
    finally:
        os.umask(old)
    file = credentials.token_file()
    assert file.is_relative_to(alone.parent)
    assert file.stat().st_mode & 0o777 == 0o600
    assert credentials.token_for(SERVER) == "eb_secret"
    assert credentials.token_for(f"{SERVER}/path") == "eb_secret"
    assert credentials.token_for("https://other.example.org") is None
    assert "eb_secret" not in command("token", "save", "--server", SERVER, "--forget").err
    assert credentials.token_for(SERVER) is None


def test_tokens_that_others_may_read_are_refused(alone: Path) -> None:
    file = credentials.keep(SERVER, "eb_secret")
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        credentials.token_for(SERVER)


def test_the_environment_wins(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.keep(SERVER, "eb_kept")
    monkeypatch.setenv("BROKER_TOKEN", "eb_given")
    assert credentials.token_for(SERVER) == "eb_given"


@pytest.mark.parametrize("text", ["", "two words"])
def test_what_is_no_token_is_not_saved(command: Broker, text: str) -> None:
    assert command("token", "save", "--server", SERVER, input=f"{text}\n").code == 2


def test_a_token_of_this_machine_is_used_by_each_of_its_names(alone: Path) -> None:
    credentials.keep("http://127.0.0.1:8080", "eb_kept")
    assert credentials.token_for("http://localhost:8080/") == "eb_kept"
    assert credentials.token_for("http://localhost:8081") is None
    credentials.keep("http://localhost:8080", None)
    assert credentials.token_for("http://127.0.0.1:8080") is None


def test_a_token_is_revoked_by_its_name_where_one_has_it(command: Broker) -> None:
    for name in ("a", "b", "b"):
        assert command("token", "create", name).code == 0
    assert command("token", "revoke", "a").code == 0
    assert command("token", "revoke", "a").code == 1
    said = command("token", "revoke", "b")
    assert said.code == 2
    ids = [one["id"] for one in command("token", "list", "--json").json if one["name"] == "b"]
    assert all(one in said.err for one in ids)
    assert command("token", "revoke", ids[0]).code == 0
    assert command("token", "revoke", "b").code == 0


def test_the_state_directory_is_named_as_for_up_and_save_names_the_server(
    command: Broker, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_API__PORT", "8123")
    said = command("token", "create", "x", "--save", "--state", "elsewhere")
    assert "for http://127.0.0.1:8123" in said.err
    assert credentials.token_for("http://localhost:8123") == said.out.strip()
    assert (alone / "elsewhere" / "broker.db").is_file()
    assert command("token", "list", "--json").json == []
    assert len(command("token", "list", "--json", "--state", "elsewhere").json) == 1
    assert command("token", "revoke", "x", "--state", "elsewhere").code == 0
