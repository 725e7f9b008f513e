"""The loop that runs a process: one thread, as many tools at a time as there are free cores."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cwl_utils.types import CWLObjectType
from cwltool.command_line_tool import ExpressionJob
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.mutation import MutationManager
from cwltool.process import Process
from cwltool.update import ORIGINAL_CWLVERSION
from schema_salad.exceptions import ValidationException

from broker.jobs.model import Step
from broker.runner import failures
from broker.runner.run import Run
from broker.runner.slots import Slots
from broker.runner.steps import StepJob, ToolProcess
from broker.runner.workflow import leaves

REQUIREMENTS = "https://w3id.org/cwl/cwl#requirements"
_WAITING = 16  # jobs made but not started: small ones may pass a large one that does not fit yet


@dataclass(slots=True)
class _Running:
    job: StepJob
    process: ToolProcess
    slots: tuple[int, ...]
    deadline: float | None
    timed_out: bool = False


class Executor:
    """Runs the jobs that a process yields; `outputs` and `status` are set when it is done."""

    def __init__(self, run: Run, slots: Slots) -> None:
        self.run = run
        self.slots = slots
        self.outputs: CWLObjectType | None = None
        self.status = "permanentFail"
        self._running: dict[int, _Running] = {}
        self._waiting: list[tuple[StepJob, int]] = []  # and how many slots each takes
        self._poll = select.poll()

    def execute(self, process: Process, order: CWLObjectType, context: RuntimeContext) -> None:
        """Raises WorkflowException and ValidationException, as cwltool does."""
        process.visit(_refuse_abstract)
        context = context.copy()
        context.select_resources = self.select_resources
        context.mutation_manager = MutationManager()
        context.toplevel = True
        # One thread: the lock is only what cwltool's code expects to find.
        context.workflow_eval_lock = threading.Condition(threading.RLock())
        for requirement in _order_requirements(process, order):
            process.requirements.append(requirement)
        self.run.report.total = leaves(process)
        self.run.report.write_progress()
        try:
            for job in process.job(order, self._done, context):
                if job is None:
                    if not self._running and not self._waiting:
                        break  # a scatter that failed, or steps wait for others elsewhere: nothing more will come of it
                    self._end_one(context)
                elif isinstance(job, StepJob) and self._done_already(job, context):
                    continue
                elif isinstance(job, StepJob):
                    width = self.slots.width(job.builder.resources["cores"], job.builder.resources["ram"])
                    self._waiting.append((job, width))
                    self._start_waiting(context)
                    while len(self._waiting) >= _WAITING:
                        self._end_one(context)
                else:
                    self._at_once(job, context)
                if self.run.report.failure is not None:
                    self._waiting.clear()
            while self._running or self._waiting:
                self._end_one(context)
        finally:
            for running in self._running.values():
                running.job.kill(running.process)

    def _done_already(self, job: StepJob, context: RuntimeContext) -> bool:
        """Whether there is nothing to run here: another platform has the step, or an earlier job ran it."""
        if self.run.elsewhere is not None and self.run.elsewhere.take(job, context):
            return True
        return self.run.replays is not None and self.run.replays.replay(job, context)

    def select_resources(self, request: dict[str, int | float], _: RuntimeContext) -> dict[str, int | float]:
        """What a step gets: its maximum, bounded by what the machine gives to jobs."""
        bounds = {"cores": self.slots.cores, "ram": self.slots.ram_mib}
        given: dict[str, int | float] = {}
        for kind, bound in bounds.items():
            if request[f"{kind}Min"] > bound:
                raise WorkflowException(
                    f"Requested at least {request[f'{kind}Min']:g} {kind} but only {bound} available"
                )
            given[kind] = -int(-min(request[f"{kind}Max"], bound) // 1)
        given["tmpdirSize"] = -int(-request["tmpdirMin"] // 1)
        given["outdirSize"] = -int(-request["outdirMin"] // 1)
        return given

    def _done(self, outputs: CWLObjectType | None, status: str) -> None:
        if self.outputs is None:
            self.outputs, self.status = outputs, status

    def _at_once(self, job: Any, context: RuntimeContext) -> None:
        report = self.run.report
        before, started = report.failure, time.time()
        job.run(context)
        if isinstance(job, ExpressionJob):
            name = getattr(job, "name", "expression")
            failed = report.failure is not before
            if failed and report.failure is not None:
                report.failure = replace(report.failure, step=name)
            status = "failed" if failed else "successful"
            report.step(Step(name, status, started=started, finished=time.time()))
            report.count(done=1)

    def _start_waiting(self, context: RuntimeContext) -> None:
        full: int | None = None
        for waiting in list(self._waiting):
            job, width = waiting
            if full is not None and width >= full:
                if full == 1:
                    break
                continue
            slots = self.slots.take(width)
            if slots is None and self._running:
                full = width
                continue
            self._waiting.remove(waiting)
            self._start(job, slots or (), context)

    def _start(self, job: StepJob, slots: tuple[int, ...], context: RuntimeContext) -> None:
        try:
            process = job.start(context)
        except (WorkflowException, ValidationException, OSError) as error:
            self.slots.give_back(slots)
            self.run.report.fail(failures.of_exception(error, self.run.job.package, step=job.name))
            self.run.log.error("[job %s] %s", job.name, error)
            if job.output_callback:
                job.output_callback({}, "permanentFail")
            return
        descriptor = os.pidfd_open(process.pid)
        limit = job.timelimit
        deadline = time.monotonic() + limit if limit else None
        self._running[descriptor] = _Running(job, process, slots, deadline)
        self._poll.register(descriptor, select.POLLIN)

    def _end_one(self, context: RuntimeContext) -> None:
        """Wait until at least one tool has ended, gather it, and start what fits now."""
        if self._running:
            for descriptor in self._ended():
                self._finish(descriptor)
        self._start_waiting(context)

    def _ended(self) -> Iterator[int]:
        while True:
            deadlines = [one.deadline for one in self._running.values() if one.deadline and not one.timed_out]
            wait = max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None
            events = self._poll.poll(wait)
            if events:
                yield from (descriptor for descriptor, _ in events)
                return
            now = time.monotonic()
            for running in self._running.values():
                if running.deadline and running.deadline <= now and not running.timed_out:
                    running.timed_out = True
                    running.job.kill(running.process)

    def _finish(self, descriptor: int) -> None:
        running = self._running.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self.slots.give_back(running.slots)
        running.job.finish(running.process, timed_out=running.timed_out)


def _refuse_abstract(tool: Any) -> None:
    if tool["class"] == "Operation":
        raise WorkflowException("The workflow has an abstract Operation, which cannot be run.")


def _order_requirements(process: Process, order: CWLObjectType) -> list[Any]:
    """Requirements given with the inputs (`cwl:requirements`), or by the package's own defaults."""
    found = order.get(REQUIREMENTS)
    if found is None:
        defaults: Any = process.metadata.get("cwl:defaults") or {}
        found = defaults.get(REQUIREMENTS)
    if found is None:
        return []
    if process.metadata.get(ORIGINAL_CWLVERSION) == "v1.0":
        raise WorkflowException("`cwl:requirements` in the inputs is not part of CWL v1.0.")
    return list(found)  # type: ignore[arg-type]
