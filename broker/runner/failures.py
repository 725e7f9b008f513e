"""From what cwltool raises or logs to a Failure: whose fault, why, and a sentence that a scientist can act on."""

from __future__ import annotations

import errno
import logging
import re
import signal
from pathlib import Path

from cwltool.errors import UnsupportedRequirement

from broker.errors import BrokerError, PackageError, UnsupportedPackage
from broker.jobs.model import Failure, Fault, Reason
from broker.runner import advice
from broker.runner.confinement import NOT_FETCHED, OutsideInput, OutsideJob
from broker.runner.report import Report

_GLOB = re.compile(r"Did not find output file with glob pattern: (.*?)\.?$", re.MULTILINE)
_PARAMETER = re.compile(r"Error collecting output for parameter '([^']+)':\s*")
_EXPRESSION = re.compile(r"Expression evaluation error:\s*(.*)", re.DOTALL)
_REFUSED = re.compile(r"(\S+ is refused: .*)")
_OUTSIDE = re.compile(r"Output file path (.*) must be within designated output directory")
_SECONDARY = re.compile(
    r"Missing required secondary file '([^']+)' from file object:.*?\"basename\": (\".*?\"),?$",
    re.DOTALL | re.MULTILINE,
)
_RESOURCES = re.compile(r"Requested at least (\S+) (cores|ram) but only (\S+) available")
NO_IMAGE = "A step requires the container image"
OTHER_FORMAT = "Files of the format {} are wanted: {}."

# Errors that cwltool swallows, by the template it logs them with: position of the step's name and of the text.
_SWALLOWED: dict[str, tuple[int | None, int]] = {
    "[%s] Cannot make job: %s": (0, 1),
    "Cannot make scatter job: %s": (None, 0),
    "Failed to evaluate expression:\n%s": (None, 0),
    "[%s] Cannot collect workflow output: %s": (0, 1),
    "[%s] Output is missing expected field %s": (0, 1),
}


class SwallowedErrors(logging.Handler):
    """Hears the errors that cwltool logs instead of raising them."""

    def __init__(self, report: Report, root: Path) -> None:
        super().__init__(logging.WARNING)
        self.report = report
        self.root = root

    def emit(self, record: logging.LogRecord) -> None:
        found = _SWALLOWED.get(str(record.msg))
        if found is None or not isinstance(record.args, tuple):
            if str(record.msg).startswith("Unhandled exception") and record.exc_info and record.exc_info[1]:
                self.report.fail(of_exception(record.exc_info[1], self.root))
            return
        step, text = found
        named = str(record.args[step]) if step is not None else ""
        name = named.removeprefix("step ").removeprefix("workflow ").strip() or None
        said = str(record.args[text])
        if record.msg.startswith("[%s] Output is missing"):
            said = f"The step gave no output '{said.rsplit('/', 1)[-1]}'."
            self.report.fail(Failure(Fault.PACKAGE, Reason.OUTPUT_MISSING, said, name))
            return
        self.report.fail(of_text(said, self.root, step=name))


def clean(text: str, root: Path) -> str:
    """The text without the path of the job's package (or of the job), and on as few lines as it has."""
    # cwltool names files by URI, by path, and relative to the working directory.
    job = f"{re.escape(str(root.parent).lstrip('/'))}/(?:{re.escape(root.name)}/)?"
    plain = re.sub(rf"(?:file://)?(?:/|(?:\.\./)+){job}", "", text)
    return "\n".join(line.strip() for line in plain.strip().splitlines() if line.strip())[:2000]


def of_exception(error: BaseException, root: Path, *, step: str | None = None) -> Failure:
    """A failure for what loading or running a package raised; unknown exceptions are the broker's."""
    if isinstance(error, UnsupportedPackage | UnsupportedRequirement):
        return Failure(Fault.PACKAGE, Reason.UNSUPPORTED, clean(str(error), root), step)
    if isinstance(error, PackageError):
        return Failure(Fault.PACKAGE, Reason.INVALID_PACKAGE, clean(str(error), root), step)
    if isinstance(error, BrokerError):
        return Failure(Fault(error.fault), Reason.BROKER_ERROR, str(error), step)
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = "The platform's disk is full." if full else f"The platform failed: {clean(str(error), root)}"
        return Failure(Fault.BROKER, Reason.STORAGE if full else Reason.BROKER_ERROR, message, step)
    if isinstance(error, OutsideInput):
        return Failure(Fault.INPUT, Reason.INVALID_INPUT, clean(str(error), root), step)
    if isinstance(error, OutsideJob):
        return Failure(Fault.PACKAGE, Reason.OUTPUT_REFUSED, clean(str(error), root), step)
    return of_text(str(error), root, step=step)


