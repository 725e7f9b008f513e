"""`broker doctor`: what is there is found, what is not is named with what mends it."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker.cli import doctor
from broker.runner.isolation import Isolation
from broker.settings import load
from tests.cli.conftest import Broker
from tests.peers.ports import free_port


@pytest.fixture(autouse=True)
def isolation(monkeypatch: pytest.MonkeyPatch) -> list[Isolation]:
    """What the probe of containers finds; starting real ones takes seconds, and is tested with the runner."""
    found = [Isolation("bubblewrap", "/usr/bin/bwrap", "podman", ("podman",))]
    monkeypatch.setattr("broker.runner.isolation.find", lambda *settings: found[-1])
    # any port: one that was free a moment ago may be that of a connection of another test by now
    monkeypatch.setenv("BROKER_API__PORT", "0")
    return found


def states(said_json: dict[str, object]) -> dict[str, str]:
    findings = said_json["findings"]
    assert isinstance(findings, list)
    return {one["what"]: one["state"] for one in findings}


def test_a_machine_that_lacks_nothing(command: Broker) -> None:
    said = command("doctor", "--json")
    assert said.code == 0
    assert said.json["ok"]
    assert set(states(said.json).values()) <= {"ok", "warning"}
    plain = command("doctor")
    assert plain.code == 0
    assert "podman runs them" in plain.out


def test_no_engine_is_a_warning_and_no_sandbox_an_error(command: Broker, isolation: list[Isolation]) -> None:
    isolation.append(Isolation("bubblewrap", "/usr/bin/bwrap", notes=("podman starts no container (x).",)))
    said = command("doctor")
    assert said.code == 0
    assert "starts no container" in said.out
    assert "mend it with: apt-get install" in said.out
    isolation.append(Isolation("none", notes=("No isolation works.",)))
    assert command("doctor").code == 1


def test_a_port_that_is_free(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Free(socket.socket):
        """Whatever the other tests have taken."""

        def bind(self, address: object) -> None:
            assert address == ("127.0.0.1", 8123)

    monkeypatch.setenv("BROKER_API__PORT", "8123")
    monkeypatch.setattr("socket.socket", Free)
    assert doctor.port(load()).state == "ok"


def test_a_port_that_is_taken(command: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("BROKER_API__PORT", str(taken.getsockname()[1]))
        said = command("doctor", "--json")
    assert said.code == 1
    assert states(said.json)["port"] == "error"


def test_a_queue_and_a_database_that_do_not_answer(command: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("BROKER_DATABASE_URL", f"postgresql://u:topsecret@127.0.0.1:{free_port()}/b")
    said = command("doctor", "--json")
    assert said.code == 1
    found = states(said.json)
    assert (found["queue"], found["database"]) == ("error", "error")
    assert "topsecret" not in said.out


def test_no_queue_server_on_this_machine(command: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.cli.queue_server.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert states(command("doctor", "--json").json)["queue"] == "error"


def test_a_state_directory_that_is_a_file(command: Broker, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "file").touch()
    monkeypatch.setenv("BROKER_STATE", str(alone / "file"))
    said = command("doctor", "--json")
    assert said.code == 1
    assert states(said.json)["state directory"] == "error"


def test_little_space(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=2**30)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert doctor.space(load()).state == "warning"
    usage.free = 2**20
    assert doctor.space(load()).state == "error"


def test_serving_other_machines_needs_a_token(command: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_API__HOST", "0.0.0.0")
    assert states(command("doctor", "--json").json)["access"] == "error"
    assert command("token", "create", "x").code == 0
    assert states(command("doctor", "--json").json)["access"] == "ok"


def test_settings_that_cannot_be_read_end_the_list(command: Broker, alone: Path) -> None:
    (alone / "broker.toml").write_text("state = [")
    said = command("doctor", "--json")
    assert said.code == 1
    assert states(said.json)["settings"] == "error"


def test_the_configuration_file_in_use_is_named(command: Broker, alone: Path) -> None:
    details = {one["what"]: one["detail"] for one in command("doctor", "--json").json["findings"]}
    assert "no configuration file" in details["settings"]
    assert "defaults" in details["settings"]
    (alone / "broker.toml").write_text('[platforms.local]\nisolation = "auto"\n')
    details = {one["what"]: one["detail"] for one in command("doctor", "--json").json["findings"]}
    assert str(alone / "broker.toml") in details["settings"]


def test_what_is_wrong_with_a_platforms_table_is_said_with_the_file(command: Broker, alone: Path) -> None:
    (alone / "broker.toml").write_text('[platforms.local]\nsofware = ["/opt"]\n')
    said = command("doctor")
    assert said.code == 1
    assert "did you mean 'software'?" in said.out
    assert str(alone / "broker.toml") in said.out
    assert "Traceback" not in said.out + said.err
    (alone / "broker.toml").write_text(f'[platforms.local]\nsoftware = ["{alone}", "/no/such/software"]\n')
    said = command("doctor", "--json")
    assert said.code == 1
    assert states(said.json)["platform local: software"] == "error"
    wrong = [one for one in said.json["findings"] if "software" in one["what"]]
    assert ["/no/such/software" in one["detail"] for one in wrong] == [True]


def test_a_kind_of_platform_that_is_not_known(command: Broker, alone: Path) -> None:
    (alone / "broker.toml").write_text('[platforms.far]\nadapter = "locl"\n')
    said = command("doctor", "--json")
    assert said.code == 1
    assert states(said.json)["platform far"] == "error"
