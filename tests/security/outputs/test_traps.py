"""What a tool leaves behind for whoever collects it: links, FIFOs, swaps, floods. Nothing of the host gets out."""

from __future__ import annotations

import json
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.model import Fault, Limits, Reason, StageItem
from broker.jobs.observation import Observation, State
from broker.runner.beneath import open_file
from broker.runner.confinement import OutsideJob, confine
from broker.runner.outputs import gather
from tests.peers.runner import RunnerPeer, attempt_of, ended, look, shell

SECRET = "canary-of-the-host"
ONE = "{out: {type: File, outputBinding: {glob: out.txt}}}"
TREE = "{out: {type: Directory, outputBinding: {glob: tree}}}"
MANY = "{out: {type: 'File[]', outputBinding: {glob: '*'}}}"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host that no tool may reach, with a secret in it."""
    directory = tmp_path / "host"
    directory.mkdir()
    (directory / "secret").write_text(SECRET)
    return directory


def everything(runner: RunnerPeer, job: str) -> str:
    """All text that the job left where the broker reads: verdict, logs, outputs."""
    found = []
    for directory, _, names in os.walk(runner.root / job):  # which minds not that the keeper still cleans up
        for name in names:
            path = Path(directory, name)
            with suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_size < 2**20:
                    found.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


def refused(runner: RunnerPeer, package: str, order: Any = None, **more: Any) -> Observation:
    attempt, seen = runner.run(package, order, **more)
    assert seen.state == State.FAILED, seen
    assert seen.failure is not None
    assert SECRET not in str(seen.failure)
    assert SECRET not in everything(runner, attempt.name)
    return seen


@pytest.mark.parametrize(
    "script",
    [
        "ln -s {host}/secret out.txt",
        "ln -s {host} tree; ln -s tree/secret out.txt",
        "ln -s a out.txt; ln -s b a; ln -s {host}/secret b",
        "ln -s /proc/self/root{host}/secret out.txt",
        "ln -s /proc/1/root{host}/secret out.txt",
        "ln -s /proc/self/cwd/../../../../../../../..{host}/secret out.txt",
        "ln -s ../../../../../../../../../../..{host}/secret out.txt",
        "ln -s /cwl/out/../../../../../../../..{host}/secret out.txt",
        "ln -s /dev/fd/0 out.txt",
        "ln -s /dev/zero out.txt",
        "mkfifo out.txt",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"out.txt\")'",
    ],
)
def test_links_and_special_files(runner: RunnerPeer, host: Path, script: str) -> None:
    seen = refused(runner, shell(script.format(host=host), ONE))
    assert seen.failure is not None
    assert seen.failure.reason in (Reason.OUTPUT_REFUSED, Reason.OUTPUT_MISSING), seen.failure


@pytest.mark.parametrize(
    "script",
    [
        "ln -s {host} tree",
        "mkdir tree; ln -s {host} tree/x",
        "mkdir tree; ln -s {host}/secret tree/x",
        "mkdir -p tree/a; ln -s ../../../../../../../../..{host} tree/a/b",
        "mkdir tree; mkfifo tree/x",
    ],
)
def test_directories_of_the_host(runner: RunnerPeer, host: Path, script: str) -> None:
    refused(runner, shell(script.format(host=host), TREE))


def test_secondary_files_of_the_host(runner: RunnerPeer, host: Path) -> None:
    link = "{out: {type: File, secondaryFiles: .idx, outputBinding: {glob: out.txt}}}"
    attempt, _ = runner.run(shell(f"echo x > out.txt; ln -s {host}/secret out.txt.idx", link))
    assert SECRET not in everything(runner, attempt.name)
    up = "../" * 12 + str(host).lstrip("/") + "/secret"
    more = "requirements: {InlineJavascriptRequirement: {}}\n"
    named = f"{{out: {{type: File, secondaryFiles: [{{pattern: '$(\"{up}\")'}}], outputBinding: {{glob: out.txt}}}}}}"
    attempt, _ = runner.run(shell("echo x > out.txt", named, more))
    assert SECRET not in everything(runner, attempt.name)


@pytest.mark.parametrize("glob", ["../../*", "{host}/secret", "x/../../../*", "/etc/*", "/cwl/outx{host}/secret"])
def test_globs(runner: RunnerPeer, host: Path, glob: str) -> None:
    outputs = f"{{out: {{type: 'File[]', outputBinding: {{glob: '{glob.format(host=host)}'}}}}}}"
    refused(runner, shell("mkdir x", outputs))


@pytest.mark.parametrize(
    "entry",
    [
        {"class": "File", "path": "{host}/secret"},
        {"class": "File", "location": "file://{host}/secret"},
        {"class": "File", "path": "/cwl/out/../../..{host}/secret"},
        {"class": "File", "contents": "x", "secondaryFiles": [{"class": "File", "path": "{host}/secret"}]},
        {"class": "Directory", "basename": "d", "listing": [{"class": "File", "location": "file://{host}/secret"}]},
        {"class": "File", "location": "http://127.0.0.1:9/secret"},
    ],
)  # fmt: skip
def test_what_cwl_output_json_names(runner: RunnerPeer, host: Path, entry: dict[str, Any]) -> None:
    text = json.dumps({"out": entry}).replace("{host}", str(host))
    refused(runner, shell(f"cat > cwl.output.json <<'EOF'\n{text}\nEOF", "{out: Any}"))


def test_cwl_output_json_that_is_no_file(runner: RunnerPeer, host: Path) -> None:
    """A FIFO of that name once held the engine until the job's time was up."""
    refused(runner, shell("mkfifo cwl.output.json"))
    _, seen = runner.run(shell(f"ln -s {host}/secret cwl.output.json"))
    assert SECRET not in str(seen)


