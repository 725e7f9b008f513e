"""One step of a package as a process: started without a shell of ours, isolated, measured, its outputs gathered."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from cwl_utils.types import CWLObjectType
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import JobBase, relink_initialworkdir
from cwltool.pathmapper import PathMapper
from cwltool.utils import bytes2str_in_dicts
from schema_salad.exceptions import ValidationException

from broker.jobs.model import Failure, Reason, Step
from broker.runner import advice, beneath, facts, failures
from broker.runner.beneath import leads_astray, open_file
from broker.runner.confinement import Confined, OutsideJob
from broker.runner.links import settle_links
from broker.runner.report import stream_name, tail, tail_of
from broker.runner.run import Run


def run_of(context: RuntimeContext) -> Run:
    """The run that a context belongs to (`engine.Context` carries it)."""
    run: Run = context.run  # type: ignore[attr-defined]
    return run


def encoded(words: Iterable[str]) -> list[bytes]:
    """Words as the system takes them. Raises WorkflowException for one that it does not.

    A NUL would end an option of bubblewrap's in the middle: the rest would be options that the package chose.
    """
    try:
        found = [os.fsencode(word) for word in words]
    except UnicodeEncodeError as error:
        raise WorkflowException(f"A word of the command line is no text: {ascii(error.object)[:200]}.") from None
    for word in found:
        if b"\0" in word:
            raise WorkflowException(f"A word of the command line holds the character NUL: {ascii(word)[1:200]}.")
    return found


class ToolProcess:
    """A tool's process, started with nothing but three descriptors (and those that were made inheritable)."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        streams: tuple[int, int, int],
        *,
        directory: str | None = None,
        group: bool = False,
        nested: bool = False,
    ) -> None:
        """Raises OSError. `directory`: where to start it, else where we are. `group`: in a process group of its own.

        `nested`: it is a bubblewrap, whose end leaves us the process that had the tool.
        """
        self.group = group
        self.nested = nested
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if directory else None
        try:
            if directory:
                # One thread: nobody else looks at the working directory meanwhile.
                os.chdir(directory)
            program = command[0]
            if "/" not in program:
                program = shutil.which(program, path=environment.get("PATH", os.defpath)) or program
            # Not subprocess, which costs twice as much; all our own descriptors close on exec.
            self.pid = os.posix_spawn(
                program,
                command,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)],
                setpgroup=0 if group else os.getpgrp(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
            )
        finally:
            if here is not None:
                os.fchdir(here)
                os.close(here)

    def reap(self) -> tuple[int, resource.struct_rusage, resource.struct_rusage | None]:
        """Exit code (negative: a signal) and usage of the process, which has ended, and of the one it left to us.

        What bubblewrap starts inside its namespace has reaped the tool; it outlives the first process by a moment,
        is ours then (`kernel.adopt_orphans`), and is known by its process group.
        """
        # wait4, not Popen.wait: it gives the usage of this one child.
        _, status, usage = os.wait4(self.pid, 0)
        inner = None
        if self.nested:
            with contextlib.suppress(ChildProcessError):
                _, _, inner = os.wait4(-self.pid, 0)
        return os.waitstatus_to_exitcode(status), usage, inner

    def kill(self) -> None:
        """To be called until it is reaped."""
        (os.killpg if self.group else os.kill)(self.pid, signal.SIGKILL)


