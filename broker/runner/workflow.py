"""cwltool's workflows with steps in their order and named by their path, and scatters counted and walked once."""

from __future__ import annotations

from typing import Any

from cwl_utils.types import CWLObjectType
from cwltool import workflow_job
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger
from cwltool.process import Process, shortname
from cwltool.utils import JobsGeneratorType
from cwltool.workflow import Workflow
from cwltool.workflow_job import ReceiveScatterOutput

from broker.jobs.model import Failure, Fault, Reason, Step
from broker.runner.run import Run

# cwltool's own: what takes their place is made anew for each run, and a process may have a rehearsal before its run
_MAKE_JOBS = workflow_job.WorkflowJobStep.job
_RECEIVE = workflow_job.WorkflowJob.receive_output
_DOTPRODUCT = workflow_job.dotproduct_scatter
_SCATTERS = {
    "dotproduct_scatter": _DOTPRODUCT,
    "flat_crossproduct_scatter": workflow_job.flat_crossproduct_scatter,
    "nested_crossproduct_scatter": workflow_job.nested_crossproduct_scatter,
}


def leaves(process: Process) -> int:
    """How many steps a process has, its sub-workflows' steps included and each scatter counted once."""
    if isinstance(process, Workflow):
        return sum(leaves(step.embedded_tool) for step in process.steps)
    return 1


def in_order(workflow: Workflow) -> Workflow:
    """The workflow with its steps as the document has them: schema-salad sorts them, cwltool shuffles them."""
    lines = {step["id"]: (step.lc.line or 0, place) for place, step in enumerate(workflow.tool["steps"])}
    workflow.steps.sort(key=lambda step: lines.get(step.id, (0, 0)))
    return workflow


def prepare(run: Run) -> None:
    """Have cwltool's workflows of this process behave as this module says."""
    workflow_job.parallel_steps = parallel_steps
    _name_steps()
    _count_scatters(run)


def _name_steps() -> None:
    """A step of a sub-workflow is named `outer/inner`, as `Inspection.steps` names it."""

    def job(self: Any, order: CWLObjectType, callback: Any, context: RuntimeContext) -> JobsGeneratorType:
        own = context.copy()
        name = shortname(self.id)
        path = f"{context.name}/{name}" if context.name else name
        own.workflow_job_step_name_callback = lambda step, inputs: path
        yield from _MAKE_JOBS(self, order, callback, own)

    workflow_job.WorkflowJobStep.job = job  # type: ignore[method-assign, assignment]


def _count_scatters(run: Run) -> None:
    """Have cwltool tell the run how wide each scatter is when it is reached, and which steps are skipped."""
    depth = 0

    def counted(scatter: Any) -> Any:
        def wrapped(step: Any, order: Any, keys: Any, callback: Any, context: RuntimeContext) -> Any:
            nonlocal depth
            if depth:  # a nested cross product calls itself
                return scatter(step, order, keys, callback, context)
            inner = leaves(step.step.embedded_tool)
            runs = width(scatter, order, keys)
            _refuse_wider(run, step, runs)
            run.report.count(more=(runs - 1) * inner)
            evaluate = context.postScatterEval

            def noted(one: CWLObjectType) -> CWLObjectType | None:
                result = evaluate(one) if evaluate is not None else one
                if result is None:
                    run.report.count(done=inner)
                return result

            context.postScatterEval = noted
            depth += 1
            try:
                return scatter(step, order, keys, callback, context)
            finally:
                depth -= 1

        return wrapped

    def width(scatter: Any, order: Any, keys: Any) -> int:
        lengths = [len(order[key]) for key in keys]
        if scatter is _DOTPRODUCT:
            return lengths[0]
        product = 1
        for length in lengths:
            product *= length
        return product

    for name, scatter in _SCATTERS.items():
        setattr(workflow_job, name, counted(scatter))

    def receive_output(self: Any, step: Any, ports: Any, final: Any, outputs: Any, status: str) -> None:
        if status == "skipped" and "scatter" not in step.tool:
            run.report.count(done=leaves(step.step.embedded_tool))
            run.report.step(Step(step.name.removeprefix("step "), "skipped"))
        _RECEIVE(self, step, ports, final, outputs, status)

    workflow_job.WorkflowJob.receive_output = receive_output  # type: ignore[method-assign, assignment]


def _refuse_wider(run: Run, step: Any, runs: int) -> None:
    """Raise WorkflowException where a step would run more often than the job may."""
    if run.scatter_width is None or runs <= run.scatter_width:
        return
    name = step.name.removeprefix("step ")
    message = f"Step '{name}' is scattered over {runs} items; this job's quota allows {run.scatter_width}."
    run.report.fail(Failure(Fault.LIMIT, Reason.SCATTER_TOO_WIDE, message, name))
    raise WorkflowException(message)


def parallel_steps(
    steps: list[JobsGeneratorType | None], rc: ReceiveScatterOutput, runtimeContext: RuntimeContext
) -> JobsGeneratorType:
    """As cwltool's (whose place it takes), but the steps that are done at the front are not looked at again."""
    first = 0
    while rc.completed < rc.total:
        made_progress = False
        while first < len(steps) and steps[first] is None:
            first += 1
        for index in range(first, len(steps)):
            if rc.processStatus not in ("success", "skipped"):
                break
            step = steps[index]
            if step is None:
                continue
            try:
                for job in step:
                    if rc.processStatus not in ("success", "skipped"):
                        break
                    if job is None:
                        break
                    made_progress = True
                    yield job
                if made_progress:
                    break
            except WorkflowException as error:
                _logger.error("Cannot make scatter job: %s", str(error))
                rc.receive_scatter_output(index, {}, "permanentFail")
        if not made_progress and rc.completed < rc.total:
            yield None
