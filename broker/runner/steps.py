"""One step of a package as a process: started without a shell of ours, isolated, measured, its outputs gathered."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

from cwl_utils.types import CWLObjectType
from cwltool.command_line_tool import CallbackJob, CommandLineTool, ExpressionJob, ExpressionTool
from cwltool.context import RuntimeContext
from cwltool.docker import DockerCommandLineJob
from cwltool.errors import UnsupportedRequirement, WorkflowException
from cwltool.job import CommandLineJob, JobBase, relink_initialworkdir
from cwltool.pathmapper import MapperEnt
from cwltool.process import shortname, stage_files
from cwltool.utils import OutputCallbackType, bytes2str_in_dicts
from schema_salad.exceptions import ValidationException

from broker.jobs.model import Failure, Step
from broker.runner import failures, isolation, jobdir
from broker.runner.links import settle_links
from broker.runner.outputs import put
from broker.runner.report import stream_name, tail
from broker.runner.run import Run

MANY = 64  # input files from which on they are linked into one directory instead of mounted one by one
_SETPRIV = shutil.which("setpriv", path=isolation.SYSTEM_PATH)


def run_of(context: RuntimeContext) -> Run:
    """The run that a context belongs to (`engine.Context` carries it)."""
    run: Run = context.run  # type: ignore[attr-defined]
    return run


class StepJob(JobBase):
    """A tool's job that is started and ended by the engine's loop, so that many run in one thread.

    `start` gives the process; when that has ended, `finish` gathers the outputs and calls back.
    """

    inside = False  # whether the tool's own paths differ from the host's

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        """Put input files in place; the words before the command, the environment, descriptors to pass on."""
        raise NotImplementedError

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        raise NotImplementedError("the engine's loop starts and ends tools")

    def start(self, context: RuntimeContext) -> subprocess.Popen[bytes]:
        """Raises WorkflowException where the tool cannot be started."""
        run = run_of(context)
        self.context = context
        Path(self.tmpdir).mkdir(parents=True, exist_ok=True)
        self._setup(context)
        words, environment, descriptors = self.prepare(context)
        if not self.command_line:
            raise WorkflowException("The tool has an empty command line: give it a 'baseCommand' or 'arguments'.")
        command = [*words, *(str(word) for word in self.command_line)]
        self.stream = stream_name(self.name)
        self.log = run.report.log_path(self.stream)
        self.record = Step(
            self.name,
            "running",
            started=time.time(),
            image=self.image(),
            image_digest=run.images.get(self.image() or ""),
            command=tuple(str(word) for word in self.command_line),
            log=self.stream,
        )
        run.report.step(self.record)
        try:
            return self._popen(command, environment, descriptors)
        except OSError as error:
            raise WorkflowException(f"'{command[0]}' cannot be started: {error.strerror}.") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def image(self) -> str | None:
        return None

    def _popen(
        self, command: list[str], environment: dict[str, str], descriptors: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        opened: list[IO[bytes]] = []

        def open_(path: str | Path, flags: int) -> IO[bytes]:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
            stream = os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "wb", 0)
            opened.append(stream)
            return stream

        def captured(name: str | None) -> IO[bytes]:
            if name is None:
                return log
            path = Path(self.outdir) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            return open_(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)

        try:
            log = open_(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            stdin = open_(self._stdin(), os.O_RDONLY) if self.stdin else subprocess.DEVNULL
            stdout = captured(self.stdout)
            stderr = stdout if self.stderr and self.stderr == self.stdout else captured(self.stderr)
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=None if self.inside else self.outdir,
                pass_fds=descriptors,
            )
        finally:
            for stream in opened:
                stream.close()

    def _stdin(self) -> str:
        found = self.pathmapper.reversemap(str(self.stdin))
        if found is None:
            raise WorkflowException(f"stdin: {self.stdin} is not an input file of the tool.")
        return found[1]

    def finish(self, code: int, usage: resource.struct_rusage | None, *, timed_out: bool) -> None:
        """The process has ended: gather outputs, record the step, call back, remove the temporary directory."""
        run = run_of(self.context)
        # What a process had before it became the tool counts as its own: less than ours is not known.
        rss = usage.ru_maxrss / 1024 if usage and usage.ru_maxrss > run.own_rss() else None
        status = self._status(code)
        outputs: CWLObjectType = {}
        failure: Failure | None = None
        if status != "success" or timed_out:
            status = "permanentFail" if status == "success" else status
            failure = self._exit_failure(code, rss, timed_out=timed_out)
        try:
            outputs = self._gather(code)
        except (WorkflowException, ValidationException, OSError, ValueError, KeyError) as error:
            status = "permanentFail"
            found = failures.of_exception(error, run.job.package, step=self.name)
            failure = failure or replace(found, exit_code=code, log_tail=tail(self.log))
        if failure is not None:
            run.report.fail(failure)
            run.log.warning("[job %s] %s", self.name, failure.message)
        self._close(code, usage, rss, failed=failure is not None)
        run.report.count(done=1)
        if self.output_callback:
            self.output_callback(outputs, status)
        remove_tree(self.tmpdir)
        if self.stagedir:
            remove_tree(self.stagedir)

    def _close(self, code: int, usage: resource.struct_rusage | None, rss: float | None, *, failed: bool) -> None:
        run = run_of(self.context)
        if self.log.stat().st_size == 0:
            self.log.unlink()
            self.record = replace(self.record, log=None)
        measured = usage is not None and self.measured
        self.record = replace(
            self.record,
            status="failed" if failed else "successful",
            finished=time.time(),
            exit_code=code,
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 4) if usage and measured else None,
            max_rss_mib=round(rss, 1) if rss and measured else None,
        )
        run.report.step(self.record)

    measured = True  # whether the process's own usage is the tool's

    def _exit_failure(self, code: int, rss: float | None, *, timed_out: bool) -> Failure:
        log = self.log
        if self.log.stat().st_size == 0 and self.stderr:
            log = Path(self.outdir) / self.stderr
        limit = float(self.timelimit) if timed_out and self.timelimit else None
        program = str(self.command_line[0])
        return failures.of_exit(self.name, code, program, log, timed_out=limit, rss=rss)

    def _status(self, code: int) -> str:
        if code in self.successCodes:
            return "success"
        if code in self.temporaryFailCodes:
            return "temporaryFail"
        return "success" if code == 0 and code not in self.permanentFailCodes else "permanentFail"

    def _gather(self, code: int) -> CWLObjectType:
        if "listing" in self.generatefiles and self.generatemapper is not None:
            relink_initialworkdir(
                self.generatemapper, self.outdir, self.builder.outdir, inplace_update=self.inplace_update
            )
        if self.inside:
            settle_links(self.outdir, self.builder.outdir, self.pathmapper)
        gathered: Any = self.collect_outputs(self.outdir, code)
        return cast(CWLObjectType, bytes2str_in_dicts(gathered))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End the tool and what it started."""
        process.send_signal(signal.SIGKILL)