class StepJob(JobBase):
    """A tool's job that is started and ended by the engine's loop, so that many run in one thread.

    `start` gives the process; when that has ended, `finish` gathers the outputs and calls back.
    """

    group = False  # whether the tool is ended with all of its process group
    nested = False  # whether the tool is a grandchild, in a group of its own
    inside = False  # whether the tool's own paths differ from the host's
    tool_id: str | None = None  # the process that it runs, as the package names it
    document: Mapping[str, Any] = MappingProxyType({})  # that process, resolved
    replay_key: str | None = None  # by which its results may be used again

    def prepare(self, context: RuntimeContext) -> tuple[list[str], dict[str, str], tuple[int, ...]]:
        """Put input files in place; the words before the command, the environment, descriptors to pass on."""
        raise NotImplementedError

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        raise NotImplementedError("the engine's loop starts and ends tools")

    def start(self, context: RuntimeContext) -> ToolProcess:
        """Raises WorkflowException where the tool cannot be started."""
        run = run_of(context)
        self.context = context
        self._setup(context)
        self._require_trees(context)
        words, environment, descriptors = self.prepare(context)
        if not self.command_line:
            raise WorkflowException("The tool has an empty command line: give it a 'baseCommand' or 'arguments'.")
        command = [*words, *(str(word) for word in self.command_line)]
        encoded([*command, *environment, *environment.values()])
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
            tool=self.tool_id,
            requested=facts.requested(self.builder.resources),
        )
        run.report.step(self.record)
        try:
            return self._spawn(command, environment, descriptors)
        except OSError as error:
            raise WorkflowException(f"'{command[0]}' cannot be started: {error.strerror}.") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def image(self) -> str | None:
        return None

    def _spawn(self, command: list[str], environment: dict[str, str], descriptors: tuple[int, ...]) -> ToolProcess:
        opened: list[int] = []

        def open_(path: str | Path, flags: int) -> int:
            opened.append(os.open(path, flags | os.O_CLOEXEC, 0o644))
            return opened[-1]

        def captured(name: str | None) -> int:
            if name is None:
                return log
            if "/" in name:
                Path(self.outdir, name).parent.mkdir(parents=True, exist_ok=True)
            return open_(f"{self.outdir}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)

        try:
            log = open_(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            stdin = open_(self._stdin() if self.stdin else os.devnull, os.O_RDONLY | os.O_NONBLOCK)
            if not (stat.S_ISREG(os.fstat(stdin).st_mode) or not self.stdin):
                raise WorkflowException(f"stdin: {self.stdin} is not a file.")
            os.set_blocking(stdin, True)
            stdout = captured(self.stdout)
            stderr = stdout if self.stderr and self.stderr == self.stdout else captured(self.stderr)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            directory = None if self.inside else self.outdir
            streams = (stdin, stdout, stderr)
            return ToolProcess(command, environment, streams, directory=directory, group=self.group, nested=self.nested)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _stdin(self) -> str:
        found = self.pathmapper.reversemap(str(self.stdin))
        if found is None:
            raise WorkflowException(f"stdin: {self.stdin} is not an input file of the tool.")
        return found[1]

    def finish(self, process: ToolProcess, *, timed_out: bool) -> None:
        """The process has ended: gather outputs, record the step, call back, remove the temporary directory."""
        run = run_of(self.context)
        code, usage, inner = process.reap()
        usage = inner or usage
        # What a process had before it became the tool counts as its own: less than ours is not known.
        rss = usage.ru_maxrss / 1024 if inner or usage.ru_maxrss > run.own_rss() else None
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
            if found.reason is Reason.OUTPUT_MISSING:
                found = replace(found, message=f"{found.message} {advice.listing(self.outdir)}".rstrip())
            failure = failure or replace(found, exit_code=code, log_tail=tail(self.log))
        if failure is not None:
            if without := self._without_image():
                failure = replace(failure, message=f"{failure.message.rstrip('.')}. {without}")
            run.report.fail(failure)
            run.log.warning("[job %s] %s", self.name, failure.message)
        self._close(code, usage, rss, outputs, failed=failure is not None)
        if failure is None and run.replays is not None:
            run.replays.keep(self, outputs)
        self._hand_on(outputs, status)

    def replay(self, context: RuntimeContext, outputs: CWLObjectType, record: Step) -> None:
        """Instead of running: the outputs that the step gave in another job, and what is told of it."""
        self.context = context
        path = run_of(context).job.path
        self.record = replace(
            record,
            name=self.name,
            used=facts.paths(self.builder.files, path),
            made=facts.paths(outputs, path),
        )
        run_of(context).report.step(self.record)
        self._hand_on(outputs, "success")

    def _hand_on(self, outputs: CWLObjectType, status: str) -> None:
        """Call back, and remove the temporary directory."""
        run_of(self.context).report.count(done=1)
        if self.output_callback:
            self.output_callback(outputs, status)
        if self.inside and untouched(self.tmpdir):
            self.context.spare.append(self.tmpdir)  # type: ignore[attr-defined]
        else:
            remove_tree(self.tmpdir)
        if self.stagedir:
            remove_tree(self.stagedir)

    def _close(
        self, code: int, usage: resource.struct_rusage, rss: float | None, outputs: CWLObjectType, *, failed: bool
    ) -> None:
        run = run_of(self.context)
        if self.log.stat().st_size == 0:
            self.log.unlink()
            self.record = replace(self.record, log=None)
        self.record = replace(
            self.record,
            status="failed" if failed else "successful",
            finished=time.time(),
            exit_code=code,
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 4) if self.measured else None,
            max_rss_mib=round(rss, 1) if rss and self.measured else None,
            used=facts.paths(self.builder.files, run.job.path),
            made=facts.paths(outputs, run.job.path),
        )
        run.report.step(self.record)

    measured = True  # whether the process's own usage is the tool's

    def _without_image(self) -> str | None:
        """The warning that the tool ran without the image that the package hints at."""
        requirement, _ = self.get_requirement("DockerRequirement")
        if not requirement or self.image() is not None:
            return None
        image = requirement.get("dockerPull") or requirement.get("dockerImageId")
        return run_of(self.context).without.get(str(image))

    def _exit_failure(self, code: int, rss: float | None, *, timed_out: bool) -> Failure:
        lines = self._last_lines()
        limit = float(self.timelimit) if timed_out and self.timelimit else None
        program = str(self.command_line[0])
        failure = failures.of_exit(self.name, code, program, lines, timed_out=limit, rss=rss, image=self.image())
        asked = bool(self.networkaccess)
        given = asked and run_of(self.context).network
        if offline := advice.no_network(failure.log_tail, asked=asked, given=given):
            failure = replace(failure, message=f"{failure.message.rstrip('.')}. {offline}")
        return failure

    def _last_lines(self) -> str:
        """Of the step's log, or of the stderr that the package captures: a file that the tool may have replaced."""
        lines = tail(self.log)
        if not lines and self.stderr:
            with contextlib.suppress(OSError):
                return tail_of(open_file(self.outdir, self.stderr))
        return lines

    def _status(self, code: int) -> str:
        if code in self.successCodes:
            return "success"
        if code in self.temporaryFailCodes:
            return "temporaryFail"
        return "success" if code == 0 and code not in self.permanentFailCodes else "permanentFail"

    def _gather(self, code: int) -> CWLObjectType:
        if "listing" in self.generatefiles and self.generatemapper is not None:
            self._expect_places()
            relink_initialworkdir(
                self.generatemapper, self.outdir, self.builder.outdir, inplace_update=self.inplace_update
            )
        if self.inside:
            settle_links(self.outdir, self.builder.outdir, self.pathmapper)
        gathered: Any = self.collect_outputs(self.outdir, code)
        return cast(CWLObjectType, bytes2str_in_dicts(gathered))

    def _expect_places(self) -> None:
        """Raise OutsideJob where a directory that was made for staged files has become a link: cwltool removes what
        lies there now, and puts links in its place."""
        for _, entry in cast(PathMapper, self.generatemapper).items():
            outdir = self.builder.outdir
            if not entry.staged or not entry.target.startswith(outdir) or entry.target == outdir:
                continue
            below = entry.target.removeprefix(f"{outdir}/")
            if below == entry.target:  # `/outx/etc`: cwltool cuts it where `/out/` would end, and has `/etc`
                raise OutsideJob(repr(entry.target), "it only looks like a place in the output directory.")
            if leads_astray(self.outdir, below):
                raise OutsideJob(repr(below), "the tool replaced a directory on its way by something else.")

    def _require_trees(self, context: RuntimeContext) -> None:
        """Raise OutsideJob where a directory that is to be copied holds a link out of the job: copies follow links."""
        files = cast(type[Confined], context.make_fs_access)
        for mapper in (self.pathmapper, self.generatemapper):
            for _, entry in mapper.items() if mapper is not None else ():
                if entry.type == "WritableDirectory" and not entry.resolved.startswith("_:"):
                    files.require_tree(entry.resolved, run_of(context).most_files)

    def kill(self, process: ToolProcess) -> None:
        """End the tool and what it started."""
        process.kill()


def untouched(path: str) -> bool:
    """Whether a directory of a step that has ended is as it was made, so that another step may have it."""
    status = os.lstat(path)
    mine = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o7777 == 0o755 and status.st_uid == os.geteuid()
    return mine and not os.listdir(path) and not os.listxattr(path, follow_symlinks=False)  # noqa: PTH208


def remove_tree(path: str) -> None:
    """Remove a directory of a step; what cannot be removed goes with the job's directory."""
    try:
        os.rmdir(path)  # noqa: PTH106  a Path costs more than the call
    except FileNotFoundError:
        return
    except OSError:
        beneath.remove_tree(Path(path))