def test_a_captured_stderr_that_became_a_link(runner: RunnerPeer, host: Path) -> None:
    """The last lines of a failing tool's stderr are told to its user: once also those of any file of the host."""
    for name, script in (
        ("err.txt", f"rm err.txt; ln -s {host}/secret err.txt; exit 1"),
        ("d/secret", f"mv d e; ln -s {host} d; exit 1"),
        ("err.txt", "rm err.txt; mkfifo err.txt; exit 1"),
    ):
        refused(runner, shell(script, "{e: stderr}", f"stderr: {name}\n"))


def test_places_of_staged_files_that_became_links(runner: RunnerPeer, host: Path) -> None:
    """cwltool removes what lies there after the tool and puts links in its place: once also anywhere on the host."""
    listing = "requirements: {InitialWorkDirRequirement: {listing: [{entryname: sub/secret, entry: $(inputs.note)}]}}\n"
    package = shell(f"mv sub old; ln -s {host} sub", more=listing).replace("inputs: []", "inputs: {note: File}")
    order = {"note": {"class": "File", "location": "inputs/note.txt"}}
    refused(runner, package, order, stage=(StageItem("note.txt", text="mine"),))
    assert (host / "secret").read_text() == SECRET
    assert not (host / "secret").is_symlink()


def test_directories_that_are_copied_for_a_step(runner: RunnerPeer, host: Path) -> None:
    """The copy is made outside of any sandbox, and follows links."""
    package = f"""\
cwlVersion: v1.2
class: Workflow
inputs: []
outputs: {{out: {{type: File, outputSource: two/out}}}}
steps:
  one:
    in: []
    out: [d]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'mkdir d; ln -s {host}/secret d/x']
      inputs: []
      outputs: {{d: {{type: Directory, outputBinding: {{glob: d}}}}}}
  two:
    in: {{d: one/d}}
    out: [out]
    run:
      class: CommandLineTool
      requirements:
        InitialWorkDirRequirement: {{listing: [{{entryname: w, entry: $(inputs.d), writable: true}}]}}
      baseCommand: [sh, -c, 'cat w/x > out.txt']
      inputs: {{d: Directory}}
      outputs: {{out: {{type: File, outputBinding: {{glob: out.txt}}}}}}
"""
    refused(runner, package)


def test_hard_links(runner: RunnerPeer, host: Path) -> None:
    """Also not to an input, which may share its bytes with the broker's storage."""
    script = f"ln {host}/secret out.txt || ln /etc/passwd out.txt || ln /usr/bin/env out.txt || ln /cwl/in/*/* out.txt"
    package = shell(script, ONE).replace("inputs: []", "inputs: {note: File}")
    order = {"note": {"class": "File", "location": "inputs/note.txt"}}
    refused(runner, package, order, stage=(StageItem("note.txt", text="mine"),))


