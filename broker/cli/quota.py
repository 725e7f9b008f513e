"""`broker quota`: what you may have, have, and have left; operators set the quotas of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.console import AsJson, Server, amount, command, connect, note, put_json, put_table
from broker.cli.problems import UsageError

app = typer.Typer(name="quota", no_args_is_help=False)
WORDS = {
    "queued": "jobs that wait",
    "running": "jobs that run",
    "cpu_hours": "CPU-hours this month",
    "storage_bytes": "results and uploads",
    "scatter_width": "runs of one scattered step",
    "results_days": "days until results are deleted",
    "logs_days": "days until logs are deleted",
    "uploads_days": "days until uploads are deleted",
}


class Kind(StrEnum):
    person = "person"
    project = "project"
    delegate = "delegate"


Of = Annotated[Kind, typer.Argument(help="Whose quota.", show_default=False)]
Subject = Annotated[
    str, typer.Argument(metavar="ID", help="Of the person or project; the delegate's name.", show_default=False)
]


@app.callback(invoke_without_command=True)
@command
def quota(ctx: typer.Context, server: Server = None, as_json: AsJson = False) -> None:
    """Say what you may have here, have, and have left; operators set the quotas of others.

    Example:

        broker quota
    """
    if ctx.invoked_subcommand is None:
        _show(None, None, everybody=False, server=server, as_json=as_json)


@app.command()
@command
def show(
    kind: Annotated[Kind | None, typer.Argument(help="As an operator: whose quota.", show_default=False)] = None,
    subject: Annotated[str | None, typer.Argument(metavar="[ID]", help="Of which one.", show_default=False)] = None,
    everybody: Annotated[bool, typer.Option("--all", help="As an operator: defaults, and all that were set.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show your quotas and those of your projects: used, allowed, and the months before.

    Example:

        broker quota show
    """
    _show(kind, subject, everybody=everybody, server=server, as_json=as_json)


def _show(kind: Kind | None, subject: str | None, *, everybody: bool, server: str | None, as_json: bool) -> None:
    if (kind is None) != (subject is None):
        raise UsageError("Whose quota?", hint="Write: broker quota show person ID")
    with connect(server) as client:
        if everybody:
            found = client.json("GET", "/quotas")
        elif kind is not None and subject is not None:
            found = {"quotas": [client.json("GET", _path(kind, subject))]}
        else:
            found = client.json("GET", "/quota")
    if as_json:
        put_json(found)
    elif everybody:
        rows = [(f"every {name}", "", _said(limits)) for name, limits in found["defaults"].items()]
        rows += [(one["kind"], one["subject"], _said(one["limits"])) for one in found["quotas"]]
        put_table(("WHOSE", "ID", "LIMITS"), rows)
    else:
        put_table(("WHOSE", "WHAT", "USED", "OF", "LEFT"), (row for one in found["quotas"] for row in _rows(one)))


def _rows(one: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    limits, used, left = one["limits"], one["used"], one["left"]
    for name, words in WORDS.items():
        if name in used or name in limits:
            shown = (_value(name, some.get(name)) for some in (used, limits, left))
            yield (f"{one['kind']} {one['subject']}", words, *shown)
    for month in one["months"][:3]:
        told = f"{month['jobs']} jobs, {month['cpu_hours']:g} CPU-hours ({month['measured_cpu_hours']:g} measured)"
        yield f"{one['kind']} {one['subject']}", f"in {month['month']}", told, "", ""


def _value(name: str, value: object) -> str:
    if value is None:
        return ""
    return amount(value) if name == "storage_bytes" else f"{value:g}" if isinstance(value, float) else str(value)


def _said(limits: Mapping[str, Any]) -> str:
    return ", ".join(f"{_value(name, value)} {WORDS[name]}" for name, value in limits.items()) or "no limits"


@app.command("set")
@command
def put(
    kind: Of,
    subject: Subject,
    queued: Annotated[int | None, typer.Option(min=0, help="Jobs that wait.", show_default=False)] = None,
    running: Annotated[int | None, typer.Option(min=0, help="Jobs that run.", show_default=False)] = None,
    cpu_hours: Annotated[float | None, typer.Option(min=0, help="CPU-hours a month.", show_default=False)] = None,
    storage_bytes: Annotated[
        int | None, typer.Option(min=0, help="Bytes of results and uploads.", show_default=False)
    ] = None,
    scatter_width: Annotated[
        int | None, typer.Option(min=0, help="Runs of one scattered step.", show_default=False)
    ] = None,
    results_days: Annotated[
        float | None, typer.Option(min=0, help="Days until results are deleted.", show_default=False)
    ] = None,
    logs_days: Annotated[
        float | None, typer.Option(min=0, help="Days until logs are deleted.", show_default=False)
    ] = None,
    uploads_days: Annotated[
        float | None, typer.Option(min=0, help="Days until new uploads are deleted.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """As an operator: set limits of one person, project or delegate; what is not named stays as it was.

    Example:

        broker quota set person 0199c8a4-… --running 8 --cpu-hours 500
    """
    given = {
        "queued": queued,
        "running": running,
        "cpu_hours": cpu_hours,
        "storage_bytes": storage_bytes,
        "scatter_width": scatter_width,
        "results_days": results_days,
        "logs_days": logs_days,
        "uploads_days": uploads_days,
    }
    new = {name: value for name, value in given.items() if value is not None}
    if not new:
        raise UsageError("No limit is named.", hint="Name one: --queued 100, --running 4, …")
    with connect(server) as client:
        own = client.json("GET", "/quotas")["quotas"]
        old: dict[str, Any] = next(
            (one["limits"] for one in own if (one["kind"], one["subject"]) == (kind.value, subject)), {}
        )
        found = client.json("PUT", _path(kind, subject), json=old | new)
    if as_json:
        put_json(found)
    else:
        note(f"{kind.value} {subject}: {_said(found['limits'])}")


@app.command()
@command
def unset(kind: Of, subject: Subject, server: Server = None, as_json: AsJson = False) -> None:
    """As an operator: take away the limits that were set for one of them; the defaults count again.

    Example:

        broker quota unset person 0199c8a4-…
    """
    with connect(server) as client:
        client.request("DELETE", _path(kind, subject))
    if as_json:
        put_json({"kind": kind.value, "subject": subject, "limits": None})
    else:
        note(f"{kind.value} {subject}: the defaults count.")


def _path(kind: Kind, subject: str) -> str:
    return f"/quotas/{kind.value}/{quote(subject, safe='')}"
