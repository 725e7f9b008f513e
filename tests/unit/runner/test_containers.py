"""Tools in containers, where a container engine is: isolated, recorded with their image, gone when the job is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from adapters.local.platform import LocalPlatform
from broker.jobs.model import Fault, Reason
from broker.jobs.observation import State
from broker.packages.docker import tool
from broker.runner import isolation
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir
from tests.peers.broker import wait_for
from tests.peers.image import IMAGE, make_image
from tests.peers.runner import RunnerPeer, attempt_of, ended, look, shell


@pytest.fixture(scope="module")
def engine() -> Isolation:
    found = isolation.find("auto", "podman") if shutil.which("podman") else Isolation()
    if not found.engine:
        pytest.skip(f"no working podman {found.notes}: apt-get install podman runc")
    return found


@pytest.fixture(scope="module")
def image(engine: Isolation) -> str:
    return make_image(engine)


@pytest.fixture
def platform(runner: RunnerPeer, engine: Isolation) -> LocalPlatform:
    return runner.platform(engine=engine.engine)


@pytest.fixture
def containers(engine: Isolation) -> list[str]:
    """The command that lists containers."""
    return [*engine.engine_argv, "ps", "--all", "--format", "{{.Names}}"]


def packaged(script: str, outputs: str = "[]", more: str = "") -> str:
    return shell(script, outputs, f"requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}}}\n{more}")


def there(command: list[str], name: str) -> list[str]:
    return [line for line in subprocess.check_output(command, text=True).split() if line.startswith(name)]


def test_a_tool_in_its_image(runner: RunnerPeer, platform: LocalPlatform, image: str) -> None:
    script = "ls /etc > out.txt; cat /proc/net/dev | while read a b; do echo $a; done >> out.txt; echo told >&2"
    outputs = "{out: {type: File, outputBinding: {glob: out.txt}}}"
    attempt, seen = runner.run(packaged(script, outputs), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        text = stream.read().decode()
    assert "made-for-tests" in text
    assert [word for word in text.split() if word.endswith(":")] == ["lo:"]
    [step] = platform.steps(attempt)
    assert step.image == image
    assert step.image_digest is not None
    assert step.image_digest.startswith("sha256:")
    assert "told" in "".join(chunk.text for chunk in platform.logs(attempt, None).chunks)


def test_an_image_with_a_description(runner: RunnerPeer, platform: LocalPlatform, image: str) -> None:
    """Class docker of Part 2: a tool is made of the image, and of the inputs and outputs that are described."""
    unit = {
        "type": "docker",
        "image": image,
        "command": ["sh", "-c", 'echo "$@" > said.txt; cat /etc/made-for-tests', "run"],
        "config": {"cpuMin": 1, "memoryMax": 0.5, "jobTimeout": 60},
        "bindings": {
            "inputBindings": {
                "words": {"prefix": "-w=", "itemSeparator": ","},
                "last": {"position": 9, "valueFrom": "$(self.toUpperCase())"},
            },
            "outputBindings": {"said": {"glob": ["said.txt", "nothing.*"]}},
        },
    }
    described = {
        "inputs": {
            "count": {"schema": {"type": "integer"}},
            "last": {"schema": {"type": "string"}},
            "words": {"maxOccurs": 3, "schema": {"type": "string"}},
            "absent": {"minOccurs": 0, "schema": {"type": "string"}},
        },
        "outputs": {"said": {"schema": {"type": "string", "contentMediaType": "text/plain"}}},
    }
    package = json.dumps(tool(unit, described))
    order = {"count": 3, "last": "end", "words": ["a", "b"]}
    attempt, seen = runner.run(package, order, on=platform)
    assert seen.state == State.SUCCEEDED, (seen, platform.logs(attempt, None))
    with platform.open(attempt, "said/said.txt") as stream:
        assert stream.read() == b"--count 3 -w=a,b END\n"
    [step] = platform.steps(attempt)
    assert step.image == image


def test_a_link_out_of_the_container_is_refused(runner: RunnerPeer, platform: LocalPlatform, image: str) -> None:
    outputs = "{out: {type: File, outputBinding: {glob: leak}}}"
    _, seen = runner.run(packaged("ln -s /etc/passwd leak", outputs), on=platform)
    assert seen.failure is not None
    assert seen.failure.reason == Reason.OUTPUT_REFUSED


def test_cancel_ends_the_container(
    runner: RunnerPeer, platform: LocalPlatform, image: str, containers: list[str]
) -> None:
    spec = runner.spec(packaged("sleep 600"))
    list(platform.submit(spec))
    wait_for(lambda: bool(there(containers, spec.name)), 30, lambda: str(look(platform, attempt_of(spec))))
    platform.cancel(attempt_of(spec))
    assert ended(platform, attempt_of(spec), 20).state == State.CANCELLED
    assert not there(containers, spec.name)


def test_a_killed_keeper_leaves_no_container(
    runner: RunnerPeer, platform: LocalPlatform, image: str, containers: list[str]
) -> None:
    spec = runner.spec(packaged("sleep 600"))
    list(platform.submit(spec))
    wait_for(lambda: bool(there(containers, spec.name)), 30, lambda: str(look(platform, attempt_of(spec))))
    os.kill(json.loads(JobDir(runner.root / spec.name).started.read_text())["pid"], signal.SIGKILL)
    assert ended(platform, attempt_of(spec), 20).state == State.LOST
    wait_for(lambda: not there(containers, spec.name), 30, lambda: str(there(containers, spec.name)))


def test_tool_time_limit_ends_the_container(
    runner: RunnerPeer, platform: LocalPlatform, image: str, containers: list[str]
) -> None:
    package = packaged("sleep 600").replace("requirements: {", "requirements: {ToolTimeLimit: {timelimit: 1}, ")
    attempt, seen = runner.run(package, on=platform)
    assert seen.failure is not None
    assert seen.failure.reason == Reason.TIME_LIMIT
    assert not there(containers, attempt.name)


def test_an_image_that_cannot_be_fetched(runner: RunnerPeer, platform: LocalPlatform) -> None:
    gone = "localhost:9/no/such:1"
    required = runner.spec(packaged("true").replace(IMAGE, gone))
    hinted = runner.spec(packaged("true").replace(IMAGE, gone).replace("requirements:", "hints:"))
    for spec in (required, hinted):
        list(platform.submit(spec))
    failure = ended(platform, attempt_of(required)).failure
    assert failure is not None
    assert (failure.fault, failure.reason) == (Fault.PLATFORM, Reason.PLATFORM_REFUSED)
    assert gone in failure.message
    assert "refused" in failure.message
    assert "ask the operator" in failure.message
    assert ended(platform, attempt_of(hinted)).state == State.SUCCEEDED


def test_check_names_the_engine(platform: LocalPlatform, engine: Isolation) -> None:
    capabilities = platform.check().capabilities
    assert capabilities.container_engine == engine.engine
    assert capabilities.isolation == "bubblewrap"


def test_an_engine_that_does_not_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "podman"
    fake.write_text("#!/bin/sh\necho 'cgroups are broken today' >&2\nexit 125\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = isolation.find("auto", "podman")
    assert found.engine is None
    assert any("cgroups are broken today" in note for note in found.notes)
