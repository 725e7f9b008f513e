"""`broker upload`: files that lie at the broker, for jobs to take as inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from broker.cli import outcome
from broker.cli.console import AsJson, Server, amount, command, connect, moment, note, put_json, put_table
from broker.cli.problems import UsageError
from broker.cli.uploads import Uploader

app = typer.Typer(name="upload", no_args_is_help=True)


@app.callback()
def upload() -> None:
    """Uploads: files that lie at the broker, for jobs to take as inputs.

    `broker run` brings files along by itself; this is for those that several runs, other people (broker share upload)
    or the forms of the pages take.
    """


@app.command()
@command
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Send files; prints the link of each, to give as an input. What breaks off goes on where it was.

    Example:

        broker upload add scene.tif
    """
    for one in files:
        if not one.is_file():
            what = "is a directory: broker run -i NAME=@DIRECTORY sends one" if one.is_dir() else "is not there"
            raise UsageError(f"{one} {what}.")
    with connect(server) as client, outcome.transfers(quiet=as_json) as shown:
        send = Uploader(client, shown)
        made = [(one, send(one, one.name)) for one in files]
    if as_json:
        put_json([{"file": str(one), "href": href} for one, href in made])
        return
    for _, href in made:
        print(href)


@app.command("list")
@command
def listed(
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most.", show_default=False)] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List your uploads.

    Example:

        broker upload list
    """
    with connect(server) as client:
        found = list(client.pages("/uploads", "uploads", {}, limit))
    if as_json:
        put_json(found)
        return
    rows = (
        (
            one["id"],
            one["name"],
            amount(one["received"]),
            moment(one["expires"]),
            "" if one["complete"] else "unfinished",
        )
        for one in found
    )
    put_table(("UPLOAD", "FILE", "SIZE", "DELETED AFTER", "NOTE"), rows)


@app.command()
@command
def remove(
    name: Annotated[str, typer.Argument(metavar="UPLOAD", help="Its id or its link.", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Delete an upload. A job that has not fetched it yet then fails.

    Example:

        broker upload remove https://broker.example/uploads/01a2...
    """
    row = name.rstrip("/").rpartition("/")[2]
    with connect(server) as client:
        client.request("DELETE", f"/uploads/{quote(row, safe='')}")
    if as_json:
        put_json({"id": row, "removed": True})
    else:
        note(f"Deleted the upload {row}.")
