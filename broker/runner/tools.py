"""The ways in which a tool becomes a process: in bubblewrap, in a container, or plain."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path

from cwl_utils.types import CWLObjectType
from cwltool.command_line_tool import CallbackJob, CommandLineTool, ExpressionJob, ExpressionTool
from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.errors import UnsupportedRequirement
from cwltool.job import CommandLineJob, JobBase, relink_initialworkdir
from cwltool.pathmapper import MapperEnt
from cwltool.process import shortname, stage_files
from cwltool.utils import OutputCallbackType

from broker.errors import PackageError
from broker.packages.images import Reference
from broker.runner import apptainer, elsewhere, engines, facts, isolation, seccomp
from broker.runner.outputs import put
from broker.runner.probe import engine_environment
from broker.runner.steps import StepJob, ToolProcess, encoded, run_of

_PLACE = re.compile(r"/[\w./ -]{0,500}", re.ASCII)  # nothing that means something to an option's value
MANY = 64  # input files from which on they are linked into one directory instead of mounted one by one


def _clean_environment(job: StepJob) -> dict[str, str]:
    """All that a tool finds in its environment, besides what the package asks for."""
    return {
        "HOME": job.builder.outdir,
        "TMPDIR": job.builder.tmpdir,
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
    }


class ProcessJob(StepJob, CommandLineJob):
    """A plain process: only where the operator set `isolation = "process"`."""

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        stage_files(self.pathmapper, ignore_writable=True, symlink=True)
        if self.generatemapper is not None:
            stage_files(self.generatemapper, ignore_writable=self.inplace_update, symlink=True)
            relink_initialworkdir(
                self.generatemapper, self.outdir, self.builder.outdir, inplace_update=self.inplace_update
            )
        return [], dict(self.environment), ()

    def _required_env(self) -> dict[str, str]:
        return _clean_environment(self)


class SandboxJob(StepJob, DockerCommandLineJob):
    """A process in bubblewrap, which sees the system's programs, its inputs, and its own output directory."""

    inside = True
    group = True
    nested = True
    links: Path | None = None  # a directory of hard links that stands for many mounts

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        run = run_of(context)
        first, last = run.sandbox(network=self.networkaccess and run.network)
        args = list(first)
        self.append_volume(args, self.tmpdir, self.builder.tmpdir, writable=True)
        self.append_volume(args, self.outdir, self.builder.outdir, writable=True)
        if len(self.pathmapper.items()) > MANY:
            self.stagedir = context.create_tmpdir()
            self.links = Path(self.stagedir)
            self.append_volume(args, self.stagedir, isolation.STAGEDIR)
        volumes: list[str] = []
        self.add_volumes(self.pathmapper, volumes, tmpdir_prefix=context.tmpdir_prefix, any_path_okay=True)
        self._make_mount_points(volumes)
        if volumes and self.links is None:
            # A place of this step's own: mount points made in what all steps share would stay there.
            volumes = ["--tmpfs", isolation.STAGEDIR, *volumes, "--remount-ro", isolation.STAGEDIR]
        args += volumes
        if self.generatemapper is not None:
            self.add_volumes(self.generatemapper, args, tmpdir_prefix=context.tmpdir_prefix)
        args += [*last, "--chdir", self.builder.outdir]
        for name, value in self.environment.items():
            args += ["--setenv", name, value]
        filtering = seccomp.file()
        if filtering is not None:
            args += ["--seccomp", str(filtering)]
        # Through a descriptor: the tool can read the command line of its first process, and would see our paths.
        descriptor = os.memfd_create("args", os.MFD_CLOEXEC)
        os.write(descriptor, b"\0".join(encoded(args)))
        os.lseek(descriptor, 0, os.SEEK_SET)
        # An empty environment: the tool can read that of its first process too.
        passed = (descriptor,) if filtering is None else (descriptor, filtering)
        return [str(run.isolation.bwrap), "--args", str(descriptor), "--"], {}, passed

    def add_file_or_directory_volume(self, runtime: list[str], volume: MapperEnt, host_outdir_tgt: str | None) -> None:
        """A mount, or a link in the directory of links: the time that mounts take grows with their square."""
        target = volume.target.removeprefix(f"{isolation.STAGEDIR}/")
        if self.links is None or target == volume.target or not Path(volume.resolved).is_file():
            super().add_file_or_directory_volume(runtime, volume, host_outdir_tgt)
            return
        (self.links / target).parent.mkdir(parents=True, exist_ok=True)
        put(volume.resolved, self.links / target)

    def _make_mount_points(self, volumes: list[str]) -> None:
        """What is mounted below the directory of links needs its place there, for that is read-only to the tool."""
        if self.links is None:
            return
        for source, target in zip(volumes[1::3], volumes[2::3], strict=True):
            below = target.removeprefix(f"{isolation.STAGEDIR}/")
            if below == target:
                continue
            if Path(source).is_dir():
                (self.links / below).mkdir(parents=True, exist_ok=True)
            else:
                (self.links / below).parent.mkdir(parents=True, exist_ok=True)
                (self.links / below).touch()

    @staticmethod
    def append_volume(
        runtime: list[str], source: str, target: str, writable: bool = False, skip_mkdirs: bool = False
    ) -> None:
        runtime += ["--bind" if writable else "--ro-bind", source, target]

    def _required_env(self) -> dict[str, str]:
        return _clean_environment(self)


