"""`broker compare`: two directories without a broker, two jobs at one, and one of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Broker

SAY = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf]
inputs:
  text: {type: string, inputBinding: {position: 1}}
stdout: said.json
outputs:
  said: stdout
"""


@pytest.fixture
def runs(alone: Path) -> tuple[Path, Path]:
    """The same but for one number."""
    found = alone / "one", alone / "other"
    for folder, number in zip(found, (1.0, 1.001), strict=True):
        folder.mkdir()
        (folder / "a.txt").write_text("same")
        (folder / "said.json").write_text(f'{{"n": {number}}}')
    return found


def test_two_directories(command: Broker, runs: tuple[Path, Path]) -> None:
    found = command("compare", *runs)
    assert found.code == 1
    assert "Of 2 outputs: 1 identical, 1 different." in found.err
    assert [line.split()[:3] for line in found.out.splitlines()[1:]] == [
        ["a.txt", "identical", "checksum"],
        ["said.json", "different", "JSON"],
    ]
    near = command("compare", *runs, "--tolerance", "relative=0.01", "--json")
    assert near.code == 0
    assert (near.json["verdict"], near.json["tolerance"]["relative"]) == ("equivalent", 0.01)
    assert (near.json["left"], near.json["right"]) == tuple(map(str, runs))


def test_two_files_of_other_names(command: Broker, runs: tuple[Path, Path]) -> None:
    (runs[1] / "said.json").rename(runs[1] / "told.json")
    found = command("compare", runs[0] / "said.json", runs[1] / "told.json", "--tolerance=relative=1", "--json")
    assert [one["verdict"] for one in found.json["outputs"]] == ["equivalent"]


@pytest.mark.parametrize("words", ["relative", "relative=x", "distance=1", "relative=-1"])
def test_a_tolerance_that_is_none(command: Broker, runs: tuple[Path, Path], words: str) -> None:
    found = command("compare", *runs, "--tolerance", words)
    assert found.code == 2
    assert "the names are relative, absolute, coordinates, share" in found.err


def test_jobs_and_directories(broker: Broker, runs: tuple[Path, Path]) -> None:
    """The broker compares two jobs when they have ended; a job is brought here where the other run is a directory."""
    Path("say.cwl").write_text(SAY)
    ids = []
    for folder in runs:
        Path("order.json").write_text(json.dumps({"text": (folder / "said.json").read_text()}))
        made = broker("run", "say.cwl", "order.json", "--no-wait", "--json")
        assert made.code == 0, made.err
        ids.append(made.json["jobID"])
    found = broker("compare", *ids, "--json")
    assert found.code == 1, found.err
    assert [(one["path"], one["by"], one["verdict"]) for one in found.json["outputs"]] == [
        ("said/said.json", "JSON", "different")
    ]
    listed = broker("comparison", "list", ids[1])
    assert "different" in listed.out
    ended = broker("comparison", "withdraw", ids[1])
    assert ended.code == 1
    assert "is done: there is nothing to take back" in ended.err
    (runs[0] / "a.txt").unlink()
    mixed = broker("compare", runs[0], ids[0], "--json")
    assert (mixed.code, mixed.json["verdict"]) == (0, "identical")
    gone = broker("compare", ids[0], "00000000-0000-7000-8000-000000000000")
    assert gone.code == 1
    assert "There is no job" in gone.err


def test_the_help_names_what_has_to_be_installed(command: Broker) -> None:
    assert "earthcode-broker[compare]" in command("compare", "--help").out
