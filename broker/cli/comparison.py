"""`broker comparison`: what the outputs of a job were compared with, and taking a comparison back."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from broker.cli.console import AsJson, Server, command, connect, moment, note, put_json, put_table
from broker.cli.jobids import meant

app = typer.Typer(name="comparison", no_args_is_help=True)
Job = Annotated[str, typer.Argument(metavar="JOB", help="The job whose outputs are compared.", show_default=False)]


@app.callback()
def comparison() -> None:
    """Comparisons of a job: list them, or take one back."""


@app.command("list")
@command
def listed(job: Job, server: Server = None, as_json: AsJson = False) -> None:
    """List what the outputs of a job were compared with, newest first.

    Example:

        broker comparison list last
    """
    with connect(server) as client:
        found = client.json("GET", f"/jobs/{quote(meant(client, job), safe='')}/comparisons")["comparisons"]
    if as_json:
        put_json(found)
        return
    rows = (
        (one["id"], moment(one["created"]), one["with"].get("id") or one["with"]["name"], said, one["message"])
        for one in found
        for said in [one.get("verdict") or one["state"]]
    )
    put_table(("COMPARISON", "ASKED FOR", "WITH", "VERDICT", "IN WORDS"), rows)


@app.command()
@command
def withdraw(
    job: Job,
    which: Annotated[
        str | None, typer.Option("--id", help="The comparison. Default: the newest one.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Take back a comparison that is not made yet.

    Example:

        broker comparison withdraw last
    """
    with connect(server) as client:
        path = f"/jobs/{quote(meant(client, job), safe='')}/comparison"
        found = client.json("DELETE", path, params={"id": which} if which else {})
    if as_json:
        put_json(found)
    else:
        note(f"{found['id']}: {found['state']}: {found['message']}")
