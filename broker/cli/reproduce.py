"""`broker reproduce`: an experiment that somebody published is run again, and what it makes is compared."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli import joborder, outcome
from broker.cli.client import Client
from broker.cli.compare import DIFFERENT, Tolerances, awaited, tell, tolerance_of
from broker.cli.console import AsJson, Server, command, connect, note, put_json, put_table
from broker.cli.jobids import meant
from broker.cli.problems import FAILED, UsageError
from broker.cli.submit import described_converter, request
from broker.cli.uploads import Uploader
from broker.errors import NoSuchComparison

app = typer.Typer()
PATIENCE = 120.0  # seconds that a broker may be away while we wait for a job
MOST_BYTES = 2**20  # of a file beside a record
MOST_FILES = 50
RECORD = "record.json"
Which = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="The address of its record, its id in a catalog that the broker knows, a record or its directory in a "
        "catalog here, or a job.",
        show_default=False,
    ),
]


@app.command()
@command
def reproduce(
    experiment: Which,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="NAME=VALUE",
            help="An input in the place of the published one.",
            show_default=False,
        ),
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Where to run it.", show_default=False)] = None,
    title: Annotated[str | None, typer.Option(help="A title for the job.", show_default=False)] = None,
    tolerance: Tolerances = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what was found, and what is in the way.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the verdict.")] = True,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment again from what was published of it, and compare what it makes with what was published.

    The exit code says the verdict: 0 where all outputs are identical or equivalent within the tolerance, 1 where one
    differs, or where the experiment cannot be run.

    Example:

        broker reproduce https://esa-earthcode.github.io/open-science-catalog-metadata/experiments/ID/record.json

        broker reproduce ./open-science-catalog-metadata/experiments/ID --check

        broker reproduce last --platform hpc --tolerance relative=1e-4
    """
    order = joborder.read(None, settings or (), stdin=sys.stdin.read)
    wanted = tolerance_of(tolerance or ())
    with connect(server) as client:
        body = {**published(client, experiment), "tolerance": wanted.to_json()}
        with outcome.transfers(quiet=as_json) as shown:
            sent = described_converter(order, Uploader(client, shown), {}).inputs()
        body |= request(order, sent, title=title, platform=platform)
        if check:
            _checked(client.json("POST", "/reproductions", params={"check": "true"}, json=body), as_json)
            return
        info = client.reproduce(body, key=str(uuid.uuid4()))
        job_id = str(info["jobID"])
        if not wait:
            put_json(info) if as_json else print(job_id)
            return
        client.patience = PATIENCE
        info = outcome.follow(client, job_id, quiet=as_json)
        if info["status"] != "successful":
            put_json(info) if as_json else outcome.failed(info)
            raise typer.Exit(FAILED)
        _compared(client, job_id, as_json)


def published(client: Client, experiment: str) -> dict[str, Any]:
    """The members of a request that name an experiment; what lies here is sent along. Raises UsageError."""
    here = Path(experiment)
    if here.is_dir():
        here /= RECORD
    if here.is_file():
        files = dict(_beside(here.resolve()))
        return {"experiment": next(iter(files)), "files": files}
    if experiment.startswith(("http://", "https://")):
        return {"experiment": experiment}
    if here.suffix or "/" in experiment:
        raise UsageError(f"There is no file {experiment}.", hint="Name a record, or the directory of one.")
    return {"experiment": meant(client, experiment)}


def _beside(record: Path) -> Iterator[tuple[str, str]]:
    """Path in the catalog and text of an experiment's record, of what lies beside it, and of its workflow."""
    try:
        properties = json.loads(record.read_text("utf-8")).get("properties", {})
        workflow = str(properties.get("osc:workflow", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{record} is no record of an experiment: {error}") from None
    yield from _texts(record.parent, f"experiments/{record.parent.name}")
    folder = record.parents[2] / "workflows" / Path(workflow).name
    if workflow and folder.is_dir():
        yield from _texts(folder, f"workflows/{folder.name}")


def _texts(folder: Path, path: str) -> Iterator[tuple[str, str]]:
    """The files of an entry, its record first."""
    files = sorted((one for one in folder.iterdir() if one.is_file()), key=lambda one: (one.name != RECORD, one.name))
    for one in files[: MOST_FILES // 2]:
        if one.name[0] != "." and one.stat().st_size <= MOST_BYTES:
            yield f"{path}/{one.name}", one.read_text("utf-8", "replace")


def _checked(found: Mapping[str, Any], as_json: bool) -> None:
    """What a check found. Raises typer.Exit where it cannot be run."""
    if as_json:
        put_json(found)
    else:
        for one in found["findings"]:
            note(f"{one['level']}: {one['message']}" + (f" {one['advice']}" if "advice" in one else ""))
        facts = {"runs": found.get("processID") or "a package that is not here yet", "on": found.get("platform")}
        facts |= {"inputs": ", ".join(found["inputs"]) or None, "outputs to compare": len(found["outputs"]) or None}
        put_table(("WHAT", "FOUND"), [(name, value) for name, value in facts.items() if value])
        note("It can be run again." if found["runnable"] else "It cannot be run again as it is.")
    if not found["runnable"]:
        raise typer.Exit(FAILED)


def _compared(client: Client, job_id: str, as_json: bool) -> None:
    """The verdict. Raises typer.Exit where an output differs."""
    try:
        comparison = client.json("GET", f"/jobs/{job_id}/comparison")
    except NoSuchComparison:
        put_json({"jobID": job_id}) if as_json else note("It ran, but nothing was published to compare it with.")
        return
    report = awaited(client, job_id, comparison["id"])
    if as_json:
        put_json({"jobID": job_id, **report})
    else:
        tell(report)
        note(f"The report: {client.url(f'/jobs/{job_id}/comparison?f=html')}")
    if report["verdict"] == "different":
        raise typer.Exit(DIFFERENT)
