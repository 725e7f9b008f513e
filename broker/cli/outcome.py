"""How a job is going and how it ended, for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from broker.cli.client import Client
from broker.cli.console import amount, console, moment, note, plain, put_table
from broker.cli.watch import Watch

FAULTS = {
    "package": "the package's",
    "input": "the inputs'",
    "platform": "the platform's",
    "staging": "an input that could not be fetched",
    "limit": "a limit that was reached",
    "broker": "the broker's",
}


def _safe(text: object) -> str:
    return escape(plain(text))


def follow(client: Client, job_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show the job's progress until it ends; gives the final status info."""
    watch = Watch(client, job_id)
    screen = console()
    if quiet:
        return watch.end()
    if not screen.is_terminal:
        info: dict[str, Any] = {}
        for info in watch.states():
            screen.print(_safe(line(info)))
        return info
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("accepted", total=None)
        for info in watch.states():
            steps = info.get("steps") or {}
            said = f"{info.get('status')}  {_short(info.get('message'))}"
            progress.update(task, description=_safe(said), completed=steps.get("done", 0), total=steps.get("total"))
    screen.print(_safe(line(info)))
    return info


def _short(text: object, most: int = 60) -> str:
    words = " ".join(str(text or "").split())
    return words if len(words) <= most else words[: most - 1] + "…"


def line(info: Mapping[str, Any]) -> str:
    """A job's status in one line."""
    steps = info.get("steps") or {}
    parts = [str(info.get("jobID")), str(info.get("status"))]
    if steps.get("total"):
        parts.append(f"{steps.get('done', 0)}/{steps['total']} steps")
    if info.get("status") == "accepted" and (queue := info.get("queue")):
        parts.append(f"{queue.get('position')}. in line")
    if info.get("message"):
        parts.append(str(info["message"]))
    return "  ".join(parts)


def took(info: Mapping[str, Any]) -> str:
    """How long a job ran, or has been running; empty before its start."""
    started = info.get("started")
    if not started:
        return ""
    ended = info.get("finished")
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    seconds = max(0, int((until - datetime.fromisoformat(started)).total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def status(info: Mapping[str, Any]) -> None:
    """A job's status in full, on stdout."""
    steps = info.get("steps") or {}
    rows = [
        ("job", info.get("jobID")),
        ("status", info.get("status")),
        ("process", f"{info.get('processID')} (revision {info.get('revision', '?')})"),
        ("title", info.get("title")),
        ("tags", ", ".join(info.get("tags") or ())),
        ("platform", info.get("platform")),
        ("message", info.get("message")),
        ("attempt", info.get("attempt") if (info.get("attempt") or 1) > 1 else None),
        ("steps", f"{steps.get('done', 0)} of {steps.get('total') or '?'}" if steps else None),
        ("created", moment(info.get("created"))),
        ("started", moment(info.get("started"))),
        ("finished", moment(info.get("finished"))),
    ]
    for child in info.get("children") or ():
        rows.append(("child", "{jobID}  {status}  {step} on {platform}".format_map(child)))
    screen = console(stderr=False)
    for name, value in rows:
        if value:
            screen.print(f"[bold]{name:<9}[/] {_safe(value)}")
    if info.get("failure"):
        failed(info, stderr=False)


def failed(info: Mapping[str, Any], *, stderr: bool = True) -> None:
    """Why a job failed: the sentence, whose fault, the step, and the end of its log."""
    screen = console(stderr=stderr)
    failure = info.get("failure")
    if not failure:
        screen.print(f"[bold red]The job was {_safe(info.get('status'))}.[/]  {_safe(info.get('jobID'))}")
        return
    screen.print(f"[bold red]The job failed:[/] {_safe(failure.get('message'))}")
    fault = str(failure.get("fault"))
    screen.print(f"[bold]Whose fault:[/] {FAULTS.get(fault, fault)} ({_safe(failure.get('reason'))})")
    if failure.get("step"):
        code = failure.get("exitCode")
        screen.print(f"[bold]Step:[/] {_safe(failure['step'])}" + (f", exit code {code}" if code is not None else ""))
    tail = str(failure.get("logTail") or "").rstrip()
    if tail:
        screen.print("[bold]The end of its log:[/]")
        for text in tail.splitlines()[-20:]:
            screen.print(f"  {_safe(text)}")
    screen.print(f"[bold]More:[/] broker logs {_safe(info.get('jobID'))}")


def warnings(found: Iterable[str]) -> None:
    for one in found:
        console().print(f"[yellow]Note:[/] {_safe(one)}")


def practice(found: Sequence[Mapping[str, Any]]) -> None:
    """Where a package does not keep to the best practice for Earth observation (OGC 20-089r1), in full."""
    if not found:
        return
    console().print("[yellow]Best practice for EO application packages (OGC 20-089r1):[/]")
    for one in found:
        mark = "[red]not kept[/]" if one.get("severity") == "error" else "advised "
        place = f"{one.get('file')}:{one.get('line')}" if one.get("line") else str(one.get("file"))
        console().print(f"  {mark} {_safe(place)} {_safe(one.get('message'))} [dim]{_safe(one.get('rule'))}[/]")


def outputs(found: Mapping[str, Any]) -> None:
    """A CWL output object as a table on stdout: names, and values or the paths of files."""
    if not found:
        note("The package has no outputs.")
        return
    put_table(("OUTPUT", "VALUE", "SIZE"), _rows(found), folds=1)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for name, value in found.items():
        many = isinstance(value, list) and value and all(_is_data(one) for one in value)
        for one in value if many else [value]:
            if _is_data(one):
                yield name, _where(one), amount(one.get("size")) if one["class"] == "File" else "directory"
            else:
                yield name, one if isinstance(one, str) else json.dumps(one), ""


def _is_data(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class") in ("File", "Directory")


def _where(value: Mapping[str, Any]) -> str:
    path = value.get("path")
    if isinstance(path, str):
        local = Path(path)
        return str(local.relative_to(Path.cwd()) if local.is_relative_to(Path.cwd()) else local)
    return str(value.get("location") or value.get("basename"))


class Transfers:
    """Progress bars of files on their way, one line each while they move; nothing where nobody looks."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, name: object, done: int, total: int | None) -> None:
        if self.progress is None:
            return
        key = str(name)
        if key not in self.tasks:
            self.tasks[key] = self.progress.add_task(_safe(_short(Path(key).name, 40)), total=total)
        self.progress.update(self.tasks[key], completed=done, total=total)
        if done == total:
            self.progress.update(self.tasks[key], visible=False)


@contextmanager
def transfers(*, quiet: bool = False) -> Iterator[Transfers]:
    screen = console()
    if quiet or not screen.is_terminal:
        yield Transfers(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        yield Transfers(progress)
