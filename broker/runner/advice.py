"""What to do about a failure, as sentences to end its message with: by what the tool or the container engine wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MOST_NAMES = 10
ADD_SOFTWARE = "Name an image in the package, or ask the operator to add the software to [platforms.local] software."

_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([\w.]+)")
_NO_COMMAND = re.compile(r"(?:^|[\s:])([^\s:]+): (?:command )?not found\s*$", re.MULTILINE)
_NO_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure in name resolution|Name or service not known|Could not resolve host"
)
_FETCHING = (
    (
        r"no such host|name resolution|Name or service not known|[Cc]ould not resolve",
        "Check the registry in the image's name; if that is right, the machine's DNS does not know it.",
    ),
    (
        r"denied|unauthorized|authentication required|\b40[13]\b",
        "Check the image's name; if it is private, log in to its registry: broker credential add NAME registry HOST.",
    ),
    (r"manifest unknown|not found|\b404\b", "Check the image's name and tag."),
    (
        r"refused|timeout|timed out|unreachable|no route",
        "The registry cannot be reached from that machine: try later, or ask the operator to fetch the image there.",
    ),
)


def missing_command(lines: str) -> str | None:
    """The command that a shell did not find, by the last lines of a log."""
    found = _NO_COMMAND.search(lines)
    return found.group(1) if found else None


def missing_software(lines: str, image: str | None) -> str | None:
    """What to do where the tool lacked a Python module or a command; `image`: the one it ran in."""
    module, command = _NO_MODULE.search(lines), missing_command(lines)
    if not module and not command:
        return None
    if image is not None:
        what = f"the Python module {module.group(1)}" if module else f"the command {command}"
        return f"The image {image} does not have {what}."
    return ADD_SOFTWARE


def no_network(lines: str, *, asked: bool, given: bool) -> str | None:
    """What to say where the tool met no network; `asked`: by the package, `given`: by the platform."""
    if given or not _NO_NETWORK.search(lines):
        return None
    if asked:
        return "This platform gives no network to tools."
    return "Tools have no network unless the package asks for it (NetworkAccess)."


def said_last(text: str) -> str:
    """The last line that a container engine wrote, where it names the cause."""
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    line = line.removeprefix("Error: ").removeprefix("FATAL: ").strip().rstrip(".")
    # the innermost cause is at the end
    return line if len(line) <= 300 else f"…{line[-300:]}"


def fetching(said: str) -> str:
    """What to do about an image that could not be fetched."""
    for pattern, remedy in _FETCHING:
        if re.search(pattern, said):
            return remedy
    return "The operator can try to fetch it on that machine."


def listing(directory: str) -> str:
    """What an output directory holds: its first names."""
    try:
        entries: Iterable[Path] = sorted(Path(directory).iterdir())
        names = [f"{one.name}/" if one.is_dir() else one.name for one in entries]
    except OSError:
        return ""
    if not names:
        return "The output directory is empty."
    shown = ", ".join(name[:100].encode("utf-8", "replace").decode() for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"The output directory holds: {shown}{more}."
