"""`broker up` as a program: what it starts, what it survives, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.broker import (
    BrokerPeer,
    broker_peer,
    command_line,
    processes_with,
    signal_if_there,
    wait_for,
)
from tests.peers.postgres import PostgresPeer

SLEEP = """cwlVersion: v1.2
class: CommandLineTool
id: nap
baseCommand: [sh, -c]
arguments: ['sleep "$0"; echo "$1" > done.txt', $(inputs.seconds), $(inputs.mark)]
requirements: {ResourceRequirement: {coresMin: 0.02, ramMin: 8}}
inputs:
  seconds: double
  mark: string
outputs:
  done: {type: File, outputBinding: {glob: done.txt}}
"""

pytestmark = pytest.mark.xdist_group("broker")


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path / "state") as running:
        yield running


def child(peer: BrokerPeer, name: str) -> int:
    """The pid of a part of the broker, by what it is forked for."""
    assert peer.process is not None
    pids = [pid for pid in peer.pids() if pid != peer.process.pid]
    if name == "zygote":
        return next(pid for pid in pids if "runner.zygote" in command_line(pid))
    if name == "queue server":
        return next(pid for pid in pids if "valkey" in command_line(pid) or "redis-server" in command_line(pid))
    forked = [pid for pid in pids if "cli up" in command_line(pid)]
    direct = [pid for pid in forked if parent(pid) == peer.process.pid]
    # the supervisor forks them in this order
    return dict(zip(("api", "worker", "reconciler"), direct, strict=True))[name]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def nap(peer: BrokerPeer, seconds: float, mark: str) -> str:
    return peer.execute("nap", {"seconds": seconds, "mark": mark})


def successful(peer: BrokerPeer, job: str, mark: str) -> None:
    status = peer.ended(job)
    assert status["status"] == "successful", status
    results = peer.get(f"/jobs/{job}/results", params={"f": "cwl"}).json()
    assert peer.session.get(results["done"]["location"], timeout=10).text.strip() == mark


def test_a_clean_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    with broker_peer(tmp_path / "state") as peer:
        peer.deploy(SLEEP)
        job = nap(peer, 300, "never")
        peer.reaches(job, "running")
        before = peer.pids()
        assert len(before) >= 6
        assert peer.stop() == 0
        assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
        assert processes_with(str(tmp_path)) == {}
        assert not list((tmp_path / "state" / "run").glob("*.sock"))
        # what was stopped with the broker starts again with it
        peer.start()
        assert peer.status(job)["attempt"] == 2
        peer.reaches(job, "running")
        peer.delete(f"/jobs/{job}")
        assert peer.ended(job)["status"] == "dismissed"


def test_a_second_up_on_the_same_state_says_so(peer: BrokerPeer) -> None:
    environment = peer.environment | {"BROKER_API__PORT": "0"}
    second = subprocess.run(
        [sys.executable, "-m", "broker.cli", "up"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert second.returncode != 0
    assert "already up" in second.stderr
    assert str(peer.port) in second.stderr


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = os.environ | {
            "BROKER_STATE": str(tmp_path / "s"),
            "BROKER_API__PORT": str(taken.getsockname()[1]),
        }
        up = subprocess.run(
            [sys.executable, "-m", "broker.cli", "up"], env=environment, capture_output=True, text=True, timeout=30
        )
    assert up.returncode != 0
    assert "is not free" in up.stderr
    assert "--port" in up.stderr


def test_without_tokens_only_loopback_is_served(tmp_path: Path) -> None:
    environment = os.environ | {"BROKER_STATE": str(tmp_path / "s"), "BROKER_API__HOST": "0.0.0.0"}
    environment |= {"BROKER_API__PORT": "0"}
    up = subprocess.run(
        [sys.executable, "-m", "broker.cli", "up"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert up.returncode != 0
    assert "token create" in up.stderr


@pytest.mark.parametrize("victim", ["api", "worker", "reconciler", "zygote", "queue server"])
def test_a_killed_part_comes_back_and_no_job_is_lost(peer: BrokerPeer, victim: str) -> None:
    peer.deploy(SLEEP)
    running = nap(peer, 3, "before")
    peer.reaches(running, "running")
    os.kill(child(peer, victim), signal.SIGKILL)
    wait_for(lambda: peer._ready(), 20, lambda: "the API did not come back")
    after = nap(peer, 0, "after")
    successful(peer, running, "before")
    assert peer.status(running)["attempt"] == 1
    successful(peer, after, "after")


def test_jobs_survive_the_death_of_the_whole_broker(tmp_path: Path) -> None:
    with broker_peer(tmp_path / "state") as peer:
        peer.deploy(SLEEP)
        jobs = {nap(peer, 2, f"m{i}"): f"m{i}" for i in range(8)}
        wait_for(lambda: sum(peer.status(job)["phase"] == "running" for job in jobs) >= 2, 20, lambda: "nothing runs")
        peer.kill()
        peer.start()
        for job, mark in jobs.items():
            successful(peer, job, mark)
            assert peer.status(job)["attempt"] == 1


def test_a_keeper_that_is_killed_costs_an_attempt_and_no_job(peer: BrokerPeer) -> None:
    peer.deploy(SLEEP)
    job = nap(peer, 2, "x")
    peer.reaches(job, "running")
    keepers = {pid for pid in processes_with("runner.zygote") if _works_for(pid, job)}
    assert keepers
    for kill in (signal.SIGSTOP, signal.SIGKILL):  # a keeper that saw its engine go first would tell of that
        for pid in keepers:
            signal_if_there(pid, kill)
    successful(peer, job, "x")
    assert peer.status(job)["attempt"] == 2


def _works_for(pid: int, job: str) -> bool:
    """Whether a process holds a file in the job's directory open."""
    try:
        return any(job in str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_dismiss_really_kills_the_tool(peer: BrokerPeer) -> None:
    peer.deploy(SLEEP)
    job = nap(peer, 4321, "never")
    wait_for(lambda: bool(processes_with("sleep 4321")), 20, lambda: "the tool did not start")
    assert peer.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    assert peer.ended(job)["status"] == "dismissed"
    wait_for(lambda: not processes_with("sleep 4321"), 10, lambda: "the tool still runs")
    assert peer.delete(f"/jobs/{job}").status_code == 200


def test_the_whole_path_on_postgresql(postgres: PostgresPeer, tmp_path: Path) -> None:
    url = postgres.new_database(migrated=False)
    with broker_peer(tmp_path / "state", DATABASE_URL=url) as peer:
        peer.deploy(SLEEP)
        running = nap(peer, 2, "pg")
        peer.reaches(running, "running")
        peer.kill()
        peer.start()
        successful(peer, running, "pg")
    assert not (tmp_path / "state" / "broker.db").exists()