def of_unforeseen(error: Exception) -> Failure:
    """A failure for an exception that cwltool did not mean to raise: ours, but for what packages are known to cause."""
    if isinstance(error, UnicodeEncodeError | RecursionError) or "embedded null" in str(error):
        message = f"The package gave a text or a structure that cannot be used: {ascii(error)[:300]}"
        return Failure(Fault.PACKAGE, Reason.INVALID_PACKAGE, message)
    return Failure(Fault.BROKER, Reason.BROKER_ERROR, f"The engine failed: {type(error).__name__}: {error}")


def of_text(text: str, root: Path, *, step: str | None = None) -> Failure:
    """A failure for the message of a WorkflowException or ValidationException."""
    plain = clean(text, root)
    if plain.startswith(NO_IMAGE):
        return Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, plain, step)
    output = _PARAMETER.search(plain)
    where = f"Output '{output.group(1)}'" if output else "An output"
    if match := _GLOB.search(plain):
        message = f"{where} was not made: no file matches the glob {match.group(1)}."
        return Failure(Fault.PACKAGE, Reason.OUTPUT_MISSING, message, step)
    if NOT_FETCHED in plain or plain.startswith(OTHER_FORMAT[:20]):
        return Failure(Fault.INPUT, Reason.INVALID_INPUT, plain, step)
    if match := _REFUSED.search(plain):
        return Failure(Fault.PACKAGE, Reason.OUTPUT_REFUSED, f"{where}: {match.group(1)}", step)
    if match := _OUTSIDE.search(plain):
        message = f"{where}: {match.group(1)} is refused: it lies outside of the output directory."
        return Failure(Fault.PACKAGE, Reason.OUTPUT_REFUSED, message, step)
    if match := _EXPRESSION.search(plain):
        return Failure(Fault.PACKAGE, Reason.EXPRESSION, match.group(1).strip(), step)
    if match := _RESOURCES.search(plain):
        unit = "MiB of memory" if match.group(2) == "ram" else "cores"
        message = f"A step asks for {match.group(1)} {unit}; this job may use {match.group(3)}."
        return Failure(Fault.LIMIT, Reason.PLATFORM_REFUSED, message, step)
    if "Invalid job input record" in plain or "Missing required input parameter" in plain:
        return Failure(Fault.INPUT, Reason.INVALID_INPUT, plain, step)
    if match := _SECONDARY.search(plain):
        plain = f"The file {match.group(2)} comes without its secondary file '{match.group(1)}'."
        fault, reason = (Fault.PACKAGE, Reason.OUTPUT_MISSING) if output else (Fault.INPUT, Reason.INVALID_INPUT)
        return Failure(fault, reason, plain, step)
    if "Missing required secondary file" in plain and output is None:
        return Failure(Fault.INPUT, Reason.INVALID_INPUT, plain, step)
    if output or "Missing required secondary file" in plain:
        return Failure(Fault.PACKAGE, Reason.OUTPUT_MISSING, plain, step)
    return Failure(Fault.PACKAGE, Reason.INVALID_PACKAGE, plain or "The package could not be run.", step)


def of_exit(
    step: str,
    code: int,
    command: str,
    lines: str,
    *,
    timed_out: float | None,
    rss: float | None,
    image: str | None,
) -> Failure:
    """A failure for a tool that ended with `code` (negative: by that signal); `lines`: the last of its log, `image`:
    what it ran in."""
    if timed_out is not None:
        message = f"Step '{step}' ran longer than the {timed_out:g} s that the package gives it (ToolTimeLimit)."
        return Failure(Fault.LIMIT, Reason.TIME_LIMIT, message, step, code, lines)
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        used = f" It had used {rss:.0f} MiB." if rss else ""
        message = f"Step '{step}' was killed, most likely because memory ran out.{used} Ask for more with ramMin."
        return Failure(Fault.LIMIT, Reason.OUT_OF_MEMORY, message, step, code, lines)
    if "bwrap: execvp" in lines or (code == 127 and "not found" in lines):
        if "bwrap: execvp" not in lines:
            command = advice.missing_command(lines) or command
        message = f"Step '{step}': the program '{command}' is not there."
        if image is None:
            message = f"{message} {advice.ADD_SOFTWARE}"
        return Failure(Fault.PACKAGE, Reason.TOOL_FAILED, message, step, code, lines)
    if code < 0 or 128 < code < 160:
        name = signal.Signals(-code if code < 0 else code - 128).name
        return Failure(Fault.PACKAGE, Reason.TOOL_FAILED, f"Step '{step}' was ended by {name}.", step, code, lines)
    last = next((line.strip() for line in reversed(lines.splitlines()) if line.strip()), "")
    message = f"Step '{step}' failed with exit code {code}" + (f": {last[:300]}" if last else ".")
    if remedy := advice.missing_software(lines, image):
        message = f"{message.rstrip('.')}. {remedy}"
    return Failure(Fault.PACKAGE, Reason.TOOL_FAILED, message, step, code, lines)
