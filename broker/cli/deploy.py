"""`broker deploy` and `broker check`."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from dataclasses import replace as altered
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from broker.cli import joborder, outcome, problems
from broker.cli.client import Client, bundle_unit, git_unit, link_unit
from broker.cli.console import AsJson, Root, Server, command, connect, console, note, put_json
from broker.cli.joborder import JobOrder
from broker.cli.misfits import explained
from broker.cli.package import LocalPackage
from broker.cli.package import load as load_package
from broker.cli.submit import Deployed, converter, described, described_converter, ensure, request
from broker.errors import DuplicatedProcess, InputError, InputProblem

app = typer.Typer()

Package = Annotated[
    str,
    typer.Argument(
        help="A CWL file (#name picks a process of it) or an openEO process, or a link: to one, or to a process of "
        "another server that is one of the platforms.",
        show_default=False,
    ),
]
ProcessId = Annotated[
    str | None,
    typer.Option(
        "--id", help="The process id. Default: the id in the package, or its file's name.", show_default=False
    ),
]

Repository = Annotated[
    str | None,
    typer.Option("--git", metavar="URL", help="PACKAGE is a file of this git repository (https).", show_default=False),
]
Commit = Annotated[
    str | None, typer.Option(metavar="HASH", help="Which commit, with --git: all 40 hex digits.", show_default=False)
]


@app.command()
@command
def deploy(
    package: Package,
    process_id: ProcessId = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the process of this id, if there is one.")
    ] = False,
    workflow: Annotated[
        str | None, typer.Option("-w", "--workflow", help="Which process of a $graph.", show_default=False)
    ] = None,
    git: Repository = None,
    commit: Commit = None,
    root: Root = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a package, so that it can be run by its id.

    What the package refers to on this computer (tools, imports, default files) is sent along. The same package again
    changes nothing.

    Example:

        broker deploy workflows/water-bodies/package.cwl

        broker deploy app.cwl -w main --id my-app --replace

        broker deploy https://ogc.example.org/processes/buffer

        broker deploy wf/app.cwl --git https://github.com/me/app --commit $(git rev-parse HEAD)
    """
    reference = f"{package.partition('#')[0]}#{workflow}" if workflow else package
    far = _far(reference, git, commit)
    if far is not None:
        with connect(server) as client:
            done = _read_there(client, far, process_id, replace)
    else:
        local = load_package(reference, root=root)
        with connect(server) as client:
            done = ensure(client, local, process_id, replace=replace)
    if as_json:
        put_json({"id": done.process_id, "action": done.action, "warnings": list(done.warnings)})
        return
    outcome.warnings(done.warnings)
    words = {"deployed": "Deployed", "kept": "Deployed already, unchanged:", "replaced": "Replaced"}
    note(f"{words[done.action]} {done.process_id}. Run it: broker run {done.process_id} INPUTS")
    print(done.process_id)


def _far(reference: str, git: str | None, commit: str | None) -> dict[str, Any] | None:
    """The execution unit of a package that the server reads itself; None for one on this computer."""
    if git is None and commit is None:
        return link_unit(reference) if reference.startswith(("http://", "https://")) else None
    if git is None or commit is None:
        raise InputError(
            InputProblem("", "--git and --commit belong together"), hint="The commit: git rev-parse HEAD, in the clone."
        )
    return git_unit(git, commit, reference)


def _read_there(client: Client, unit: Mapping[str, Any], process_id: str | None, replace: bool) -> Deployed:
    try:
        made = client.deploy(unit, process_id)
        return Deployed(str(made["id"]), "deployed", tuple(made.get("warnings") or ()))
    except DuplicatedProcess as error:
        if not replace or process_id is None:
            error.hint = "Replace it with --replace --id ID, or give this one another id with --id."
            raise
        made = client.replace(process_id, unit)
        return Deployed(process_id, "replaced", tuple(made.get("warnings") or ()))


