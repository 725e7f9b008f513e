"""`broker share`: show a process, a job or an upload to a project, to everybody, or to nobody."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from broker.cli.console import AsJson, Server, command, connect, note, put_json
from broker.cli.jobids import meant

app = typer.Typer()
NOBODY, EVERYBODY = "nobody", "public"


class Kind(StrEnum):
    """What can be shared."""

    PROCESS = "process"
    JOB = "job"
    UPLOAD = "upload"


@app.command()
@command
def share(
    kind: Annotated[Kind, typer.Argument(help="What is shared.", show_default=False)],
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="Its id; of a job also a part of it, or: last.", show_default=False),
    ],
    whom: Annotated[
        str | None,
        typer.Option("--with", metavar="PROJECT|public|nobody", help="Default: say how it is.", show_default=False),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show a process, a job or an upload to a project, to everybody, or to nobody.

    The members of a project see a job with its inputs, results and logs, and execute a process. Its maintainers may
    change it too.

    Example:

        broker share job last --with water-quality

        broker share process water-bodies --with public
    """
    with connect(server) as client:
        row = meant(client, name) if kind is Kind.JOB else name.rstrip("/").rpartition("/")[2]
        found = client.sharing(kind.value, row) if whom is None else client.share(kind.value, row, _body(whom))
    if as_json:
        put_json(found)
        return
    note(f"The {kind.value} {row} is {_words(found)}.")


def _body(whom: str) -> dict[str, Any]:
    if whom == NOBODY:
        return {"shared": "private"}
    return {"shared": "public"} if whom == EVERYBODY else {"shared": "project", "project": whom}


def _words(found: dict[str, Any]) -> str:
    if found["shared"] == "project":
        return f"shared with the project {found['project']}"
    return "public: everybody sees it" if found["shared"] == "public" else "private: only you see it"
