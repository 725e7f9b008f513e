"""`broker callback`: what the subscribers of your jobs were told, and the secret that signs it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.console import AsJson, Server, command, connect, moment, note, put_json, put_table
from broker.cli.jobids import meant
from broker.cli.jobs import JobId

app = typer.Typer(name="callback", no_args_is_help=True)


@app.callback()
def callback() -> None:
    """Callbacks: what the subscribers of your jobs were told, and the secret that signs it.

    A subscriber is named in the execute request: subscriber: {successUri, inProgressUri, failedUri}.
    """


@app.command("list")
@command
def shown(job: JobId, server: Server = None, as_json: AsJson = False) -> None:
    """Say what became of the callbacks of a job.

    Example:

        broker callback list last
    """
    with connect(server) as client:
        found = client.json("GET", _path(meant(client, job)))["callbacks"]
    if as_json:
        put_json(found)
        return
    rows = ((one["kind"], one["state"], one["tries"], moment(one["updated"]), one["uri"], _why(one)) for one in found)
    put_table(("KIND", "STATE", "TRIES", "LAST", "ADDRESS", "NOTE"), rows)


@app.command()
@command
def repeat(job: JobId, server: Server = None, as_json: AsJson = False) -> None:
    """Send the callbacks of a job that were given up once more.

    Example:

        broker callback repeat last
    """
    with connect(server) as client:
        job = meant(client, job)
        found = client.json("POST", _path(job))["callbacks"]
    if as_json:
        put_json(found)
        return
    waiting = sum(one["state"] in ("pending", "queued") for one in found)
    note(f"{waiting} to be delivered. See: broker callback list {job}")


@app.command()
@command
def secret(
    new: Annotated[bool, typer.Option("--new", help="Make another one; for a day both sign.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Print the secret that signs the callbacks of your jobs.

    Example:

        broker callback secret > callback.secret
    """
    with connect(server) as client:
        found = client.json("POST" if new else "GET", "/callbacks/secret")
    if as_json:
        put_json(found)
    else:
        print(found["secret"])


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}/callbacks"


def _why(one: dict[str, Any]) -> str:
    """Why it was not taken, and when it is tried next."""
    due = f"Next try: {moment(one['due'])}." if one.get("due") and one["tries"] else ""
    return f"{one.get('message', '')} {due}".strip()
