"""Who dies with whom: the zygote alone, a keeper with all it started, a job with its tools."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from broker.errors import LimitError, PackageError, PlatformUnavailable, SetupError
from broker.jobs.model import JobSpec, Limits, Reason, remote_name
from broker.jobs.observation import State
from broker.packages.bundle import Bundle, build
from broker.runner.client import Zygote
from broker.runner.jobdir import JobDir
from broker.runner.zygote import listen
from tests.peers.broker import processes_with, wait_for
from tests.peers.runner import ECHO, SLEEP, RunnerPeer, attempt_of, ended, look, shell


def seconds(number: int) -> dict[str, str]:
    """A time to sleep that no other process sleeps for: how the test finds it."""
    return {"seconds": f"{number}.{os.getpid()}"}


def sleeping(order: dict[str, str]) -> dict[int, str]:
    return {pid: line for pid, line in processes_with(f"sleep {order['seconds']}").items() if line.startswith("sleep")}


def start_sleep(runner: RunnerPeer, order: dict[str, str], **settings: Any) -> Any:
    """A job whose tool really sleeps."""
    spec = runner.spec(SLEEP, order, limits=settings.pop("limits", Limits()))
    platform = runner.platform(**settings)
    list(platform.submit(spec))
    wait_for(lambda: bool(sleeping(order)), 30, lambda: str(look(platform, attempt_of(spec))))
    return platform, attempt_of(spec)


def test_ping(runner: RunnerPeer) -> None:
    answer = Zygote(runner.socket).ping()
    assert answer["ok"] is True
    assert runner.process is not None
    assert answer["pid"] == runner.process.pid


def test_no_zygote(tmp_path: Path) -> None:
    with pytest.raises(PlatformUnavailable, match="broker up"):
        Zygote(tmp_path / "none.sock").ping()


def test_a_second_zygote_on_the_socket_is_refused(runner: RunnerPeer) -> None:
    with pytest.raises(SetupError, match="already serves"):
        listen(runner.socket)
    assert runner.answers()


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[1]\n", b'{"op": "nothing"}\n', b'{"op": "start", "job": "../x"}\n']
)
def test_bad_requests_harm_nothing(runner: RunnerPeer, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(runner.socket))
        connection.sendall(line)
        assert "error" in json.loads(connection.makefile("rb").readline())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(runner.socket))
        connection.sendall(b"x" * 8192)
    assert runner.answers()


def test_check_gives_the_inspection_or_the_error(runner: RunnerPeer) -> None:
    zygote = Zygote(runner.socket)
    inspection = zygote.check(build(ECHO).to_json())
    assert [one["id"] for one in inspection.process["inputs"]] == ["message"]
    broken = Bundle.make("package.cwl", {"package.cwl": ECHO.replace("baseCommand: echo", "baseCommand: {a: 1}")}, {})
    with pytest.raises(PackageError) as caught:
        zygote.check(broken.to_json())
    assert caught.value.file == "package.cwl"
    assert caught.value.line == 3
    alien = ECHO + "requirements: {MPIRequirement: {processes: 2}}\n"
    with pytest.raises(PackageError):
        zygote.check(Bundle.make("package.cwl", {"package.cwl": alien}, {}).to_json())


def test_check_survives_hostile_input(runner: RunnerPeer) -> None:
    zygote = Zygote(runner.socket)
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    for text in (bomb, "[" * 5000, "{", "\x00", "run: file:///etc/passwd"):
        with pytest.raises((PackageError, LimitError)):
            zygote.check({"kind": "cwl", "entry": "package.cwl", "documents": {"package.cwl": text}, "files": {}})
    assert runner.answers()


def test_a_job_is_started_once(runner: RunnerPeer) -> None:
    spec = runner.spec(ECHO, {"message": "hi"})
    platform = runner.platform()
    first = list(platform.submit(spec))
    assert list(platform.submit(spec)) == first
    assert Zygote(runner.socket).start(runner.root / spec.name) is True
    seen = ended(platform, attempt_of(spec))
    assert seen.state == State.SUCCEEDED
    assert list(platform.submit(spec)) == first
    assert look(platform, attempt_of(spec)) == seen


def test_a_second_start_harms_no_running_job(runner: RunnerPeer) -> None:
    order = seconds(1008)
    platform, attempt = start_sleep(runner, order, isolation="process")
    events = platform.events()
    assert Zygote(runner.socket).start(runner.root / attempt.name) is True
    other, _ = runner.run(ECHO, {"message": "later"})
    assert next(events) == other.job_id  # and nothing was said of the running one before
    assert look(platform, attempt).state == State.RUNNING
    assert sleeping(order)
    platform.release(attempt)


def test_the_end_of_a_job_is_an_event(runner: RunnerPeer) -> None:
    platform = runner.platform()
    events = platform.events()
    spec = runner.spec(ECHO, {"message": "hi"})
    list(platform.submit(spec))
    assert next(events) == spec.job_id
    assert look(platform, attempt_of(spec)).state == State.SUCCEEDED


def test_a_lost_job_is_an_event_too(runner: RunnerPeer) -> None:
    order = seconds(1007)
    platform, attempt = start_sleep(runner, order)
    events = platform.events()
    os.kill(json.loads(JobDir(runner.root / attempt.name).started.read_text())["pid"], signal.SIGKILL)
    assert next(events) == attempt.job_id
    assert look(platform, attempt).state == State.LOST


def test_events_end_with_the_zygote(own_runner: RunnerPeer) -> None:
    events = own_runner.platform().events()
    own_runner.kill()
    assert list(events) == []
    with pytest.raises(PlatformUnavailable):
        own_runner.platform().events()


def test_cancel_ends_the_tool(runner: RunnerPeer) -> None:
    order = seconds(1001)
    platform, attempt = start_sleep(runner, order)
    platform.cancel(attempt)
    assert ended(platform, attempt, 10).state == State.CANCELLED
    wait_for(lambda: not sleeping(order), 5, lambda: str(sleeping(order)))
    platform.cancel(attempt)


@pytest.mark.parametrize("isolation", ["bubblewrap", "process"])
def test_a_killed_keeper_takes_its_tool_along(runner: RunnerPeer, isolation: str) -> None:
    order = seconds(1002)
    platform, attempt = start_sleep(runner, order, isolation=isolation)
    job = JobDir(runner.root / attempt.name)
    os.kill(json.loads(job.started.read_text())["pid"], signal.SIGKILL)
    wait_for(lambda: not sleeping(order), 5, lambda: str(sleeping(order)))
    seen = ended(platform, attempt, 10)
    assert seen.state == State.LOST
    assert seen.failure is not None
    assert seen.failure.reason == Reason.LOST
    assert not job.alive()


def test_a_daemon_of_a_plain_process_ends_with_the_job(runner: RunnerPeer) -> None:
    order = seconds(1003)
    platform = runner.platform(isolation="process")
    _, seen = runner.run(shell(f"setsid sleep {order['seconds']} > /dev/null 2>&1 &"), on=platform)
    assert seen.state == State.SUCCEEDED
    wait_for(lambda: not sleeping(order), 5, lambda: str(sleeping(order)))


def test_jobs_outlive_a_killed_zygote(own_runner: RunnerPeer) -> None:
    order = seconds(3)
    platform, attempt = start_sleep(own_runner, order)
    own_runner.kill(signal.SIGKILL)
    assert look(platform, attempt).state == State.RUNNING
    with pytest.raises(PlatformUnavailable):
        list(platform.submit(own_runner_spec(order)))
    assert ended(platform, attempt).state == State.SUCCEEDED


def own_runner_spec(order: dict[str, str]) -> Any:
    bundle = build(SLEEP).to_json()
    return JobSpec("other", 1, remote_name("other", 1), "me", "mine", "process", bundle, order)


def test_cancel_reaches_a_job_of_the_zygote_before(own_runner: RunnerPeer) -> None:
    order = seconds(1004)
    platform, attempt = start_sleep(own_runner, order)
    own_runner.kill(signal.SIGKILL)
    own_runner.start()
    assert look(platform, attempt).state == State.RUNNING
    platform.cancel(attempt)
    assert ended(platform, attempt, 10).state == State.CANCELLED
    wait_for(lambda: not sleeping(order), 5, lambda: str(sleeping(order)))


def test_time_limit_of_the_job(runner: RunnerPeer) -> None:
    order = seconds(1005)
    platform, attempt = start_sleep(runner, order, limits=Limits(time=1.0))
    seen = ended(platform, attempt, 10)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert seen.failure.reason == Reason.TIME_LIMIT
    wait_for(lambda: not sleeping(order), 5, lambda: str(sleeping(order)))


def test_nothing_is_left_of_a_released_job(runner: RunnerPeer) -> None:
    order = seconds(1006)
    platform, attempt = start_sleep(runner, order)
    platform.release(attempt)
    assert not sleeping(order)
    assert not (runner.root / attempt.name).exists()
    assert look(platform, attempt).state == State.LOST
    platform.release(attempt)


def test_the_zygote_stays_small_and_leaves_no_zombies(runner: RunnerPeer) -> None:
    assert runner.process is not None
    for _ in range(3):
        runner.run(ECHO, {"message": "x"})
    status = Path(f"/proc/{runner.process.pid}/status").read_text()
    size = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert size < 120 * 1024
    assert next(line for line in status.splitlines() if line.startswith("Threads")).split()[1] == "1"

    def zombies() -> list[int]:
        assert runner.process is not None
        pids = Path(f"/proc/{runner.process.pid}/task/{runner.process.pid}/children").read_text().split()
        return [int(pid) for pid in pids if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()]

    wait_for(lambda: not zombies(), 10, lambda: str(zombies()))
