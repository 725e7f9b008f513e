"""`broker jobs`, `status`, `logs`, `results` and `dismiss`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli import outcome, problems
from broker.cli.client import DONE, Client
from broker.cli.console import AsJson, Server, command, connect, moment, note, put_json, put_table
from broker.cli.jobids import meant
from broker.cli.logtext import LogText
from broker.cli.results import bring
from broker.cli.watch import Watch, log_news
from broker.errors import JobFailed

app = typer.Typer()
PATIENCE = 120.0  # seconds that a broker may be away while we follow a job

JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="The job's id, 6 or more characters of it, or: last.", show_default=False),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")]


@app.command()
@command
def jobs(
    status: Annotated[
        str | None,
        typer.Option(help="Only accepted, running, successful, failed or dismissed ones.", show_default=False),
    ] = None,
    process: Annotated[str | None, typer.Option(help="Only those of this process.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.", show_default=False)] = None,
    project: Annotated[
        str | None, typer.Option(help="Those that are shared with this project, whoever's.", show_default=False)
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Those that everybody sees.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List your jobs, newest first.

    Example:

        broker jobs --status failed --process water-bodies
    """
    with connect(server) as client:
        shared = {"project": project, "public": "true" if public else None}
        found = list(client.jobs(limit=limit, status=status, processID=process, tag=tag, **shared))
    if as_json:
        put_json(found)
        return
    rows = (
        (
            one["jobID"],
            one["status"],
            f"{one['progress']} %" if "progress" in one else "",
            one.get("processID"),
            moment(one.get("created")),
            outcome.took(one),
            one.get("title") or ", ".join(one.get("tags") or ()),
            _note(one),
        )
        for one in found
    )
    put_table(("JOB", "STATUS", "DONE", "PROCESS", "CREATED", "TOOK", "TITLE", "NOTE"), rows)
    if len(found) == limit:
        note(f"There may be more: broker jobs --limit {limit * 5}")


def _note(one: Mapping[str, Any]) -> str:
    """What it waits for, why it failed, that its results are gone."""
    failure = one.get("failure")
    return " ".join(str(failure["message"] if failure else one.get("message") or "").split())


@app.command()
@command
def status(job: JobId, follow: Follow = False, server: Server = None, as_json: AsJson = False) -> None:
    """Say how a job is doing.

    With --follow the exit code is 1 if the job does not succeed.

    Example:

        broker status -f last
    """
    with connect(server) as client:
        job = meant(client, job)
        if not follow:
            info = client.job(job)
        else:
            client.job(job)  # a broker that is not there is told at once
            client.patience = PATIENCE
            info = outcome.follow(client, job, quiet=as_json)
    if as_json:
        put_json(info)
    else:
        outcome.status(info)
    if follow and info["status"] != "successful":
        raise typer.Exit(problems.FAILED)


@app.command()
@command
def logs(
    job: JobId,
    follow: Follow = False,
    step: Annotated[
        str | None, typer.Option(help="Only what this step wrote, all its scattered runs.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Print what the steps of a job wrote.

    Where another step begins to write, a line names it; runs of a scattered step are called step, step_2, step_3 …

    With --json each piece of the log is one line.

    Example:

        broker logs -f last --step crop
    """
    with connect(server) as client:
        job = meant(client, job)
        text = LogText(client, job, step, as_json)
        if follow:
            client.job(job)
            client.patience = PATIENCE
        for page in _growing(client, job) if follow else log_news(client, job):
            text.page(page)
        text.end()


def _growing(client: Client, job: str) -> Iterator[dict[str, Any]]:
    """The log's pages as they come, until the job has ended."""
    after = 0
    for info in Watch(client, job).beats():
        for page in log_news(client, job, after):
            after = page["cursor"]
            yield page
        if info["status"] in DONE:
            return


@app.command()
@command
def results(
    job: JobId,
    download: Annotated[
        Path | None, typer.Option("--download", "-d", metavar="DIR", help="Bring the files here.", show_default=False)
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them for good; the job's status, logs and history stay.")
    ] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a job, download them, or delete them.

    A download that broke off goes on where it was when it is asked for again; every file is verified (sha256).

    Example:

        broker results last --download results
    """
    if delete:
        _delete_results(job, download, server, as_json=as_json)
        return
    with connect(server) as client:
        job = meant(client, job)
        try:
            found = client.output_object(job)
        except JobFailed as error:
            error.hint = error.hint or f"See: broker status {job}   broker logs {job}"
            raise
        if download is not None:
            client.patience = PATIENCE
            found = bring(client, job, found, download, quiet=as_json)
    if as_json:
        put_json(found)
        return
    outcome.outputs(found)
    if download is not None:
        note(f"The results are in {download}")


def _delete_results(job: str, download: Path | None, server: str | None, *, as_json: bool) -> None:
    if download is not None:
        raise problems.UsageError("Either --download or --delete.", hint="Download first, look, then delete.")
    with connect(server) as client:
        info = client.delete_results(meant(client, job))
    if as_json:
        put_json(info)
    else:
        note(info["message"])


@app.command()
@command
def dismiss(job: JobId, server: Server = None, as_json: AsJson = False) -> None:
    """Stop a job.

    Example:

        broker dismiss 0199c8a4-…
    """
    with connect(server) as client:
        info = client.dismiss(meant(client, job))
    if as_json:
        put_json(info)
    else:
        note(outcome.line(info))
