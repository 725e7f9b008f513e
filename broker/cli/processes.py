"""`broker processes` and `broker undeploy`."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.cli.console import AsJson, Server, command, connect, note, put_json, put_table

app = typer.Typer()


@app.command()
@command
def processes(
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most.", show_default=False)] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List what can be run.

    Example:

        broker processes
    """
    with connect(server) as client:
        found = list(client.processes(limit))
    if as_json:
        put_json(found)
        return
    put_table(
        ("PROCESS", "VERSION", "TITLE"),
        ((one["id"], one.get("version"), one.get("title")) for one in found),
    )


@app.command()
@command
def undeploy(
    process: Annotated[str, typer.Argument(metavar="PROCESS-ID", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Take a process away; its jobs stay.

    Example:

        broker undeploy water-bodies
    """
    with connect(server) as client:
        client.undeploy(process)
    if as_json:
        put_json({"id": process, "action": "undeployed"})
    else:
        note(f"Undeployed {process}.")
