"""What a tool in bubblewrap can see and reach of the machine: as good as nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broker.errors import BrokerError, PlatformRefused, PlatformUnavailable
from broker.jobs.model import StageItem
from broker.jobs.observation import State
from broker.runner import isolation
from tests.peers.runner import RunnerPeer, shell

FILE = "{out: {type: File, outputBinding: {glob: out.txt}}}"


def said(runner: RunnerPeer, script: str, more: str = "", **settings: object) -> str:
    """What a shell script writes to out.txt in the sandbox."""
    platform = runner.platform(**settings)
    attempt, seen = runner.run(shell(script, FILE, more), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        return stream.read().decode()


def test_bubblewrap_works_here() -> None:
    """On a machine where this fails nothing below can pass; the message says what to do."""
    found = isolation.find("bubblewrap", "none")
    assert found.tools == "bubblewrap", found.notes


def test_no_files_of_the_host(runner: RunnerPeer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    places = f"{secret} /root /home /var /opt /srv /etc/shadow /etc/hostname {runner.root} {Path.cwd()}"
    text = said(runner, f"for p in {places}; do if [ -e $p ]; then echo $p; fi; done > out.txt; ls / >> out.txt")
    assert set(text.split()) == {"bin", "cwl", "dev", "etc", "lib", "lib64", "proc", "sbin", "tmp", "usr"} - {
        name for name in ("lib64", "sbin") if not Path("/", name).exists()
    }


def test_no_environment_and_no_processes_of_the_host(runner: RunnerPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the broker")
    text = said(
        runner, "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' > out.txt; ls /proc >> out.txt; env >> out.txt"
    )
    assert "of the broker" not in text
    assert str(runner.root) not in text
    assert len([line for line in text.split() if line.isdigit()]) <= 8
    assert "HOME=/cwl/out" in text
    assert "TMPDIR=/tmp" in text


def test_no_network(runner: RunnerPeer) -> None:
    text = said(
        runner, "cat /proc/net/dev | grep : | cut -d: -f1 > out.txt; ls /etc/resolv.conf >> out.txt 2>&1 || true"
    )
    assert [line.strip() for line in text.splitlines() if "resolv" not in line] == ["lo"]
    assert "No such file" in text


def test_network_only_where_asked_and_allowed(runner: RunnerPeer) -> None:
    asks = "requirements: {NetworkAccess: {networkAccess: true}}\n"
    script = "readlink /proc/self/ns/net > out.txt"
    ours = str(Path("/proc/self/ns/net").readlink())
    assert said(runner, script, asks, network=True).strip() == ours
    assert said(runner, script, asks, network=False).strip() != ours
    assert said(runner, script, network=True).strip() != ours


def test_inputs_are_read_only_and_outputs_writable(runner: RunnerPeer) -> None:
    package = shell(
        "f=$(ls /cwl/in/*/note.txt); (echo x >> $f) 2> out.txt; rm -f $f 2>> out.txt; chmod u+w $f 2>> out.txt;"
        " cat $f >> out.txt; touch /usr/x 2>> out.txt; touch /x 2>/dev/null && ls /x >> out.txt; true",
        FILE,
    ).replace("inputs: []", "inputs: {note: File}")
    stage = (StageItem("note/note.txt", text="from the user"),)
    order = {"note": {"class": "File", "location": "inputs/note/note.txt"}}
    platform = runner.platform()
    attempt, seen = runner.run(package, order, on=platform, stage=stage)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        text = stream.read().decode()
    assert "from the user" in text
    assert "/x" not in text.split()
    assert "cannot create /cwl/in" in text
    assert "cannot remove '/cwl/in" in text
    assert "changing permissions" in text
    assert "cannot touch '/usr/x'" in text


def test_many_inputs_are_seen_alike(runner: RunnerPeer) -> None:
    """From some number on files are linked into one directory, where mounting each would take too long."""
    count = 300
    package = """\
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$@" > out.txt; for f; do (rm $f || echo x > $f || chmod 700 $f) 2> x; done; true', x]
requirements:
  InitialWorkDirRequirement: {listing: [$(inputs.extra)]}
inputs:
  extra: Directory
  files: {type: 'File[]', inputBinding: {}}
