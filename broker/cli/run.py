"""`broker run`: a package and a job order as they are on disk, to results on disk."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli import joborder, outcome, problems
from broker.cli.client import Client, link_unit
from broker.cli.console import AsJson, Root, Server, command, connect, note, put_json
from broker.cli.joborder import JobOrder
from broker.cli.misfits import explained
from broker.cli.package import LocalPackage
from broker.cli.package import load as load_package
from broker.cli.problems import UsageError
from broker.cli.reproduce import published
from broker.cli.results import bring
from broker.cli.submit import converter, described, described_converter, ensure, request
from broker.cli.uploads import Uploader
from broker.errors import DuplicatedProcess

app = typer.Typer()
PATIENCE = 120.0  # seconds that a broker may be away while we wait for a job

Package = Annotated[
    str,
    typer.Argument(
        metavar="PACKAGE|PROCESS-ID",
        help="A CWL file (#name picks a process of it), an https link to one, or the id of a deployed process.",
        show_default=False,
    ),
]
Inputs = Annotated[
    str | None,
    typer.Argument(
        metavar="[INPUTS]",
        help="A cwltool job order or an OGC execute request, YAML or JSON; - reads the standard input.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="NAME=VALUE",
        help="One input; wins over the file. @PATH is a file or directory. Repeat a name for an array.",
        show_default=False,
    ),
]

Subscriber = Annotated[
    list[str] | None,
    typer.Option(
        "--subscriber",
        metavar="[success|failed|progress=]URL",
        help="Tell this address when the job ends (with nothing before it), or only of that; repeatable.",
        show_default=False,
    ),
]
Reuse = Annotated[
    bool | None,
    typer.Option(
        "--reuse/--no-reuse",
        help="Take results of an earlier job (or of its steps) that computed the same, and keep these for later ones.",
        envvar="BROKER_REUSE",
        show_default=False,
    ),
]
TOLD = {"success": "successUri", "failed": "failedUri", "progress": "inProgressUri"}


@app.command()
@command
def run(
    package: Package,
    inputs: Inputs = None,
    settings: Settings = None,
    outdir: Annotated[
        Path | None,
        typer.Option("--outdir", "-o", help="Where results go. Default: ./<process>-<job>/.", show_default=False),
    ] = None,
    process_id: Annotated[
        str | None, typer.Option("--id", help="Deploy the package under this id.", show_default=False)
    ] = None,
    title: Annotated[str | None, typer.Option(help="A title for the job.", show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find the job by; repeatable.")] = None,
    platform: Annotated[str | None, typer.Option(help="Where to run it.", show_default=False)] = None,
    project: Annotated[
        str | None,
        typer.Option(help="The project to run it for, at its expense.", envvar="BROKER_PROJECT", show_default=False),
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Share the job with the project.")] = False,
    subscriber: Subscriber = None,
    reuse: Reuse = None,
    experiment: Annotated[
        bool, typer.Option("--experiment", help="PACKAGE names an experiment: run it, on other inputs where given.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job to end.")] = True,
    download: Annotated[bool, typer.Option("--download/--no-download", help="Bring the results here.")] = True,
    root: Root = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Run a package with a job order, and bring the results here.

    Local files that the job order names are sent along, with their secondary files; directories too. A package that
    is not deployed yet is deployed; one that has changed is replaced, and jobs that run already keep what they have.

    Example:

        broker run workflows/water-bodies/package.cwl workflows/water-bodies/inputs.yml

        broker run water-bodies inputs.yml -i threshold=0.3 --tag trial --outdir results

        broker run water-bodies inputs.yml --no-wait --subscriber https://portal.example/done

        broker run --experiment https://catalog.example/experiments/ID/record.json -i threshold=0.3
    """
    order, told = joborder.read(inputs, settings or (), stdin=sys.stdin.read), _told(subscriber or ())
    local = None if experiment else _local(package, order, root)
    with connect(server) as client:
        client.act_in(project)
        name = "" if experiment else _deployed(client, package, local, process_id, quiet=as_json)
        with outcome.transfers(quiet=as_json) as shown:
            upload = Uploader(client, shown)
            if local is not None:
                sent = converter(order, upload, local).inputs()
            else:
                sent = described_converter(order, upload, described(client, name) if name else {}).inputs()
        shared = "project" if share else None
        body = request(
            order,
            sent,
            title=title,
            tags=tag or (),
            platform=platform,
            shared=shared,
            subscriber=told,
            reuse=reuse,
        )
        with explained(order):
            if experiment:
                body |= published(client, package)
                info = client.reproduce(body, key=str(uuid.uuid4()))
            else:
                info = client.execute(name, body, key=str(uuid.uuid4()))
        job_id = info["jobID"]
        if not wait:
            _submitted(info, as_json)
            return
        client.patience = PATIENCE
        info = _followed(client, job_id, quiet=as_json)
        if info["status"] != "successful":
            _failed(info, as_json)
        if info.get("reusedFrom") and not as_json:
            note(info["message"])
        _results(client, str(info["processID"]), info, outdir, download=download, as_json=as_json)