@app.command()
@command
def check(
    package: Annotated[str, typer.Argument(metavar="PACKAGE|PROCESS-ID", show_default=False)],
    inputs: Annotated[str | None, typer.Argument(metavar="[INPUTS]", show_default=False)] = None,
    settings: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE")] = None,
    platform: Annotated[str | None, typer.Option(help="Where it should run.", show_default=False)] = None,
    git: Repository = None,
    commit: Commit = None,
    root: Root = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a package and its inputs, without running it.

    The package is loaded by the server as it would be for a job, and every input is checked: types, misspelt names,
    files that are not there, links that do not answer, platforms that could run it. Nothing is uploaded or kept.

    Example:

        broker check workflows/water-bodies/package.cwl workflows/water-bodies/inputs.yml
    """
    given = inputs is not None or bool(settings)
    order = joborder.read(inputs, settings or (), stdin=sys.stdin.read)
    unit = _far(package, git, commit)
    local = load_package(package, root=root) if unit is None and Path(package.partition("#")[0]).is_file() else None
    if local is not None:
        local = local if order.requirements is None else local.with_requirements(order.requirements)
        unit = bundle_unit(local.bundle.to_json())
    report: dict[str, Any] = {}
    with connect(server) as client:
        if unit is not None:
            report["package"] = client.check_package(unit, local.process_id if local else None)
        if given or unit is None:
            with explained(order):
                report["execution"] = _execution(client, package, local, unit, order, platform)
    fine = _runnable(report)
    if as_json:
        put_json({"ok": fine, **report})
    else:
        _show(report)
    raise typer.Exit(problems.OK if fine else problems.FAILED)


def _execution(
    client: Client,
    process_id: str,
    local: LocalPackage | None,
    unit: Mapping[str, Any] | None,
    order: JobOrder,
    platform: str | None,
) -> dict[str, Any]:
    """Check inputs against a process; a package that is not deployed gets an id for as long as that takes."""

    def upload(path: Path, name: str) -> str:
        raise AssertionError("a check sends no files")

    def checked(name: str) -> dict[str, Any]:
        known = (
            converter(order, upload, local) if local else described_converter(order, upload, described(client, name))
        )
        return client.check(name, request(order, altered(known, pretend=True).inputs(), platform=platform))

    if unit is None:
        return checked(process_id)
    passing = f"check-{uuid.uuid4()}"
    client.deploy(unit, passing)
    try:
        return {**checked(passing), "processID": local.process_id if local else process_id}
    finally:
        client.undeploy(passing)


def _runnable(report: Mapping[str, Any]) -> bool:
    platforms = (report.get("execution") or report["package"]).get("platforms") or []
    fits = any(one.get("fits") for one in platforms) or not platforms
    return bool(fits and report.get("execution", {}).get("ok", True))


def _show(report: Mapping[str, Any]) -> None:
    screen = console(stderr=False)
    package, execution = report.get("package"), report.get("execution")
    if package is not None:
        steps = len(package.get("steps") or ())
        screen.print(f"[green]The package can be loaded.[/] {steps} step{'' if steps == 1 else 's'}.")
        outcome.warnings(one for one in package.get("warnings") or () if not one.startswith("Best practice"))
        outcome.practice(package.get("bestPractice") or ())
    if execution is not None:
        screen.print("[green]The inputs fit.[/]")
        for one in execution.get("links") or ():
            if not one.get("reachable"):
                why = one.get("detail") or one.get("problem") or ""
                screen.print(f"[red]No answer:[/] {escape(str(one.get('url')))} {escape(str(why))}")
        for one in execution.get("images") or ():
            if not one.get("usable"):
                screen.print(f"[red]No container engine for the image[/] {escape(str(one.get('image')))}")
    for one in (execution or package or {}).get("platforms") or ():
        if one.get("fits"):
            screen.print(f"[green]Can run on[/] {escape(one['name'])}")
        else:
            screen.print(f"[red]Cannot run on[/] {escape(one['name'])}: {escape(' '.join(one.get('reasons') or ()))}")
