"""The processes of a set of CWL documents: which one runs, and which runs which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import urldefrag

from broker.errors import LimitError, PackageError, WorkflowNotFound
from broker.packages.references import Reference, Use, position, resolve

MAX_STEPS = 500
MAX_NESTING = 64


def fragment(identifier: Any) -> str:
    """The short name of an id: `#main`, `main` and `package.cwl#main` are all `main`."""
    return str(identifier).rpartition("#")[2] if identifier else ""


def processes(document: Any) -> list[Mapping[str, Any]]:
    """The top-level processes of one parsed document, in order."""
    if not isinstance(document, Mapping):
        return []
    if "$graph" in document:
        graph = document["$graph"]
        if isinstance(graph, Mapping):
            graph = [{**value, "id": key} if isinstance(value, Mapping) else value for key, value in graph.items()]
        if not isinstance(graph, Sequence) or isinstance(graph, str):
            return []
        return [one for one in graph if isinstance(one, Mapping) and "class" in one]
    return [document] if "class" in document else []


def choose(document: Any, file: str, wanted: str | None) -> str:
    """The fragment of the process to run; "" where the document is one process.

    Without `wanted`: `main`, else the first Workflow, else the first process. Raises WorkflowNotFound.
    """
    found = processes(document)
    packed = isinstance(document, Mapping) and "$graph" in document
    names = [fragment(one.get("id")) for one in found]
    if wanted:
        wanted = fragment(wanted)
        if wanted in names:
            return wanted if packed else ""
        near = get_close_matches(wanted, names, 1)
        known = ", ".join(name for name in names if name) or "one process without an id"
        raise WorkflowNotFound(
            f"The document has no process {wanted!r}; it has {known}.",
            file=file,
            hint=f"Did you mean {near[0]!r}?" if near else None,
        )
    if not packed:
        return ""
    if not any(names):
        raise PackageError("No process of $graph has an id.", file=file, hint="Write an id for each, one of them main.")
    if "main" in names:
        return "main"
    workflows = [one for one in found if one.get("class") == "Workflow" and one.get("id")]
    return fragment((workflows or [one for one in found if one.get("id")])[0]["id"])


def steps(process: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and body of each step of a Workflow."""
    found = process.get("steps")
    if isinstance(found, Mapping):
        items: Any = found.items()
    elif isinstance(found, Sequence) and not isinstance(found, str):
        items = ((fragment(one.get("id")), one) for one in found if isinstance(one, Mapping))
    else:
        return
    for name, body in items:
        if isinstance(body, Mapping):
            yield str(name), body


class Calls:
    """Follows `run:` from the chosen process. Raises PackageError for a process that runs itself, LimitError."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self.documents = documents
        self.count = 0
        self.done: dict[tuple[str, str], int] = {}  # steps below each process, all runs counted

    def check(self, file: str, name: str) -> int:
        """The number of steps below the process `name` of `file`."""
        document = self.documents.get(file)
        found = processes(document)
        for one in found:
            if not name or fragment(one.get("id")) == name or len(found) == 1:
                return self.process(file, one, ())
        return 0

    def process(self, file: str, process: Mapping[str, Any], path: tuple[int, ...]) -> int:
        if id(process) in path:
            raise PackageError(
                f"The workflow {fragment(process.get('id')) or file!r} runs itself.",
                file=file,
                line=position(process, "class")[0],
                hint="Change the step's run.",
            )
        if len(path) >= MAX_NESTING:
            raise LimitError(f"Workflows are nested more than {MAX_NESTING} levels deep.")
        key = (file, str(id(process)))
        if key in self.done:
            return self.done[key]
        total = 0
        for _, body in steps(process):
            total += 1 + self.step(file, body, (*path, id(process)))
            if total > MAX_STEPS:
                raise LimitError(
                    f"The package has more than {MAX_STEPS} steps.", hint="Use scatter in place of repeated steps."
                )
        self.done[key] = total
        return total

    def step(self, file: str, body: Mapping[str, Any], path: tuple[int, ...]) -> int:
        run = body.get("run")
        if isinstance(run, Mapping) and isinstance(run.get("$import"), str):
            run = run["$import"]
        if isinstance(run, Mapping):
            return self.process(file, run, path)
        if not isinstance(run, str):
            return 0
        target, name = urldefrag(run)
        other = file if not target else resolve(file, Reference(Use.RUN, run, *position(body, "run")))
        found = processes(self.documents.get(other))
        name = name or ("" if len(found) == 1 else "main")
        for one in found:
            if len(found) == 1 or fragment(one.get("id")) == name:
                return self.process(other, one, path)
        known = [fragment(one.get("id")) for one in found]
        if found and name not in known:
            near = get_close_matches(name, known, 1)
            line, column = position(body, "run")
            raise PackageError(
                f"run names {run!r}, but {other} has no process {name!r}.",
                file=file,
                line=line,
                column=column,
                hint=f"Did you mean '#{near[0]}'?" if near else f"It has: {', '.join(known)}.",
            )
        return 0