def _told(subscriber: Sequence[str]) -> dict[str, str]:
    """The member `subscriber` of the execute request. Raises UsageError."""
    found: dict[str, str] = {}
    for text in subscriber:
        kind, equals, uri = text.partition("=")
        if not equals or "://" in kind:
            found |= {TOLD["success"]: text, TOLD["failed"]: text}
        elif kind in TOLD:
            found[TOLD[kind]] = uri
        else:
            raise UsageError(f"--subscriber {text}: {kind} is none of {', '.join(TOLD)}.")
    return found


def _local(package: str, order: JobOrder, root: Path | None) -> LocalPackage | None:
    """The package if it is a file here. Raises what `package.load` raises."""
    path = package.partition("#")[0]
    looks_like_file = Path(path).is_file() or path.endswith((".cwl", ".yml", ".yaml", ".json")) or path.startswith(".")
    if package.startswith(("http://", "https://")) or not looks_like_file:
        return None
    found = load_package(package, root=root)
    return found if order.requirements is None else found.with_requirements(order.requirements)


def _deployed(client: Client, package: str, local: LocalPackage | None, process_id: str | None, *, quiet: bool) -> str:
    """The id of the process to run, deployed."""
    if local is not None:
        deployed = ensure(client, local, process_id)
        if not quiet and deployed.action != "kept":
            what = "Deployed" if deployed.action == "deployed" else "The package has changed: replaced"
            note(f"{what} the process {deployed.process_id}.")
            outcome.warnings(deployed.warnings)
        return deployed.process_id
    if package.startswith(("http://", "https://")):
        return _linked(client, package, process_id)
    return package


def _linked(client: Client, url: str, process_id: str | None) -> str:
    """Deploy what a link names; the process of the same id is replaced."""
    try:
        return str(client.deploy(link_unit(url), process_id)["id"])
    except DuplicatedProcess:
        if process_id is None:
            raise
        client.replace(process_id, link_unit(url))
        return process_id


def _submitted(info: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        put_json(info)
        return
    print(info["jobID"])
    note(f"Follow it: broker status -f {info['jobID']}   Its results: broker results {info['jobID']} --download DIR")


def _followed(client: Client, job_id: str, *, quiet: bool) -> dict[str, Any]:
    try:
        return outcome.follow(client, job_id, quiet=quiet)
    except KeyboardInterrupt:
        note(f"The job goes on. Follow it: broker status -f {job_id}   Stop it: broker dismiss {job_id}")
        raise


def _failed(info: Mapping[str, Any], as_json: bool) -> None:
    """End with what went wrong. Raises typer.Exit."""
    if as_json:
        put_json({"jobID": info["jobID"], "status": info["status"], "failure": info.get("failure")})
    else:
        outcome.failed(info)
    reason = (info.get("failure") or {}).get("reason")
    raise typer.Exit(problems.UNSUPPORTED if reason == "unsupported-requirement" else problems.FAILED)


def _results(
    client: Client,
    process_id: str,
    info: Mapping[str, Any],
    outdir: Path | None,
    *,
    download: bool,
    as_json: bool,
) -> None:
    job_id = str(info["jobID"])
    found = client.output_object(job_id)
    result: dict[str, Any] = {"jobID": job_id, "status": info["status"]}
    if download:
        target = outdir or Path(f"{process_id}-{short(job_id)}")
        found = bring(client, job_id, found, target, quiet=as_json)
        result["outdir"] = str(target.absolute())
    if as_json:
        put_json(result | {"outputs": found})
        return
    outcome.outputs(found)
    if download and target.is_dir():
        note(f"The results are in {target}")


def short(job_id: str) -> str:
    """The part of a job's id that tells it from others made at about the same time."""
    return job_id.rpartition("-")[2][-8:]
