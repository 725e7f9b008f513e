"""The keeper of one job: stages inputs, starts the engine, enforces the limits, and writes the verdict.

It never parses the package: what the engine left is read as plain JSON and plain files. Its life is the lock on the
job's directory; where it is killed, everything it started dies with it and the job is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.errors import BrokerError
from broker.jobs.model import Failure, Fault, Limits, Reason
from broker.runner import disk, engine, expressions, kernel, pull, stacids, verdict
from broker.runner.beneath import remove_tree
from broker.runner.cgroups import Bounds, Group
from broker.runner.crowd import Breach, Crowd
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir, read_json, write_json
from broker.runner.remains import end_containers
from broker.runner.report import tail
from broker.runner.stage import stage_job
from broker.runner.waiting import EngineInWaiting

MAX_REPORT = 64 * 2**20


class _Cancelled(Exception):
    """The job is to end."""


class _TimedOut(Exception):
    """The job's time is up."""


@dataclass(slots=True)
class _Ended:
    """How a supervised child ended: exit code, negative for a signal."""

    code: int


def in_waiting(group: Group | None) -> EngineInWaiting:
    """The engine of the job that this keeper will get, in the control group that was made for the job."""
    return EngineInWaiting(_become, group)


def keep(
    job: JobDir,
    answer: Callable[[dict[str, Any]], None],
    notify: Callable[[], None],
    waiting: EngineInWaiting | None = None,
    group: Group | None = None,
) -> int:
    """Run the job of a directory to its end; the exit status of the keeper process.

    `answer` is called once, as soon as it is certain who keeps the job. `notify` after the verdict is written.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(job.path)
    held = job.hold()
    if held is None or job.started.exists():
        # Another keeper has it, or had it: a job is started once, and lost where its keeper was killed.
        answer({"ok": True, "adopted": True})
        return 0
    with contextlib.suppress(FileExistsError):
        os.mkfifo(job.control, 0o600)
    control = os.open(job.control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    started = time.time()
    write_json(job.started, {"pid": os.getpid(), "started": started})
    answer({"ok": True, "adopted": False})
    kernel.adopt_orphans()
    _Keeper(job, control, held, started, waiting, group).run()
    notify()
    for directory in (job.work, job.package):
        remove_tree(directory)
    return 0


class _Keeper:
    def __init__(
        self,
        job: JobDir,
        control: int,
        lock: int,
        started: float,
        waiting: EngineInWaiting | None,
        group: Group | None,
    ) -> None:
        self.waiting = waiting
        self.group = group
        self.job = job
        self.control = control
        self.lock = lock
        self.started = started
        self.deadline: float | None = None
        self.isolation = Isolation()
        self.needs: list[Any] = []  # what other platforms are to run, as the engine reports it
        self.facts: dict[str, Any] = {"node": os.uname().nodename}

    def run(self) -> None:
        failure: Failure | None = None
        state = "failed"
        try:
            failure = self._work()
            state = "failed" if failure else "needs" if self.needs else "succeeded"
        except _Cancelled:
            state = "cancelled"
        except _TimedOut:
            failure = Failure(Fault.LIMIT, Reason.TIME_LIMIT, f"The job ran longer than its limit of {self.limit:g} s.")
        except Breach as error:
            failure = Failure(Fault.LIMIT, error.reason, str(error))
        except BrokerError as error:
            failure = Failure(Fault(error.fault), _reason(error), str(error))
        except OSError as error:
            reason = Reason.STORAGE if error.errno in (errno.ENOSPC, errno.EDQUOT) else Reason.BROKER_ERROR
            failure = Failure(Fault.BROKER, reason, f"The platform failed: {error}")
        kernel.end_children()
        self._forget()
        self._end_containers()
        if self.group is not None:
            self.group.remove()
        verdict.write(self.job, state, self.started, failure, self.facts, self.needs)

    limit = 0.0

    def _work(self) -> Failure | None:
        spec = read_json(self.job.spec)
        if spec is None:
            return Failure(Fault.BROKER, Reason.BROKER_ERROR, "The job's specification is gone.")
        limits = Limits.from_json(spec["limits"])
        self.limit = limits.time
        self.deadline = time.monotonic() + limits.time
        self.isolation = Isolation.from_json(spec["settings"]["isolation"])
        if self.job.cancel.exists():
            raise _Cancelled
        self.job.logs.mkdir(exist_ok=True)
        self.job.inputs.mkdir(exist_ok=True)
        if self.job.stage.exists():
            failed = self._stage()
            if failed:
                return failed
        images = self._images(spec)
        self._forget()
        bounds = Bounds.from_json(spec["settings"]["bounds"])
        self._bound(bounds)
        watches = self._watches(limits, bounds)
        ended = self._wait_for(self._engine(images, network=spec["settings"]["network"]), watches)
        if self.job.report.exists() and self.job.report.stat().st_size > MAX_REPORT:
            message = f"The output values take more than {MAX_REPORT // 2**20} MiB: give them as files."
            return Failure(Fault.LIMIT, Reason.OUTPUT_TOO_LARGE, message)
        report = read_json(self.job.report)
        if report is None:
            return self._no_report(ended)
        self.facts = dict(report.get("facts") or {}) | self.facts
        if report["failure"]:
            met = self.group.met() if self.group is not None else None
            return verdict.bounded(Failure.from_json(report["failure"]), met)
        self.needs = report["needs"]
        failure = verdict.collect(self.job, report["outputs"], limits)
        if failure is None and not self.needs and (items := stacids.of_outputs(report["outputs"], self.job.outputs)):
            self.facts["stacIds"] = items
        return failure

    def _watches(self, limits: Limits, bounds: Bounds) -> list[disk.Watch | Crowd]:
        """What is looked at while tools run, since the kernel does not keep it."""
        room = disk.Room(limits.disk_bytes, limits.disk_files).on(self.job.path)
        found: list[disk.Watch | Crowd] = [disk.Watch((self.job.work, self.job.logs), self.job.inputs, room)]
        if self.group is None and os.geteuid() == 0:
            found.append(Crowd(bounds.processes))
        return found

    def _bound(self, bounds: Bounds) -> None:
        """Where there is no group, or it takes no limits, the engine bounds each process by itself."""
        if self.group is not None:
            try:
                self.group.bound(bounds)
            except OSError:
                self.group.remove()
                self.group = None

    def _stage(self) -> Failure | None:
        """Fetch the inputs in a child that never sees the package; what it was told is gone when that is opened."""
        outcome = self.job.path / "staged.json"
        self._supervise(lambda: stage_job(self.job, outcome), log="stage")
        said = read_json(outcome)
        if said is None:
            message = "Fetching the inputs ended unexpectedly."
            return Failure(Fault.BROKER, Reason.BROKER_ERROR, message, log_tail=tail(self.job.logs / "stage.log"))
        self.facts["received"] = said.get("received") or []
        return Failure.from_json(said["failure"]) if said.get("failure") else None

    def _images(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """`found`: the images that the package names and that are here now, with their digests, for missing ones are
        pulled; `runs`: what to start for each; `missing`: the others, with what the container engine said."""
        nothing: Mapping[str, Any] = {"found": {}, "runs": {}, "missing": {}}
        if not spec["images"] or not self.isolation.engine:
            return nothing
        outcome = self.job.path / "images.json"
        self._supervise(lambda: pull.main(self.job, spec, outcome), log="stage")
        return read_json(outcome) or nothing

    def _forget(self) -> None:
        """What was released for staging and pulling is gone before anything of the package starts."""
        self.job.stage.unlink(missing_ok=True)
        self.job.pull.unlink(missing_ok=True)
        remove_tree(self.job.auth)

    def _engine(self, images: Mapping[str, Any], *, network: bool) -> int:
        """Start the engine; its pid. The one in waiting takes the job where there is one."""
        told = {"job": str(self.job.path), "images": dict(images)}
        if self.waiting is not None and not network and self.waiting.tell(told):
            return self.waiting.pid

        def run() -> int:
            return _run(told | {"grouped": self.group is not None and self.group.entered()})

        return self._begin(run, "engine")

    def _no_report(self, ended: _Ended) -> Failure:
        lines = tail(self.job.logs / "engine.log")
        if ended.code == -expressions.ENDED_BY:
            message = f"A JavaScript expression of the package ran for more than {expressions.SECONDS:g} s."
            return Failure(Fault.PACKAGE, Reason.EXPRESSION, message)
        if ended.code == -signal.SIGKILL:
            message = "The engine of this job was killed, most likely because memory ran out."
            return Failure(Fault.LIMIT, Reason.OUT_OF_MEMORY, message, log_tail=lines)
        return Failure(Fault.BROKER, Reason.BROKER_ERROR, f"The engine ended with {ended.code}.", log_tail=lines)

    def _supervise(self, child: Callable[[], int], log: str) -> _Ended:
        """Run `child` until it ends. Raises _Cancelled, _TimedOut."""
        return self._wait_for(self._begin(child, log))

    def _begin(self, child: Callable[[], int], log: str) -> int:
        """Start `child` in a process group of its own; its pid."""
        keeper = os.getpid()

        def begin() -> int:
            kernel.die_with_parent(keeper)
            os.setpgid(0, 0)
            os.close(self.lock)
            os.close(self.control)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            _log_to(self.job, log)
            return child()

        return kernel.fork(begin)

    def _wait_for(self, pid: int, watches: Sequence[disk.Watch | Crowd] = ()) -> _Ended:
        pidfd = os.pidfd_open(pid)
        try:
            self._wait(pidfd, watches)
        finally:
            kernel.kill_group(pid)
            os.close(pidfd)
            _, status = os.waitpid(pid, 0)
        return _Ended(os.waitstatus_to_exitcode(status))

    def _wait(self, pidfd: int, watches: Sequence[disk.Watch | Crowd]) -> None:
        """Raises _Cancelled, _TimedOut, Breach."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        while True:
            if self.job.cancel.exists():
                raise _Cancelled
            # A day at most: poll takes a C int of milliseconds.
            left = 86400.0 if self.deadline is None else min(86400.0, self.deadline - time.monotonic())
            if left <= 0:
                raise _TimedOut
            for watch in watches:
                if watch.wait() == 0:
                    watch.look()
                left = min(left, watch.wait())
            for descriptor, _ in poll.poll(left * 1000 + 1):
                if descriptor == pidfd:
                    return
                with contextlib.suppress(BlockingIOError):
                    os.read(self.control, 64)

    def _end_containers(self) -> None:
        end_containers(self.job, self.isolation)


