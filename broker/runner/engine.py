"""Runs one package with cwltool as a library: the process of a job that sees the package."""

from __future__ import annotations

import copy
import itertools
import logging
import os
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cwltool.builder
import cwltool.command_line_tool
import cwltool.docker
import cwltool.loghandler
import cwltool.process
import cwltool.utils
import cwltool.workflow_job
from cwl_utils.file_formats import check_format
from cwl_utils.types import CWLObjectType
from cwltool.builder import Builder
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import UnsupportedRequirement, WorkflowException
from cwltool.process import Process
from cwltool.workflow import Workflow, default_make_tool
from schema_salad.exceptions import ValidationException
from schema_salad.ref_resolver import file_uri

from broker.errors import BrokerError
from broker.jobs.model import Failure, Fault, Limits, Reason
from broker.packages.bundle import Bundle
from broker.runner import executor, expressions, facts, failures, loading, outputs, visits, workflow
from broker.runner.cgroups import Bounds
from broker.runner.confinement import confine
from broker.runner.contents import Contents
from broker.runner.elsewhere import Elsewhere
from broker.runner.isolation import Isolation, Software
from broker.runner.jobdir import JobDir
from broker.runner.replays import Replays
from broker.runner.report import Report
from broker.runner.run import Run
from broker.runner.slots import Slots
from broker.runner.tools import Script, Tool

CWLTOOL = version("cwltool")  # asked once, before the fork: it reads a file


class Context(RuntimeContext):
    """cwltool's context with the run, and with directories that are numbered, not drawn and probed."""

    def __init__(self, run: Run, values: dict[str, Any]) -> None:
        self.run = run
        self._numbers = itertools.count(1)
        self.spare: list[str] = []  # empty directories that a step left as it got them
        super().__init__(values)

    def create_outdir(self) -> str:
        return self._make("out")

    def create_tmpdir(self) -> str:
        return self.spare.pop() if self.spare else self._make("tmp")

    def get_stagedir(self) -> str:
        return self.stagedir or self._make("in")

    def _make(self, kind: str) -> str:
        path = f"{self.tmpdir_prefix}{kind}{next(self._numbers)}"
        os.mkdir(path)  # noqa: PTH102  three a step: a Path for each would be a tenth of what a step costs us
        return path


def make_tool(document: Any, context: LoadingContext) -> Process:
    """cwltool's objects, with ours where a process is executed."""
    kind = document.get("class") if hasattr(document, "get") else None
    if kind == "CommandLineTool":
        return Tool(document, context)
    if kind == "ExpressionTool":
        return Script(document, context)
    if kind == "Workflow":
        return workflow.in_order(Workflow(document, context))
    if kind == "ProcessGenerator":
        raise UnsupportedRequirement("A ProcessGenerator is not supported.")
    return default_make_tool(document, context)


def run(
    job: JobDir,
    spec: Mapping[str, Any],
    images: Mapping[str, Mapping[str, str]],
    *,
    offline: bool = False,
) -> None:
    """Load and run the package of `spec`; leaves `report.json` and `outputs/`. Raises nothing of the package's.

    `spec`: what the adapter wrote (bundle, jobOrder, settings). `images`: of those that are here the digests (`found`)
    and what the container engine starts (`runs`); of those that could not be fetched, what it said (`missing`).
    `offline`: this process is in a network namespace with nothing in it.
    """
    report = Report(job)
    log = _logging(report, job)
    settings = spec["settings"]
    one = Run(
        job,
        report,
        Isolation.from_json(settings["isolation"]),
        Software(tuple(settings["software"]["directories"]), tuple(settings["software"]["path"])),
        network=settings["network"],
        inplace=settings["inplace"],
        bounds=Bounds.from_json(settings["bounds"]),
        offline=offline,
        images=images["found"],
        runs=images["runs"],
        missing=images["missing"],
        image_files=Path(settings.get("images", job.path)),
        scatter_width=Limits.from_json(spec["limits"]).scatter_width,
        most_files=Limits.from_json(spec["limits"]).output_files,
        log=log,
    )
    os.environ["PATH"] = one.software.search_path
    result: Any = None
    try:
        result = _execute(one, spec)
    except BrokerError as error:
        report.fail(failures.of_exception(error, job.package))
    except (UnsupportedRequirement, WorkflowException, ValidationException, OSError) as error:
        report.fail(failures.of_exception(error, job.package))
    except outputs.TooMany as error:
        report.fail(Failure(Fault.LIMIT, Reason.OUTPUT_TOO_LARGE, str(error)))
    except Exception as error:  # the boundary of a run: cwltool met something neither of us foresaw
        log.exception("The engine failed")
        report.fail(failures.of_unforeseen(error))
    if report.failure:
        log.error("%s", report.failure.message)
    report.end(result, _facts(one))


