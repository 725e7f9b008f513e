"""What is collected, where it is put, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.model import Fault, Limits, Reason
from broker.jobs.observation import State
from broker.runner.beneath import remove_tree
from broker.runner.confinement import OutsideJob, confine
from broker.runner.outputs import gather
from tests.peers.runner import RunnerPeer, shell

ONE = "{out: {type: File, outputBinding: {glob: out.txt}}}"
TREE = "{out: {type: Directory, outputBinding: {glob: tree}}}"


def made(runner: RunnerPeer, script: str, outputs: str, more: str = "") -> tuple[dict[str, Any], dict[str, bytes]]:
    """The output object, and the files by their path."""
    platform = runner.platform()
    attempt, seen = runner.run(shell(script, outputs, more), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    collected = platform.collect(attempt)
    files = {}
    for file in collected.files:
        with platform.open(attempt, file.ref) as stream:
            files[file.path] = stream.read()
    return dict(collected.outputs), files


def test_a_file_has_location_size_and_checksum(runner: RunnerPeer) -> None:
    outputs, files = made(runner, "printf hello > out.txt", ONE)
    assert outputs == {
        "out": {
            "class": "File",
            "basename": "out.txt",
            "location": "out/out.txt",
            "size": 5,
            "checksum": "sha1$aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        }
    }
    assert files == {"out/out.txt": b"hello"}


def test_same_names_do_not_meet(runner: RunnerPeer) -> None:
    outputs, files = made(
        runner,
        "for d in a b c; do mkdir $d; echo $d > $d/x.txt; echo i$d > $d/x.txt.idx; done",
        "{out: {type: 'File[]', outputBinding: {glob: '*/x.txt'}, secondaryFiles: .idx}}",
    )
    for entry, letter in zip(outputs["out"], "abc", strict=True):
        assert entry["basename"] == "x.txt"
        assert files[entry["location"]] == f"{letter}\n".encode()
        [beside] = entry["secondaryFiles"]
        assert Path(beside["location"]).parent == Path(entry["location"]).parent
        assert files[beside["location"]] == f"i{letter}\n".encode()
    assert len(files) == 6


def test_the_inside_of_a_directory_stays_as_it_is(runner: RunnerPeer) -> None:
    outputs, files = made(
        runner, "mkdir -p tree/item; echo '{}' > tree/catalog.json; echo d > tree/item/data.tif; mkdir tree/empty", TREE
    )
    assert set(files) == {"out/tree/catalog.json", "out/tree/item/data.tif"}
    listing = {entry["basename"]: entry for entry in outputs["out"]["listing"]}
    assert listing["item"]["listing"][0]["location"] == "out/tree/item/data.tif"
    assert listing["empty"]["listing"] == []
    assert listing["catalog.json"]["checksum"].startswith("sha1$")


@pytest.mark.parametrize(
    ("script", "outputs"),
    [
        ("ln -s /etc/passwd out.txt", ONE),
        ("ln -s /etc/shadow out.txt", ONE),
        ("ln -s ../../../../../../../../etc/passwd out.txt", ONE),
        ("ln -s nowhere out.txt", ONE),
        ("echo hidden > /tmp/original.txt; ln -s /tmp/original.txt out.txt", ONE),
        ("mkfifo out.txt", ONE),
        ("ln -s /etc tree", TREE),
        ("mkdir tree; ln -s /etc/passwd tree/x", TREE),
        ("mkdir -p tree/a; ln -s /etc tree/a/b", TREE),
        ("mkdir tree; mkfifo tree/x", TREE),
        ("mkdir tree; ln -s .. tree/up", TREE),
        ("mkdir tree; ln -s . tree/self", TREE),
        ("mkdir tree; cd tree; mkdir a b; ln -s ../b a/b; ln -s ../a b/a", TREE),
        ("true", "{out: {type: 'File[]', outputBinding: {glob: '../*/*'}}}"),
        ("mkdir a; true", "{out: {type: 'File[]', outputBinding: {glob: 'a/../../*'}}}"),
    ],
)  # fmt: skip
def test_nothing_from_outside_is_collected(runner: RunnerPeer, script: str, outputs: str) -> None:
    _, seen = runner.run(shell(script, outputs))
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert seen.failure.fault == Fault.PACKAGE
    assert seen.failure.reason == Reason.OUTPUT_REFUSED, seen.failure


def test_links_inside_are_followed(runner: RunnerPeer) -> None:
    script = (
        "echo x > real.txt; ln -s real.txt a.txt; ln -s /cwl/out/real.txt b.txt; mkdir t; ln -s ../real.txt t/c.txt"
    )
    outputs = (
        "{out: {type: 'File[]', outputBinding: {glob: '[ab].txt'}}, tree: {type: Directory, outputBinding: {glob: t}}}"
    )
    _, files = made(runner, script, outputs)
    assert files == {"out/a.txt": b"x\n", "out/b.txt": b"x\n", "tree/t/c.txt": b"x\n"}


def test_cwl_output_json_may_not_name_other_files(runner: RunnerPeer) -> None:
    entry = json.dumps({"out": {"class": "File", "path": "/etc/passwd"}})
    _, seen = runner.run(shell(f"echo '{entry}' > cwl.output.json", ONE))
    assert seen.state == State.FAILED


def test_an_expression_may_not_name_other_files(runner: RunnerPeer) -> None:
    package = """\
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {out: File}
expression: '${return {out: {class: "File", location: "file:///etc/passwd"}};}'
"""
    _, seen = runner.run(package)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert seen.failure.reason == Reason.OUTPUT_REFUSED


def test_values_by_literal_are_written(runner: RunnerPeer) -> None:
    package = """\
cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
outputs: {out: Directory, n: int, none: 'string?'}
expression: |
  ${return {n: 3, none: null, out: {class: "Directory", basename: "d", listing: [
     {class: "File", basename: "a.txt", contents: "A"}, {class: "Directory", basename: "e", listing: []}]}};}
"""
    platform = runner.platform()
    attempt, seen = runner.run(package, on=platform)
    assert seen.state == State.SUCCEEDED, seen
    collected = platform.collect(attempt)
    assert collected.outputs["n"] == 3
    assert collected.outputs["none"] is None
    assert [file.path for file in collected.files] == ["out/d/a.txt"]


def test_missing_output_is_named(runner: RunnerPeer) -> None:
    _, seen = runner.run(shell("true", "{scene: {type: File, outputBinding: {glob: '*.tif'}}}"))
    assert seen.failure is not None
    assert seen.failure.reason == Reason.OUTPUT_MISSING
    assert "'scene'" in seen.failure.message
    assert "*.tif" in seen.failure.message


@pytest.mark.parametrize("limits", [Limits(output_bytes=10), Limits(output_files=1)])
def test_limits_of_outputs(runner: RunnerPeer, limits: Limits) -> None:
    outputs = "{out: {type: 'File[]', outputBinding: {glob: '*.txt'}}}"
    _, seen = runner.run(shell("echo 1234567 > a.txt; echo 1234567 > b.txt", outputs), limits=limits)
    assert seen.failure is not None
    assert seen.failure.reason == Reason.OUTPUT_TOO_LARGE
    assert seen.failure.fault == Fault.LIMIT


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", ""])
def test_a_basename_is_a_name(tmp_path: Path, name: str) -> None:
    files, _ = confine(tmp_path)
    with pytest.raises(OutsideJob):
        gather({"out": {"class": "File", "basename": name, "contents": "x"}}, tmp_path / "outputs", files)


def test_many_of_one_name_take_linear_time(tmp_path: Path) -> None:
    files, _ = confine(tmp_path)
    entries = [{"class": "File", "basename": "o.txt", "contents": str(n)} for n in range(3000)]
    outputs = gather({"out": entries}, tmp_path / "outputs", files)
    assert len({entry["location"] for entry in outputs["out"]}) == 3000


def test_what_a_tool_closed_is_collected_and_removed(runner: RunnerPeer) -> None:
    """Only means something where the tests do not run as root, who may read and remove everything."""
    closing = "chmod 000 tree/a/b/c.txt; chmod 555 tree/a/b tree/a; chmod 100 tree"
    script = f"mkdir -p tree/a/b; echo x > tree/a/b/c.txt; {closing}"
    platform = runner.platform()
    attempt, seen = runner.run(shell(script, TREE), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    assert [file.path for file in platform.collect(attempt).files] == ["out/tree/a/b/c.txt"]
    platform.release(attempt)
    assert not [entry for entry in runner.root.iterdir() if attempt.name in entry.name]


def test_directories_without_leave_are_removed(tmp_path: Path) -> None:
    deep = tmp_path / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "c").touch()
    (tmp_path / "kept").touch()
    (deep / "link").symlink_to(tmp_path / "kept")
    for directory in (deep, deep.parent, deep.parent.parent):
        directory.chmod(0o500)
    remove_tree(tmp_path / "tree")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_directories_that_are_too_deep_for_a_path_are_removed(tmp_path: Path) -> None:
    """As found: with shutil.rmtree the keeper and every release of the job ended in a RecursionError."""
    top = tmp_path / "tree"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for number in range(5000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        if number % 1000 == 0:
            os.close(os.open("file", os.O_CREAT, 0, dir_fd=below))
            os.symlink(tmp_path, "link", dir_fd=below)
            os.fchmod(here, 0o100)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "kept").touch()
    remove_tree(top)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    remove_tree(top)
