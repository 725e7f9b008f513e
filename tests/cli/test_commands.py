"""The command `broker` as such: help, names, start-up, and how errors end it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.commands import COMMANDS, load
from broker.cli.console import plain
from broker.cli.problems import read
from tests.cli.conftest import Broker
from tests.peers.ports import free_port


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_with_an_example_and_has_json(name: str) -> None:
    command = load(name)
    text = command.help or ""
    assert text.splitlines()[0] == COMMANDS[name].help
    leaves = list(getattr(command, "commands", {}).values()) or [command]
    for leaf in leaves:
        assert "Example:" in (leaf.help or ""), leaf.name
        assert "--json" in {word for parameter in leaf.params for word in parameter.opts}, leaf.name


def test_help_loads_nothing_that_it_does_not_need() -> None:
    heavy = ["requests", "sqlalchemy", "pydantic", "ruamel", "celery", "cwltool", "fastapi"]
    program = (
        "import sys; from typer.testing import CliRunner; from broker.cli import app;"
        "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r;"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_client_needs_neither_terminal_nor_database() -> None:
    program = (
        "import sys, broker.cli.client, broker.cli.uploads, broker.cli.downloads, broker.cli.watch;"
        "print([m for m in ('typer', 'rich', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_installed_program_and_the_module_are_the_same() -> None:
    program = Path(sys.executable).with_name("broker")
    for call in ([str(program)], [sys.executable, "-m", "broker.cli"]):
        done = subprocess.run([*call, "version", "--json"], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout)["version"]


def test_a_misspelt_command_is_corrected(command: Broker) -> None:
    said = command("stauts")
    assert said.code == 2
    assert "status" in said.err


def test_no_broker_says_how_to_start_one(command: Broker) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    said = command("jobs", "--server", server)
    assert said.code == 3
    assert server in said.err
    assert "broker up" in said.err
    assert said.out == ""


def test_errors_as_json_are_problem_documents_on_stderr(command: Broker) -> None:
    said = command("jobs", "--json", "--server", f"http://127.0.0.1:{free_port()}")
    assert said.code == 3
    assert said.out == ""
    problem = json.loads(said.err)
    assert problem["reason"] == "unreachable"
    assert problem["detail"]


def test_an_address_that_is_none_is_said(command: Broker) -> None:
    said = command("jobs", "--server", "localhost:8080")
    assert said.code == 1
    assert "http://host:port" in said.err


def test_settings_that_are_not_valid_are_named(command: Broker, alone: Path) -> None:
    (alone / "broker.toml").write_text("[api]\nprot = 1\n")
    said = command("jobs")
    assert said.code == 1
    assert "api.prot" in said.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grüße\t[bold]\n", "grüße\t[bold]\n"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link", "link"),
        ("50 %\r100 %\r\n", "50 %\n100 %\n"),
        ("\x9b31m\x00\x07x\x1b", "31mx"),
    ],
)
def test_texts_of_others_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_other_machines_are_not_served_without_tokens_and_no_process_starts(
    command: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_API__HOST", "0.0.0.0")  # so that it is taken back after `up` has set it
    started: list[object] = []

    def supervise(*words: object, **_: object) -> int:
        started.append(words)
        return 0

    monkeypatch.setattr("broker.cli.up.supervise", supervise)
    said = command("up", "--host", "0.0.0.0")
    assert said.code == 1
    assert [line.split()[0] for line in said.err.splitlines()] == ["Error:", "Hint:"]
    assert started == []
    assert command("token", "create", "x").code == 0
    assert command("up", "--host", "0.0.0.0").code == 0
    assert started


def test_who_has_no_token_is_told_what_to_do_here(command: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        document = {"detail": "This needs a token.", "hint": "Send Authorization: Bearer", "reason": "unauthenticated"}
        raise read(401, document)

    monkeypatch.setattr("broker.cli.client.Client.jobs", refuse)
    for words in (("jobs",), ("jobs", "--json")):
        said = command(*words)
        assert said.code == 1
        assert "BROKER_TOKEN=" in said.err
        assert "broker token create NAME --save" in said.err
        assert "Authorization" not in said.err


def test_the_version_is_an_option_too(command: Broker) -> None:
    said = command("--version")
    assert said.code == 0
    assert said.out == command("version").out
