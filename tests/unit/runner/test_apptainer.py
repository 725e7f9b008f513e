"""Tools in apptainer: the command lines of its documentation, by a stand-in that runs them in bubblewrap."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from adapters.local.platform import LocalPlatform
from broker.jobs.model import Fault, Reason, StageItem
from broker.jobs.observation import State
from broker.runner import apptainer, isolation
from broker.runner.jobdir import JobDir
from tests.peers import apptainer as peer
from tests.peers.broker import wait_for
from tests.peers.image import IMAGE
from tests.peers.runner import RunnerPeer, attempt_of, ended, look, shell

OUT = "{out: {type: File, outputBinding: {glob: out.txt}}}"


def packaged(script: str, outputs: str = "[]", more: str = "") -> str:
    return shell(script, outputs, f"requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}{more}}}\n")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`apptainer` on the PATH, for a user that is not root."""
    path = tmp_path / "bin" / "apptainer"
    path.parent.mkdir()
    here = Path(peer.__file__).resolve().parents[2]
    path.write_text(f'#!/bin/sh\nPYTHONPATH={here} exec {sys.executable} -P -m tests.peers.apptainer "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return path


@pytest.fixture
def platform(runner: RunnerPeer, program: Path) -> LocalPlatform:
    found = runner.platform(engine="apptainer")
    capabilities = found.check().capabilities
    assert capabilities.container_engine == "apptainer", found.check().message
    return found


def processes(name: str) -> list[str]:
    """Processes that have a job's directory among their mounts."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"/{name}/" in (entry / "mountinfo").read_text() and (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_a_tool_in_its_image(runner: RunnerPeer, platform: LocalPlatform) -> None:
    script = (
        "ls /etc > out.txt; cat /proc/net/dev | while read a b; do echo $a; done >> out.txt;"
        ' echo "$HOME##$TMPDIR##$WORDS" >> out.txt; cat /proc/*/environ | cat >> out.txt; echo told >&2'
    )
    more = ", EnvVarRequirement: {envDef: {WORDS: 'a, b $HOME'}}"
    attempt, seen = runner.run(packaged(script, OUT, more), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        text = stream.read().decode()
    assert "made-for-tests" in text
    assert [word for word in text.split() if word.endswith(":")] == ["lo:"]
    home, tmpdir, words = next(line for line in text.splitlines() if "##" in line).split("##")
    assert home
    assert str(runner.root) not in text
    assert tmpdir == "/tmp"
    assert words == "a, b $HOME"
    [step] = platform.steps(attempt)
    assert step.image == IMAGE
    assert step.image_digest is not None
    assert step.image_digest.startswith("sha256:")
    assert step.cpu_seconds is not None
    assert "told" in "".join(chunk.text for chunk in platform.logs(attempt, None).chunks)


def test_inputs_are_read_only(runner: RunnerPeer, platform: LocalPlatform) -> None:
    script = "for f in /var/lib/cwl/*/note.txt /*/*/note.txt; do cat $f; echo x > $f; done > out.txt 2>&1; true"
    package = packaged(script, OUT).replace("inputs: []", "inputs: {note: File}")
    stage = (StageItem("note/note.txt", text="from the user"),)
    order = {"note": {"class": "File", "location": "inputs/note/note.txt"}}
    attempt, seen = runner.run(package, order, on=platform, stage=stage)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        text = stream.read().decode()
    assert "from the user" in text
    assert "Read-only" in text


def test_an_image_is_fetched_once(runner: RunnerPeer, platform: LocalPlatform, program: Path) -> None:
    assert runner.run(packaged("true"), on=platform)[1].state == State.SUCCEEDED
    image = apptainer.file_of(runner.root / ".images", IMAGE)
    before = image.stat().st_mtime_ns
    assert runner.run(packaged("true"), on=platform)[1].state == State.SUCCEEDED
    assert image.stat().st_mtime_ns == before


def test_an_image_that_cannot_be_fetched(runner: RunnerPeer, platform: LocalPlatform) -> None:
    _, seen = runner.run(packaged("true").replace(IMAGE, "localhost:9/no/such:1"), on=platform)
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.PLATFORM, Reason.PLATFORM_REFUSED)


def test_cancel_ends_the_container(runner: RunnerPeer, platform: LocalPlatform) -> None:
    spec = runner.spec(packaged("echo up >&2; sleep 600"))
    list(platform.submit(spec))
    wait_for(lambda: len(processes(spec.name)) > 0, 30, lambda: str(look(platform, attempt_of(spec))))
    platform.cancel(attempt_of(spec))
    assert ended(platform, attempt_of(spec), 20).state == State.CANCELLED
    wait_for(lambda: not processes(spec.name), 10, lambda: str(processes(spec.name)))


def test_a_killed_keeper_leaves_no_container(runner: RunnerPeer, platform: LocalPlatform) -> None:
    spec = runner.spec(packaged("sleep 600"))
    list(platform.submit(spec))
    wait_for(lambda: len(processes(spec.name)) > 0, 30, lambda: str(look(platform, attempt_of(spec))))
    os.kill(json.loads(JobDir(runner.root / spec.name).started.read_text())["pid"], signal.SIGKILL)
    assert ended(platform, attempt_of(spec), 20).state == State.LOST
    wait_for(lambda: not processes(spec.name), 30, lambda: str(processes(spec.name)))


def test_tool_time_limit_ends_the_container(runner: RunnerPeer, platform: LocalPlatform) -> None:
    attempt, seen = runner.run(packaged("sleep 600", more=", ToolTimeLimit: {timelimit: 1}"), on=platform)
    assert seen.failure is not None
    assert seen.failure.reason == Reason.TIME_LIMIT
    wait_for(lambda: not processes(attempt.name), 10, lambda: str(processes(attempt.name)))


def test_one_that_starts_no_container_is_said(program: Path) -> None:
    program.write_text("#!/bin/sh\necho 'FATAL: no user namespaces today' >&2\nexit 255\n")
    found = isolation.find("auto", "apptainer")
    assert found.engine is None
    assert any("no user namespaces today" in note for note in found.notes)


def test_not_as_root(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = isolation.find("auto", "apptainer")
    assert found.engine is None
    assert any("ordinary user" in note for note in found.notes)


def test_the_network_only_where_asked() -> None:
    argv = ("apptainer",)
    assert "--network=none" in apptainer.words(argv, (), "/job/out1", "/cwl", network=False)
    assert not [word for word in apptainer.words(argv, (), "/job/out1", "/cwl", network=True) if "net" in word]