def test_inputs_are_not_changed_in_place_by_a_hint(runner: RunnerPeer, host: Path) -> None:
    """An input may be a second name of a file in the broker's storage: once a hint was enough to write to it."""
    kept = host / "secret"
    more = (
        "hints: {InplaceUpdateRequirement: {inplaceUpdate: true}}\n"
        "requirements: {InitialWorkDirRequirement: {listing: [{entry: $(inputs.note), writable: true}]}}\n"
    )
    package = shell("echo changed > note.txt", more=more).replace("inputs: []", "inputs: {note: File}")
    order = {"note": {"class": "File", "location": "inputs/note.txt"}}
    stage = (StageItem("note.txt", url=kept.as_uri(), trusted=True),)
    spec = runner.spec(package, order, stage=stage)
    platform = runner.platform()
    list(platform.submit(spec))
    assert ended(platform, attempt_of(spec)).state == State.SUCCEEDED
    assert kept.read_text() == SECRET


def test_a_process_left_behind_swaps_nothing(runner: RunnerPeer, host: Path) -> None:
    """It would exchange a file for a link while that is collected: but it ends with the tool."""
    script = (
        f"echo fine > out.txt; (setsid sh -c 'while :; do ln -sfn {host}/secret l; mv -T l out.txt; echo fine > f;"
        " mv -T f out.txt; done' >/dev/null 2>&1 &); echo fine > f2; mv -f f2 out.txt; true"
    )
    for _ in range(5):
        attempt, seen = runner.run(shell(script, ONE))
        assert SECRET not in everything(runner, attempt.name)
        if seen.state == State.SUCCEEDED:
            assert (runner.root / attempt.name / "outputs/out/out.txt").read_text() == "fine\n"


def test_a_swap_between_look_and_copy(tmp_path: Path, host: Path) -> None:
    """The race itself, against the collecting function: thousands of swaps, and never the secret."""
    work = tmp_path / "work"
    (work / "d").mkdir(parents=True)
    (work / "d" / "secret").write_text("fine")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (work / "l").symlink_to(host)
            (work / "d").rename(work / "real")
            (work / "l").rename(work / "d")
            (work / "d").unlink()
            (work / "real").rename(work / "d")

    files, _ = confine(work)
    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(1500):
            outputs = tmp_path / f"o{number}"
            entry = {"class": "File", "basename": "secret", "location": f"file://{work}/d/secret"}
            try:
                gather({"out": entry}, outputs, files)
            except (OutsideJob, OSError):
                continue
            assert (outputs / "out/secret").read_text() == "fine"
    finally:
        over.set()
        swapping.join()
    gather({"out": entry}, tmp_path / "after", files)
    assert (tmp_path / "after/out/secret").read_text() == "fine"


def test_files_are_opened_without_following(tmp_path: Path, host: Path) -> None:
    (tmp_path / "link").symlink_to(host)
    (tmp_path / "file").symlink_to(host / "secret")
    os.mkfifo(tmp_path / "fifo")
    for below in ("link/secret", "file", "fifo", "host/../host/secret", "host", ""):
        with pytest.raises(OSError):
            open_file(str(tmp_path), below)
    os.close(open_file(str(tmp_path), "host/secret"))


def test_sparse_giants(runner: RunnerPeer) -> None:
    """A file of terabytes costs nothing to make; it is refused before it is read."""
    seen = refused(runner, shell("truncate -s 4T out.txt", ONE))
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.OUTPUT_TOO_LARGE)


def test_floods_of_files(runner: RunnerPeer) -> None:
    script = "mkdir tree; cd tree; for i in $(seq 3000); do : > $i; done"
    seen = refused(runner, shell(script, TREE), limits=Limits(output_files=1000))
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.OUTPUT_TOO_LARGE)


def test_links_that_stand_for_any_number_of_files(runner: RunnerPeer) -> None:
    """Forty directories with two links each to the next one are a million million files."""
    script = (
        "mkdir tree; cd tree; for i in $(seq 40); do mkdir d$i; ln -s ../d$((i+1)) d$i/a; ln -s ../d$((i+1)) d$i/b;"
        " done; mkdir d41; echo x > d41/f"
    )
    seen = refused(runner, shell(script, TREE), limits=Limits(output_files=1000))
    assert seen.failure is not None
    assert seen.failure.reason in (Reason.OUTPUT_TOO_LARGE, Reason.OUTPUT_REFUSED)


def test_a_log_is_no_way_out(runner: RunnerPeer, host: Path) -> None:
    platform = runner.platform()
    spec = runner.spec(shell(f"cat {host}/secret; ls -R {host}; exit 3"))
    list(platform.submit(spec))
    ended(platform, attempt_of(spec))
    assert SECRET not in str(look(platform, attempt_of(spec)))
    assert SECRET not in "".join(chunk.text for chunk in platform.logs(attempt_of(spec), None).chunks)