outputs: {out: {type: File, outputBinding: {glob: out.txt}}, beside: {type: File, outputBinding: {glob: extra/note}}}
"""
    stage = (*(StageItem(f"f/{n}.txt", text=f"{n}\n") for n in range(count)), StageItem("extra/note", text="there"))
    files = [{"class": "File", "location": f"inputs/f/{n}.txt"} for n in range(count)]
    order = {"files": files, "extra": {"class": "Directory", "location": "inputs/extra"}}
    platform = runner.platform()
    attempt, seen = runner.run(package, order, on=platform, stage=stage)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        assert stream.read().decode().split() == [str(n) for n in range(count)]
    with platform.open(attempt, "beside/note") as stream:
        assert stream.read() == b"there"
    assert {(runner.root / attempt.name / "inputs/f" / f"{n}.txt").read_text() for n in (0, 299)} == {"0\n", "299\n"}


def test_not_root_and_no_rights(runner: RunnerPeer) -> None:
    text = said(runner, "id -u > out.txt; grep CapEff /proc/self/status >> out.txt; whoami >> out.txt")
    uid, capabilities, name = text.splitlines()
    assert uid != "0"
    assert int(capabilities.split()[1], 16) == 0
    assert name == "tool"


def test_software_directories_come_first_on_the_path(runner: RunnerPeer, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "surveyor"
    tool.write_text("#!/bin/sh\necho measured; touch $(dirname $0)/x 2>&1\n")
    tool.chmod(0o755)
    text = said(runner, "surveyor > out.txt; true", software=(tmp_path,))
    assert text.startswith("measured")
    assert "Read-only" in text


def test_a_virtual_environment_brings_its_python(runner: RunnerPeer) -> None:
    environment = Path(sys.prefix)
    text = said(runner, "python -c 'import quickjs; print(quickjs.__file__)' > out.txt", software=(environment,))
    assert text.startswith(str(environment))


def test_software_that_is_not_there_is_said(runner: RunnerPeer, tmp_path: Path) -> None:
    health = runner.platform(software=(tmp_path / "gone",)).check()
    assert not health.available
    assert "gone" in health.message
    with pytest.raises(PlatformUnavailable, match=r"local runs no job: The software directory .*gone is not there"):
        list(runner.platform(software=(tmp_path / "gone",)).submit(runner.spec(shell("true"))))


def test_required_image_without_engine_is_refused_with_the_remedy(runner: RunnerPeer) -> None:
    more = "requirements: {DockerRequirement: {dockerPull: example.org/tool:1}}\n"
    spec = runner.spec(shell("true", more=more))
    with pytest.raises(PlatformRefused, match=r"example\.org/tool:1.*apt-get install podman"):
        list(runner.platform().submit(spec))


def test_hinted_image_without_engine_runs_in_bubblewrap(runner: RunnerPeer) -> None:
    more = "hints: {DockerRequirement: {dockerPull: example.org/tool:1}}\n"
    platform = runner.platform()
    attempt, seen = runner.run(shell("true", more=more), on=platform)
    assert seen.state == State.SUCCEEDED
    log = "".join(chunk.text for chunk in platform.logs(attempt, None).chunks if chunk.stream == "engine")
    assert "example.org/tool:1 is only a hint" in log


def test_a_failure_without_the_hinted_image_says_so(runner: RunnerPeer) -> None:
    more = "hints: {DockerRequirement: {dockerPull: example.org/tool:1}}\n"
    _, seen = runner.run(shell("python3 -c 'import nowhere_at_all'", more=more))
    assert seen.failure is not None
    assert "The image example.org/tool:1 is only a hint and could not be used" in seen.failure.message
    assert "the step ran without it" in seen.failure.message
    assert "[platforms.local] software" in seen.failure.message


def test_plain_process_only_by_name(runner: RunnerPeer) -> None:
    platform = runner.platform(isolation="process")
    attempt, seen = runner.run(shell("pwd; echo $HOME", "{out: stdout}", "stdout: out.txt\n"), on=platform)
    assert seen.state == State.SUCCEEDED
    with platform.open(attempt, "out/out.txt") as stream:
        assert str(runner.root) in stream.read().decode()


@pytest.mark.parametrize("image", ["--volume=/:/host", "a b", "-x", ""])
def test_an_image_is_never_an_option(runner: RunnerPeer, image: str) -> None:
    more = f"requirements: {{DockerRequirement: {{dockerImageId: '{image}', dockerPull: '{image}'}}}}\n"
    with pytest.raises(BrokerError):
        list(runner.platform().submit(runner.spec(shell("true", more=more))))