class ProcessJob(StepJob, CommandLineJob):
    """A plain process: only where the operator set `isolation = "process"`."""

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        stage_files(self.pathmapper, ignore_writable=True, symlink=True)
        if self.generatemapper is not None:
            stage_files(self.generatemapper, ignore_writable=self.inplace_update, symlink=True)
            relink_initialworkdir(
                self.generatemapper, self.outdir, self.builder.outdir, inplace_update=self.inplace_update
            )
        words = [_SETPRIV, "--pdeathsig", "KILL", "--"] if _SETPRIV else []
        return words, dict(self.environment), ()

    def _required_env(self) -> dict[str, str]:
        return {
            "HOME": self.builder.outdir,
            "TMPDIR": self.builder.tmpdir,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }


class SandboxJob(StepJob, DockerCommandLineJob):
    """A process in bubblewrap, which sees the system's programs, its inputs, and its own output directory."""

    inside = True
    links: Path | None = None  # a directory of hard links that stands for many mounts

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        run = run_of(context)
        args = list(run.sandbox(network=self.networkaccess and run.network))
        self.append_volume(args, self.tmpdir, self.builder.tmpdir, writable=True)
        self.append_volume(args, self.outdir, self.builder.outdir, writable=True)
        if len(self.pathmapper.items()) > MANY:
            self.stagedir = context.create_tmpdir()
            self.links = Path(self.stagedir)
            self.append_volume(args, self.stagedir, isolation.STAGEDIR)
        volumes: list[str] = []
        self.add_volumes(self.pathmapper, volumes, tmpdir_prefix=context.tmpdir_prefix, any_path_okay=True)
        self._make_mount_points(volumes)
        args += volumes
        if self.generatemapper is not None:
            self.add_volumes(self.generatemapper, args, tmpdir_prefix=context.tmpdir_prefix)
        args += [*isolation.bubblewrap_end(run.software), "--chdir", self.builder.outdir]
        for name, value in self.environment.items():
            args += ["--setenv", name, value]
        # Through a descriptor: the tool can read the command line of its first process, and would see our paths.
        descriptor = os.memfd_create("args", os.MFD_CLOEXEC)
        os.write(descriptor, b"\0".join(os.fsencode(word) for word in args))
        os.lseek(descriptor, 0, os.SEEK_SET)
        # An empty environment: the tool can read that of its first process too.
        return [str(run.isolation.bwrap), "--args", str(descriptor), "--"], {}, (descriptor,)

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
        return {
            "HOME": self.builder.outdir,
            "TMPDIR": self.builder.tmpdir,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }


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
        words[:2] = [*run.isolation.engine_argv, "run", *run.isolation.run_args, f"--name={name}", "--pull=never"]
        self.container = name
        return [*words, str(self.image())], isolation.engine_environment(), ()

    def image(self) -> str | None:
        requirement, _ = self.get_requirement("DockerRequirement")
        return image_of(requirement) if requirement else None

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        subprocess.run(
            [*run_of(self.context).isolation.engine_argv, "kill", self.container],
            env=isolation.engine_environment(),
            capture_output=True,
            check=False,
        )
        super().kill(process)