def _execute(one: Run, spec: Mapping[str, Any]) -> Any:
    job, settings = one.job, spec["settings"]
    expressions.install()
    for module in (cwltool.command_line_tool, cwltool.workflow_job):
        module.uniquename = one.report.unique  # type: ignore[attr-defined]
    cwltool.docker.docker_vm_id = lambda: (None, None)  # type: ignore[attr-defined]
    Builder.tostr = _tostr  # type: ignore[method-assign]
    visits.install((cwltool.utils, cwltool.process, cwltool.builder, cwltool.command_line_tool))
    setattr(cwltool.builder, "copy", _BindingCopy)  # noqa: B010  not exported, for mypy
    bundle = Bundle.from_json(spec["bundle"])
    lenient = any("$schemas" in text for text in bundle.documents.values())
    setattr(cwltool.builder, "check_format", partial(_check_format, lenient))  # noqa: B010  not exported, for mypy
    loading.unpack(bundle, job.package)
    os.chdir(job.package)  # cwltool names files relative to the working directory
    loading_context = LoadingContext({"construct_tool_object": make_tool, "relax_path_checks": True})
    process = loading.load(bundle, job.package, loading_context=loading_context)
    files, paths = confine(job.inputs, job.work, job.package)
    job.work.mkdir(exist_ok=True)
    context = Context(
        one,
        {
            "basedir": str(job.path),
            "tmpdir_prefix": f"{job.work}/",
            "tmp_outdir_prefix": f"{job.work}/",
            "make_fs_access": files,
            "path_mapper": paths,
            "compute_checksum": False,
            "pull_image": False,
            "eval_timeout": expressions.SECONDS,
        },
    )
    # not where tools could write to what is kept
    if (told := settings.get("replays")) and not one.inplace and one.isolation.tools != "process":
        around = {"cwltool": CWLTOOL, "isolation": settings["isolation"]["tools"]}
        around["software"] = settings["software"]["path"]
        one.replays = Replays(one, files, Path(told), spec["jobId"], around)
    prefixes = process.metadata.get("$namespaces")
    if settings["elsewhere"]:
        brought = {key: _order(found, job, prefixes) for key, found in spec["brought"].items()}
        one.elsewhere = Elsewhere(one, Contents(job, files, one.most_files), brought)
    slots = Slots(Path(settings["slots"]), settings["cores"], settings["ramMiB"])
    workflow.prepare(one)
    loop = executor.Executor(one, slots)
    loop.execute(process, _order(spec["jobOrder"], job, prefixes), context)
    most = 2 * one.most_files + 100
    if one.report.failure is None and one.elsewhere is not None and one.elsewhere.needs:
        one.report.needs = tuple(one.elsewhere.needs.values())
        return outputs.gather(one.elsewhere.orders, job.outputs, files, most)
    if one.report.failure is None and (loop.status != "success" or loop.outputs is None):
        one.report.fail(Failure(Fault.PACKAGE, Reason.TOOL_FAILED, f"The package ended with {loop.status}."))
    if one.report.failure is not None:
        return None
    return outputs.gather(loop.outputs, job.outputs, files, most, one.sources)


class _BindingCopy:
    """`copy` as cwltool's builder uses it: of a binding all but its datum is copied.

    For each item of an array cwltool copies the array's binding, with the whole array in it, to put the item there.
    """

    copy = staticmethod(copy.copy)

    @staticmethod
    def deepcopy(value: Any) -> Any:
        datum = value.get("datum") if isinstance(value, Mapping) else None
        return copy.deepcopy(value, {} if datum is None else {id(datum): datum})


_cwltool_tostr = Builder.tostr


def _tostr(self: Builder, value: Any) -> str:
    """cwltool's, but decimals for plain floats as it has them for those of its own YAML reader (CWL forbids 1e-05)."""
    if type(value) is float:
        return format(Decimal(repr(value)), "f")
    return _cwltool_tostr(self, value)


def _check_format(lenient: bool, actual: Any, wanted: Any, ontology: Any = None) -> None:
    """In place of cwl_utils' one, whose errors cwltool cannot tell for items of an array.

    `lenient`: for a package with `$schemas`; those are not fetched, so which format is a kind of which cannot be known.
    """
    try:
        check_format(actual, wanted, ontology)
    except ValidationException as error:
        if not lenient:
            named = [actual] if isinstance(actual, Mapping) else actual
            formats = ", ".join(f"{one.get('basename')!r} has {one.get('format') or 'none'}" for one in named)
            raise WorkflowException(failures.OTHER_FORMAT.format(wanted, formats)) from error
        cwltool.loghandler._logger.warning("A file format was not checked against $schemas: %s", error)


def _order(order: Mapping[str, Any], job: JobDir, namespaces: Any) -> CWLObjectType:
    """The job order with locations made absolute, and formats by the prefixes that the package declares."""
    prefixes: dict[str, str] = dict(namespaces or {})

    def absolute(value: Any) -> Any:
        if isinstance(value, Mapping):
            found = {key: absolute(one) for key, one in value.items()}
            if found.get("class") in ("File", "Directory"):
                for key in ("location", "path"):
                    place = found.get(key)
                    if isinstance(place, str) and place.startswith("inputs/"):
                        found.pop("path", None)
                        found["location"] = file_uri(str(job.path / place))
                prefix, colon, rest = str(found.get("format", "")).partition(":")
                if colon and prefix in prefixes:
                    found["format"] = prefixes[prefix] + rest
            return found
        if isinstance(value, list | tuple):
            return [absolute(one) for one in value]
        return value

    made: CWLObjectType = absolute(order)
    return made


def _logging(report: Report, job: JobDir) -> logging.Logger:
    """Everything that cwltool says goes to the engine's log (our stderr), its swallowed errors to the report."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.Formatter.converter = time.gmtime
    log = cwltool.loghandler._logger
    log.handlers = [stream, failures.SwallowedErrors(report, job.package)]
    log.setLevel(logging.INFO)
    log.propagate = False
    for name in ("salad", "cwl_utils"):
        other = logging.getLogger(name)
        other.handlers, other.propagate = [stream], False
    return log


def _facts(one: Run) -> dict[str, Any]:
    return {
        "engine": {"name": "cwltool", "version": CWLTOOL},
        "isolation": one.isolation.tools,
        "containerEngine": one.isolation.engine,
        "images": dict(one.images),
        "steps": one.report.done,
        "sources": facts.below(one.sources, one.job.path),
    }
