"""The adapters that the contract suite runs over; a new adapter adds its case here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.local import platform as local_platform
from broker.jobs.model import JobSpec
from broker.platform import Collected, OutputFile, Platform
from broker.runner.client import Zygote
from tests.peers.runner import ECHO, SLEEP, RunnerPeer, runner_peer, shell


class Killed(BaseException):
    """The process that submits dies here: nothing may catch it."""


@dataclass
class Case:
    """One adapter under test.

    `connect` gives a new object on the same platform (as after a restart), `unreachable` one of a platform that does
    not answer; `kind`: of the packages that it runs. Each of these makes a new job: `echo` writes a text and a line
    break into a file, which `said` finds among the outputs; `sleep` takes ten minutes; `failing` says "wrong band"
    and ends with `exit_code`; `chatty` logs the numbers from 1 to `lines`, one on a line.
    `deaths`: the points of `submit` at which the process may die, each a context in which it does; `executions`: how
    often a job was really started; `buries`: whether a cancel of what never reached the platform keeps a later submit
    from starting it.
    """

    kind: str
    connect: Callable[[], Platform]
    unreachable: Callable[[], Platform]
    echo: Callable[[str], JobSpec]
    said: Callable[[Collected], OutputFile]
    sleep: Callable[[], JobSpec]
    failing: Callable[[], JobSpec]
    exit_code: int | None
    chatty: Callable[[], JobSpec]
    lines: int
    deaths: dict[str, Callable[[], AbstractContextManager[None]]]
    executions: Callable[[JobSpec], int]
    buries: bool = True


@contextmanager
def _dies(owner: Any, name: str, *, after: bool) -> Iterator[None]:
    """The process dies when `owner.name` is called, before or after it did its work."""
    real = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if after:
            real(*args, **kwargs)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, dying)
        yield


def _local(runner: RunnerPeer) -> Case:
    def executions(spec: JobSpec) -> int:
        steps = runner.root / spec.name / "steps.jsonl"
        return steps.read_text().count('"running"') if steps.exists() else 0

    def said(collected: Collected) -> OutputFile:
        [file] = collected.files
        assert collected.outputs["said"]["location"] == file.path
        return file

    return Case(
        kind="cwl",
        connect=runner.platform,
        unreachable=lambda: runner.platform(socket=runner.root / "nobody.sock"),
        echo=lambda message: runner.spec(ECHO, {"message": message}),
        said=said,
        sleep=lambda: runner.spec(SLEEP, {"seconds": "600"}),
        failing=lambda: runner.spec(shell("echo wrong band >&2; exit 4")),
        exit_code=4,
        chatty=lambda: runner.spec(shell("seq 200000 >&2")),
        lines=200_000,
        deaths={
            "before anything": lambda: _dies(local_platform.LocalPlatform, "_place", after=False),
            "before the spec is written": lambda: _dies(local_platform, "write_json", after=False),
            "before the directory has its name": lambda: _dies(local_platform, "write_json", after=True),
            "before the runner is asked": lambda: _dies(Zygote, "start", after=False),
            "before the runner's answer is heard": lambda: _dies(Zygote, "start", after=True),
        },
        executions=executions,
    )


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("contract")) as peer:
        yield peer


# adapter -> (the fixture with its peer, what makes a case of that, the points at which `submit` may die)
CASES: dict[str, tuple[str, Callable[[Any], Case], tuple[str, ...]]] = {
    "local": (
        "runner",
        _local,
        (
            "before anything",
            "before the spec is written",
            "before the directory has its name",
            "before the runner is asked",
            "before the runner's answer is heard",
        ),
    ),
}


def _case(request: pytest.FixtureRequest, adapter: str) -> Case:
    peer, make, stages = CASES[adapter]
    case = make(request.getfixturevalue(peer))
    assert {*case.deaths} == {*stages}
    return case


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Each adapter in turn."""
    return _case(request, request.param)


@pytest.fixture(params=[f"{adapter}, {stage}" for adapter in sorted(CASES) for stage in CASES[adapter][2]])
def fatal(request: pytest.FixtureRequest) -> tuple[Case, Callable[[], AbstractContextManager[None]]]:
    """Each adapter with each point at which its `submit` may die."""
    adapter, _, stage = request.param.partition(", ")
    case = _case(request, adapter)
    return case, case.deaths[stage]
