"""`broker publications` and `broker publication`: what was published, and what people do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.console import AsJson, Server, command, connect, moment, note, plain, put_json, put_table
from broker.cli.jobids import meant
from broker.cli.problems import FAILED
from broker.cli.publish import THERE, bundled, follow

app = typer.Typer()
group = typer.Typer(name="publication", no_args_is_help=True)
app.add_typer(group)
Id = Annotated[str, typer.Argument(metavar="PUBLICATION", help="Its id.", show_default=False)]


@group.callback()
def publication() -> None:
    """A publication: what became of it, and what people do with it."""


@group.command("list")
@app.command("publications")
@command
def publications(
    job: Annotated[str | None, typer.Option(help="Of this job only.", show_default=False)] = None,
    state: Annotated[str | None, typer.Option(help="In this state only.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List publications, newest first.

    Example:

        broker publications --state awaiting-approval
    """
    with connect(server) as client:
        which = {"job": meant(client, job) if job else None, "state": state, "limit": limit}
        found = list(client.pages("/publications", "publications", which, limit))
    if as_json:
        put_json(found)
        return
    rows = ((one["id"], one["target"], one["state"], moment(one["created"]), one["title"]) for one in found)
    put_table(("PUBLICATION", "TARGET", "STATE", "ASKED FOR", "TITLE"), rows)


@group.command()
@command
def targets(server: Server = None, as_json: AsJson = False) -> None:
    """List where this broker publishes.

    Example:

        broker publication targets
    """
    with connect(server) as client:
        found = client.json("GET", "/targets")["targets"]
    if as_json:
        put_json(found)
        return
    rows = ((one["name"], one["takes"], one["kind"], "test" if one["test"] else "", one["title"]) for one in found)
    put_table(("TARGET", "TAKES", "KIND", "", "WHAT IT IS"), rows)


@group.command()
@command
def show(
    publication: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is published or proposed.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of a publication, and what happened to it when.

    Example:

        broker publication show 0199c8a4-… --wait
    """
    with connect(server) as client:
        if wait:
            follow(client, publication, quiet=as_json)
        found = client.json("GET", _path(publication))
    if as_json:
        put_json(found)
    else:
        note(f"{found['title']} to {found['target']}: {found['state']}")
        for link in found["links"]:
            if link["rel"] == "item":
                print(plain(link["href"]))
        put_table(("WHEN", "STATE", "WHAT"), ((moment(e["at"]), e["state"], e["message"]) for e in found["events"]))
    if wait and found["state"] not in THERE:
        raise typer.Exit(FAILED)


@group.command()
@command
def approve(
    publication: Id,
    shown: Annotated[
        str | None, typer.Option(help="Only to this: the digest that came with the diff.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Agree to a publication that waits for it: a technical officer of the project, or a maintainer.

    What is sent then is what it brings now; where that changes, somebody is asked again.

    Example:

        broker publication approve 0199c8a4-…
    """
    _do(server, publication, f"approve?shown={quote(shown, safe='')}" if shown else "approve", as_json)


@group.command()
@command
def reject(
    publication: Id,
    reason: Annotated[str, typer.Option(help="What who asked for it reads.", prompt="Why")],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a publication that waits for agreement.

    Example:

        broker publication reject 0199c8a4-… --reason "The title names another lake."
    """
    _do(server, publication, "reject", as_json, {"reason": reason})


@group.command()
@command
def retry(publication: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Try a failed publication again, or look now at one that waits.

    Example:

        broker publication retry 0199c8a4-…
    """
    _do(server, publication, "retry", as_json)


@group.command()
@command
def promote(publication: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Publish in the live catalog what is in its test catalog.

    Example:

        broker publication promote 0199c8a4-…
    """
    _do(server, publication, "promote", as_json)


@group.command()
@command
def withdraw(publication: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Take a publication back that is not there for good: what is, is corrected by another one (--set previous=ID).

    Example:

        broker publication withdraw 0199c8a4-…
    """
    with connect(server) as client:
        _said(client.json("DELETE", _path(publication)), as_json)


@group.command()
@command
def diff(publication: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Print what a publication still changes in its catalog, as a unified diff.

    Example:

        broker publication diff 0199c8a4-…
    """
    with connect(server) as client:
        answer = client.request("GET", _path(publication, "diff"), headers={"Accept": "*/*"})
    digest = answer.headers.get("ETag", "").strip('"')
    if as_json:
        put_json({"diff": answer.text} | ({"shown": digest} if digest else {}))
    else:
        print(plain(answer.text), end="")  # the catalog is written by strangers
        if digest:
            note(f"Agree to exactly this: broker publication approve {publication} --shown {digest}")


@group.command()
@command
def bundle(
    publication: Id,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write. Default: PUBLICATION.zip here.", show_default=False),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Bring a publication as a zip, for who proposes it, or asks for a collection, by hand.

    Example:

        broker publication bundle 0199c8a4-… -o records.zip
    """
    with connect(server) as client:
        answer = client.request("GET", _path(publication, "bundle"), headers={"Accept": "*/*"})
        bundled(answer, output or Path(f"{publication}.zip"), as_json)


def _path(publication: str, *parts: str) -> str:
    return "/".join(["/publications", *(quote(part, safe="") for part in (publication, *parts))])


def _do(server: str | None, publication: str, verb: str, as_json: bool, body: dict[str, Any] | None = None) -> None:
    with connect(server) as client:
        _said(client.json("POST", f"{_path(publication)}/{verb}", json=body or {}), as_json)


def _said(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        put_json(found)
    else:
        note(f"{found['id']}: {found['target']}: {found['state']}: {found['message']}")
