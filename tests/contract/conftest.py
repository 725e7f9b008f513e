"""The adapters that the contract suite runs over; a new adapter adds its case here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.local import platform as local_platform
from broker.jobs.model import JobSpec
from broker.platform import Platform
from broker.runner.client import Zygote
from tests.peers.runner import RunnerPeer, runner_peer


class Killed(BaseException):
    """The process that submits dies here: nothing may catch it."""


@dataclass
class Case:
    """One adapter under test.

    `connect` gives a new object on the same platform (as after a restart), `spec` a new job of a CWL package,
    `deaths` the points of `submit` at which the process may die, each a context in which it does,
    `executions` how often a job was really started.
    """

    connect: Callable[[], Platform]
    spec: Callable[[str, dict[str, Any]], JobSpec]
    deaths: dict[str, Callable[[], AbstractContextManager[None]]]
    executions: Callable[[JobSpec], int]
    unreachable: Callable[[], Platform]


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

    return Case(
        connect=runner.platform,
        spec=runner.spec,
        deaths={
            "before anything": lambda: _dies(local_platform.LocalPlatform, "_place", after=False),
            "before the spec is written": lambda: _dies(local_platform, "write_json", after=False),
            "before the directory has its name": lambda: _dies(local_platform, "write_json", after=True),
            "before the runner is asked": lambda: _dies(Zygote, "start", after=False),
            "before the runner's answer is heard": lambda: _dies(Zygote, "start", after=True),
        },
        executions=executions,
        unreachable=lambda: runner.platform(socket=runner.root / "nobody.sock"),
    )


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("contract")) as peer:
        yield peer


CASES: dict[str, str] = {"local": "runner"}
MAKERS: dict[str, Callable[[Any], Case]] = {"local": _local}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Each adapter in turn."""
    return MAKERS[request.param](request.getfixturevalue(CASES[request.param]))
