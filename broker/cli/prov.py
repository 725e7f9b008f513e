"""`broker prov` and `broker crate`: where the results of a job come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from broker.cli.console import AsJson, Server, command, connect, note, put_json
from broker.cli.jobids import meant
from broker.cli.jobs import JobId

app = typer.Typer()
FORMATS = ("json", "provn", "xml", "jsonld", "ttl", "nt", "crate", "record", "svg")


@app.command()
@command
def prov(
    job: JobId,
    notation: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.", metavar="FORMAT")] = "json",
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Print the provenance of a job that has ended, also of one that failed.

    The formats are those of PROV (json, provn, xml, jsonld, ttl, nt); crate: the metadata of the run crate; record: the
    broker's own record, as with --json; svg: a picture.

    Example:

        broker prov last --format provn
    """
    with connect(server) as client:
        path = f"/jobs/{quote(meant(client, job), safe='')}/prov"
        wanted = "record" if as_json else notation
        with client.request("GET", path, params={"f": wanted}, headers={"Accept": "*/*"}) as answer:
            print(answer.content.decode().rstrip("\n"))


@app.command()
@command
def crate(
    job: JobId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write. Default: run-JOB.crate.zip here.", show_default=False),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Bring the run crate of a job: the package as it was run, and the record of where its results come from.

    It is a zip, and holds no data: inputs and outputs stay where they are.

    Example:

        broker crate last -o water.crate.zip
    """
    with connect(server) as client:
        job = meant(client, job)
        target = output or Path(f"run-{job}.crate.zip")
        with client.request("GET", f"/jobs/{quote(job, safe='')}/crate", headers={"Accept": "*/*"}) as answer:
            target.write_bytes(answer.content)
    if as_json:
        put_json({"path": str(target), "size": target.stat().st_size})
    else:
        note(f"Wrote {target}")