class ContainerJob(StepJob, DockerCommandLineJob):
    """A container of podman or docker, by the image that the package names."""

    inside = True
    measured = False

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        run = run_of(context)
        words, _ = self.create_runtime({}, context)
        network = self.networkaccess and run.network
        words = [word for word in words if not word.startswith(("--cidfile=", "--net="))]
        if not network:
            words.append("--net=none")
        name = run.container_name()
        bounds = run.bounds
        limits = engines.limits(bounds.memory, bounds.processes, bounds.cores) if run.isolation.limited else ()
        first = [*run.isolation.engine_argv, "run", *run.isolation.run_args, *limits]
        words[:2] = [*first, f"--name={name}", "--pull=never"]
        self.container = name
        return [*words, run.runs[str(self.image())]], engine_environment(), ()

    def image(self) -> str | None:
        requirement, _ = self.get_requirement("DockerRequirement")
        return image_of(requirement) if requirement else None

    def kill(self, process: ToolProcess) -> None:
        subprocess.run(
            [*run_of(self.context).isolation.engine_argv, "kill", self.container],
            env=engine_environment(),
            capture_output=True,
            check=False,
        )
        super().kill(process)


class ApptainerJob(ContainerJob):
    """A container of apptainer, which is a process of ours: measured and ended as such."""

    measured = True
    group = True  # apptainer, its monitor, and whatever of its helpers outlives it

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        run = run_of(context)
        how, inside = run.isolation, self.builder.outdir
        network = bool(self.networkaccess and run.network)
        words = apptainer.words(how.engine_argv, how.run_args, os.path.realpath(self.outdir), inside, network=network)
        any_path = bool(self.builder.get_requirement("DockerRequirement")[1])
        self.append_volume(words, self.tmpdir, self.CONTAINER_TMPDIR, writable=True)
        self.add_volumes(self.pathmapper, words, tmpdir_prefix=context.tmpdir_prefix, any_path_okay=True)
        if self.generatemapper is not None:
            self.add_volumes(
                self.generatemapper,
                words,
                tmpdir_prefix=context.tmpdir_prefix,
                any_path_okay=any_path,
            )
        words.append(str(apptainer.file_of(run.image_files, run.runs[str(self.image())])))
        return words, {**engine_environment(), **apptainer.variables(self.environment)}, ()

    def kill(self, process: ToolProcess) -> None:
        process.kill()


class AwayJob(StepJob, CommandLineJob):
    """A step that another platform runs (`elsewhere`): never started here."""


