"""The lock that says who is alive, records that are whole, and cores that jobs share."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from broker.jobs.model import Step
from broker.runner import kernel
from broker.runner.jobdir import JobDir, read_json, write_json
from broker.runner.report import Report, read_progress, read_steps, stream_name, tail
from broker.runner.slots import Slots


def holder(job: JobDir) -> int:
    """A process that holds the job's lock until it is killed; it has the lock when this returns."""
    ready, told = os.pipe()

    def hold() -> int:
        assert job.hold() is not None
        os.write(told, b"x")
        signal.pause()
        return 0

    pid = kernel.fork(hold)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    os.close(told)
    return pid


def test_the_lock_is_the_life_of_its_holder(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    assert not job.alive()
    pid = holder(job)
    assert job.alive()
    assert job.alive()  # looking does not disturb
    assert job.hold() is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not job.alive()
    descriptor = job.hold()
    assert descriptor is not None
    os.close(descriptor)


def test_waiting_for_a_keeper_is_bounded(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    assert job.wait(0.1)
    pid = holder(job)
    write_json(job.started, {"pid": pid, "started": 1.0})
    assert not job.wait(0.05)
    os.kill(pid, signal.SIGKILL)
    assert job.wait(5)
    os.waitpid(pid, 0)


def test_cancel_without_a_keeper_leaves_the_wish(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    job.ask_to_end()
    job.ask_to_end()
    assert job.cancel.exists()
    job.control.write_text("not a fifo")
    job.ask_to_end()
    assert job.control.read_text() == "not a fifo"


def test_records_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_steps_in_the_order_of_their_start(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    report = Report(job)
    report.step(Step("a", "running"))
    report.step(Step("b", "running"))
    report.step(Step("a", "successful", exit_code=0))
    with job.steps.open("ab") as stream:
        stream.write(b'{"name": "half')
    assert [(step.name, step.status) for step in read_steps(job)] == [("a", "successful"), ("b", "running")]
    report.total = 2
    report.count(done=1)
    report.write_progress()
    progress = read_progress(job)
    assert progress is not None
    assert progress.percent == 50


def test_names_are_unique_without_probing(tmp_path: Path) -> None:
    report = Report(JobDir(tmp_path))
    assert [report.unique("s") for _ in range(3)] == ["s", "s_2", "s_3"]


def test_names_of_logs_are_names_of_files() -> None:
    assert stream_name("../../etc/passwd") == "_.._etc_passwd"
    assert stream_name("...") == "step"
    assert "/" not in stream_name("a/b\0c")
    assert len(stream_name("x" * 500)) <= 120


def test_tail_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(path).splitlines() == [f"line {n}" for n in range(99_980, 100_000)]
    assert tail(tmp_path / "none") == ""


def test_slots_are_shared_and_come_back(tmp_path: Path) -> None:
    ours, theirs = Slots(tmp_path, 3, 3000), Slots(tmp_path, 3, 3000)
    first = ours.take(2)
    assert first is not None
    assert theirs.take(2) is None
    assert theirs.take(1) is not None
    assert ours.take(1) is None
    ours.give_back(first)
    assert theirs.take(2) is not None


def test_memory_takes_slots_too(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 4, 8000)
    assert slots.width(1, 100) == 1
    assert slots.width(1, 4001) == 3
    assert slots.width(0.5, 0) == 1
    assert slots.width(64, 0) == 4


def test_plain_processes_of_a_directory_end(tmp_path: Path) -> None:
    def wait() -> int:
        os.chdir(tmp_path)
        os.write(told, b"x")
        signal.pause()
        return 0

    ready, told = os.pipe()
    pid = kernel.fork(wait)
    assert os.read(ready, 1) == b"x"
    kernel.end_processes_of(tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    os.close(ready)
    os.close(told)


def test_json_of_a_step_is_one_line(tmp_path: Path) -> None:
    job = JobDir(tmp_path)
    Report(job).step(Step("a\nb", "running", command=("x\ny",)))
    assert len(job.steps.read_text().splitlines()) == 1
    assert json.loads(job.steps.read_text())["name"] == "a\nb"