class Tool(CommandLineTool):
    """A CommandLineTool whose jobs are StepJobs, isolated as the run decides."""

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        return {"container": ContainerJob, "bubblewrap": SandboxJob, "process": ProcessJob}[self.kind(runtimeContext)]

    def kind(self, context: RuntimeContext) -> str:
        """container, bubblewrap or process; raises UnsupportedRequirement where none may be used."""
        requirement, required = self.get_requirement("DockerRequirement")
        image = image_of(requirement) if requirement else None
        return run_of(context).kind(image, required=bool(required))

    def job(
        self, job_order: CWLObjectType, output_callbacks: OutputCallbackType, runtimeContext: RuntimeContext
    ) -> Generator[JobBase | CallbackJob, None, None]:
        kind = self.kind(runtimeContext)
        context = runtimeContext.copy()
        context.use_container = kind == "container"
        if kind != "bubblewrap":
            yield from super().job(job_order, output_callbacks, context)
            return
        outdir, tmpdir = context.get_outdir(), context.create_tmpdir()
        context.outdir, context.tmpdir, context.stagedir = isolation.OUTDIR, isolation.TMPDIR, isolation.STAGEDIR
        for job in super().job(job_order, output_callbacks, context):
            if isinstance(job, JobBase):
                job.outdir, job.tmpdir, job.stagedir = outdir, tmpdir, None
            yield job


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
    image = str(requirement.get("dockerImageId") or requirement.get("dockerPull") or "")
    if not isolation.IMAGE.fullmatch(image):
        raise UnsupportedRequirement(f"DockerRequirement: {image!r} is not the name of an image.")
    return image


def remove_tree(path: str) -> None:
    """Remove a directory of a step; what cannot be removed goes with the job's directory."""
    try:
        Path(path).rmdir()
    except OSError:
        jobdir.remove_tree(Path(path))