def _reason(error: BrokerError) -> Reason:
    with contextlib.suppress(ValueError):
        return Reason(error.reason)
    return Reason.INPUT_UNREACHABLE if error.fault == "staging" else Reason.BROKER_ERROR


def _become(told: Mapping[str, Any]) -> int:
    """What an engine in waiting does once it has a job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = JobDir(Path(told["job"]))
    os.chdir(job.path)
    _log_to(job, "engine")
    return _run(told)


def _log_to(job: JobDir, name: str) -> None:
    descriptor = os.open(job.logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115


def _run(told: Mapping[str, Any]) -> int:
    """The engine's process: everything from here on may be the package's doing."""
    job = JobDir(Path(told["job"]))
    spec = read_json(job.spec)
    if spec is None:
        return 1
    settings = spec["settings"]
    isolation = Isolation.from_json(settings["isolation"])
    # Where memory runs out, it is the job that goes, not the broker.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    os.umask(0o022)  # what tools expect; the job directory itself is closed to others
    os.nice(settings["nice"])
    rootless = isolation.engine is not None and os.geteuid() != 0
    # A rootless container engine cannot make its user namespace from within ours.
    offline = bool(told.get("offline"))
    if not offline and not settings["network"]:
        offline = kernel.leave_network(as_user=not rootless)
    bounds = Bounds.from_json(settings["bounds"])
    if told["grouped"]:
        kernel.limit()
    else:
        kernel.limit(data=bounds.memory, processes=bounds.processes)
    if isolation.tools == "bubblewrap":
        kernel.adopt_orphans()  # to measure what is inside
    engine.run(job, spec, told["images"], offline=offline)
    return 0
