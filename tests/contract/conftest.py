"""The adapters that the contract suite runs over; a new adapter adds its case here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.local import platform as local_platform
from adapters.ogcapi import processes
from adapters.ogcapi.platform import OgcApiPlatform
from adapters.ogcapi.settings import OgcApiSettings
from adapters.openeo import batch as openeo_batch
from adapters.openeo import request as openeo_request
from adapters.openeo.batch import Batch
from adapters.openeo.platform import OpenEoPlatform
from broker.jobs.model import JobSpec, remote_name
from broker.packages.bundle import build
from broker.platform import Collected, OutputFile, Platform
from broker.runner.client import Zygote
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.openeo.peer import OpenEoPeer, one, openeo_peer
from tests.peers.ports import free_port
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


_NUMBERS = itertools.count(1)


def _ogcapi(broker: BrokerPeer) -> Case:
    """A second broker, which takes packages, honours Idempotency-Key and keeps tags. Every job has a package of its
    own, so that each is deployed there."""

    def spec(text: str, order: dict[str, str] | None = None) -> JobSpec:
        job_id = f"o{os.getpid()}x{next(_NUMBERS)}"
        bundle = build(f"label: {job_id}\n{text}").to_json()
        return JobSpec(job_id, 1, remote_name(job_id, 1), "me", "mine", "process@1", bundle, order or {})

    def said(collected: Collected) -> OutputFile:
        [file] = collected.files
        assert collected.outputs["said"]["location"] == file.path
        return file

    def connect(url: str = broker.url) -> OgcApiPlatform:
        return OgcApiPlatform("there", OgcApiSettings(url=url))

    return Case(
        kind="cwl",
        connect=connect,
        unreachable=lambda: connect(f"http://127.0.0.1:{free_port()}"),
        echo=lambda message: spec(ECHO, {"message": message}),
        said=said,
        sleep=lambda: spec(SLEEP, {"seconds": "600"}),
        failing=lambda: spec(shell("echo wrong band >&2; exit 4")),
        exit_code=4,
        chatty=lambda: spec(shell("seq 20000 >&2")),
        lines=20_000,
        deaths={
            "before anything": lambda: _dies(processes, "described", after=False),
            "before the package is deployed": lambda: _dies(processes, "deploy", after=False),
            "before the answer about the package is heard": lambda: _dies(processes, "deploy", after=True),
            "before the execution": lambda: _dies(OgcApiPlatform, "_execute", after=False),
            "before the answer about the execution is heard": lambda: _dies(OgcApiPlatform, "_started", after=False),
        },
        executions=lambda spec: len(broker.get(f"/jobs?tag={spec.name}").json()["jobs"]),
        buries=False,
    )


@pytest.fixture(scope="session")
def other_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path_factory.mktemp("other")) as peer:
        yield peer


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("contract")) as peer:
        yield peer


def _openeo(peer: OpenEoPeer) -> Case:
    def platform(url: str | None = None) -> OpenEoPlatform:
        return peer.platform(url, visible_seconds=0)  # what is not there now, is not

    def said(collected: Collected) -> OutputFile:
        [asset] = collected.outputs["assets"]
        return next(file for file in collected.files if file.path == asset["location"])

    return Case(
        kind="openeo",
        connect=platform,
        unreachable=lambda: platform(f"http://127.0.0.1:{free_port()}"),
        echo=lambda message: peer.spec(one("say", message)),
        said=said,
        sleep=lambda: peer.spec(one("wait", 600)),
        failing=lambda: peer.spec(one("fail", "wrong band")),
        exit_code=None,
        chatty=lambda: peer.spec(one("chat", 5000)),
        lines=5000,
        deaths={
            "before anything": lambda: _dies(Batch, "_by_title", after=False),
            "before the job is made": lambda: _dies(openeo_request, "body", after=True),
            "before the answer about the job is heard": lambda: _dies(openeo_batch, "_identifier", after=False),
            "before the job is started": lambda: _dies(Batch, "_start", after=False),
            "before the answer about the start is heard": lambda: _dies(Batch, "_start", after=True),
        },
        executions=lambda spec: sum(peer.starts(job_id) for job_id in peer.ids(spec)),
    )


@pytest.fixture(scope="session")
def openeo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenEoPeer]:
    with openeo_peer(tmp_path_factory.mktemp("openeo")) as peer:
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
    "openeo": (
        "openeo",
        _openeo,
        (
            "before anything",
            "before the job is made",
            "before the answer about the job is heard",
            "before the job is started",
            "before the answer about the start is heard",
        ),
    ),
    "ogcapi": (
        "other_broker",
        _ogcapi,
        (
            "before anything",
            "before the package is deployed",
            "before the answer about the package is heard",
            "before the execution",
            "before the answer about the execution is heard",
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