class Tool(CommandLineTool):
    """A CommandLineTool whose jobs are StepJobs, isolated as the run decides."""

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        kind = self.kind(runtimeContext)
        if kind == "container" and run_of(runtimeContext).isolation.engine == apptainer.NAME:
            return ApptainerJob
        return {"elsewhere": AwayJob, "container": ContainerJob, "bubblewrap": SandboxJob, "process": ProcessJob}[kind]

    def kind(self, context: RuntimeContext) -> str:
        """elsewhere, container, bubblewrap or process; raises UnsupportedRequirement where none may be used."""
        if run_of(context).elsewhere is not None and elsewhere.named(self) is not None:
            return "elsewhere"
        requirement, required = self.get_requirement("DockerRequirement")
        image = image_of(requirement) if requirement else None
        return run_of(context).kind(image, required=bool(required))

    def job(
        self, job_order: CWLObjectType, output_callbacks: OutputCallbackType, runtimeContext: RuntimeContext
    ) -> Generator[JobBase | CallbackJob, None, None]:
        kind = self.kind(runtimeContext)
        self._settle_inplace(run_of(runtimeContext).inplace)
        context = runtimeContext.copy()
        context.use_container = kind == "container"
        if kind == "elsewhere":
            context.select_resources = None  # what this machine has is no bound there
        tool_id = facts.tool(str(self.tool.get("id", "")), run_of(runtimeContext).job.package)
        if kind != "bubblewrap":
            for job in super().job(job_order, output_callbacks, context):
                if isinstance(job, StepJob):
                    job.tool_id, job.document = tool_id, self.tool
                yield job
            return
        outdir, tmpdir = context.get_outdir(), context.create_tmpdir()
        context.outdir, context.tmpdir, context.stagedir = isolation.OUTDIR, isolation.TMPDIR, isolation.STAGEDIR
        for job in super().job(job_order, output_callbacks, context):
            if isinstance(job, StepJob):
                job.outdir, job.tmpdir, job.stagedir = outdir, tmpdir, None
                job.tool_id, job.document = tool_id, self.tool
            yield job

    def _settle_inplace(self, allowed: bool) -> None:
        """Inputs may share their bytes with the broker's storage: changed in place only where the broker copied them.

        A hint, or a requirement that came with the inputs, is not what the broker went by. Raises
        UnsupportedRequirement.
        """
        name = "InplaceUpdateRequirement"
        requirement, required = self.get_requirement(name)
        if allowed or not requirement or not requirement.get("inplaceUpdate"):
            return
        if required:
            raise UnsupportedRequirement(f"{name} is not supported here: copy the file with InitialWorkDirRequirement.")
        self.hints = [hint for hint in self.hints if hint["class"] != name]


class Script(ExpressionTool):
    """An ExpressionTool whose jobs have a name."""

    def job(
        self, job_order: CWLObjectType, output_callbacks: OutputCallbackType | None, runtimeContext: RuntimeContext
    ) -> Generator[ExpressionJob, None, None]:
        run = run_of(runtimeContext)
        name = run.report.unique(runtimeContext.name or shortname(self.tool.get("id", "expression")))
        for job in super().job(job_order, output_callbacks, runtimeContext):
            job.name = name  # type: ignore[attr-defined]
            yield job


def image_of(requirement: CWLObjectType) -> str:
    """The image that a DockerRequirement names; raises UnsupportedRequirement for one that it makes or loads."""
    for key in ("dockerFile", "dockerLoad", "dockerImport"):
        if key in requirement:
            raise UnsupportedRequirement(f"DockerRequirement.{key} is not supported: name an image with dockerPull.")
    inside = str(requirement.get("dockerOutputDirectory") or "/")
    if not _PLACE.fullmatch(inside) or ".." in inside:
        raise UnsupportedRequirement(f"DockerRequirement.dockerOutputDirectory: {inside[:200]!r} is not supported.")
    image = str(requirement.get("dockerPull") or requirement.get("dockerImageId") or "")  # as `packages.needs` does
    try:
        Reference.parse(image)
    except PackageError as error:
        raise UnsupportedRequirement(f"DockerRequirement: {error.detail}") from error
    return image
