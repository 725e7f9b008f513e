"""`broker publish`: results, or a process alone, to repositories and catalogs; and what is missing for that."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import requests
import typer

from broker.cli import joborder
from broker.cli.client import Client
from broker.cli.console import AsJson, Server, command, connect, note, plain, put_json, put_table
from broker.cli.jobids import meant
from broker.cli.problems import FAILED, UsageError
from broker.errors import InputError, InputProblem
from broker.packages.cwl import parse

app = typer.Typer()
LISTS = frozenset({"themes", "variables", "missions", "keywords", "records"})
THERE = frozenset({"published", "proposed", "merged", "live"})
SETTLED = THERE | {
    "awaiting-approval",
    "failed",
    "closed",
    "rejected",
    "withdrawn",
}  # the broker does no more by itself
PAUSE = 1.0

Request = Annotated[
    Path | None,
    typer.Option(help="The members of the request, as YAML or JSON: what --check prints.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One member; several times for a list.", show_default=False),
]


@app.command()
@command
def publish(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Jobs: one product is made of several.", show_default=False),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to: see `broker publication targets`. Of several, a catalog goes after the repository.",
            show_default=False,
        ),
    ] = None,
    process: Annotated[
        str | None, typer.Option(help="Publish a process alone, without a job.", show_default=False)
    ] = None,
    request: Request = None,
    settings: Settings = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what is missing and who grants it, and print the drafted request.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Also print every file and every change, and send nothing.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a zip for who does it by hand: a catalog's records, or the collection to be made.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it is published or proposed.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Publish the results of jobs, a process, or data that lies elsewhere.

    The request is drafted from the package, the run and the defaults of the project; what it lacks is named at once.

    Example:

        broker publish last --target prr --target osc --check > request.json

        broker publish last --target prr --target osc --request request.json --set project=fairsendd --wait
    """
    with connect(server) as client:
        path, body = _asked(client, jobs or (), target or (), process)
        body = {**members(request, settings or ()), **body}
        if check or dry_run:
            _drafted(client.json("POST", path, params={"check": "true"}, json=body), dry_run, as_json)
        elif bundle is not None:
            bundled(client.request("POST", f"{path}/bundle", json=body, headers={"Accept": "*/*"}), bundle, as_json)
        else:
            _made(client, client.json("POST", path, json=body)["publications"], wait, as_json)


def _asked(
    client: Client, jobs: Sequence[str], targets: Sequence[str], process: str | None
) -> tuple[str, dict[str, Any]]:
    """Where the request goes, and what it says of what is published. Raises UsageError."""
    if not targets:
        raise UsageError("Name where to publish with --target.", hint="See: broker publication targets")
    body: dict[str, Any] = {"target": list(targets)}
    if process is not None:
        body["process"] = process
    found = [meant(client, job) for job in jobs]
    if len(found) == 1:
        return f"/jobs/{quote(found[0], safe='')}/publications", body
    return "/publications", body | ({"jobs": found} if found else {})


def _made(client: Client, made: list[dict[str, Any]], wait: bool, as_json: bool) -> None:
    """What was asked for; with `wait`, as it is once the broker does no more for it by itself."""
    if wait:
        made = [follow(client, one["id"], quiet=as_json) for one in made]
    if as_json:
        put_json(made)
    elif not wait:
        for one in made:
            note(f"{one['id']}: {one['target']}: {one['message']}")
        note(f"Follow it with: broker publication show {made[-1]['id']} --wait")
    if wait and not all(one["state"] in THERE for one in made):
        raise typer.Exit(FAILED)


def bundled(answer: requests.Response, target: Path, as_json: bool) -> None:
    """Write a zip."""
    with answer:
        target.write_bytes(answer.content)
    if as_json:
        put_json({"path": str(target), "size": target.stat().st_size})
    else:
        note(f"Wrote {target}")


def members(request: Path | None, settings: Sequence[str]) -> dict[str, Any]:
    """The members of a request: those of a file, over them those that were set. Raises UsageError, InputError."""
    found: Any = {}
    if request is not None:
        try:
            found = parse(request.read_text("utf-8"), str(request))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The request {request} cannot be read: {error}.") from None
    if not isinstance(found, Mapping):
        raise InputError(InputProblem("", f"{request} is not a mapping of members to values"))
    given = joborder.settings_of(settings, "--set")
    return {**found, **{name: [one] if name in LISTS and isinstance(one, str) else one for name, one in given.items()}}


def _drafted(draft: Mapping[str, Any], whole: bool, as_json: bool) -> None:
    """What is wrong on stderr; the request, or everything that would be sent, on stdout. Fails where it is not ok."""
    if as_json:
        put_json(draft)
    else:
        for one in draft["findings"]:
            note(_finding(one))
        if whole:
            for one in draft["targets"]:
                if draft["ok"] and not any(one.get(name) for name in ("files", "items", "diff")):
                    note(f"{one['target']} has all of it already: nothing would be sent.")
                else:
                    _sent(one)
        else:
            put_json(draft["request"])
        note("Nothing is missing." if draft["ok"] else "It cannot be published like this.")
    if not draft["ok"]:
        raise typer.Exit(FAILED)


def _finding(one: Mapping[str, Any]) -> str:
    where = f"{one['target']}: {one['field']}" if one.get("target") else one["field"]
    allowed = f" Allowed: {', '.join(one['allowed'])}." if one.get("allowed") else ""
    return f"{one['level']}: {where}: {one['message'].rstrip('.')}.{allowed}" + (
        f" Granted by {one['grants']}." if one.get("grants") else ""
    )


def _sent(one: Mapping[str, Any]) -> None:
    """What would go to one target."""
    note(f"To {one['target']}:")
    put_table(("SIZE", "FILE"), ((file.get("size", ""), file["path"]) for file in one["files"]))
    for item in one.get("items") or ():
        print(json.dumps(item, indent=2, ensure_ascii=False))
    if one.get("diff"):
        print(plain(one["diff"]), end="")  # the catalog is written by strangers


def follow(client: Client, publication: str, *, quiet: bool = False) -> dict[str, Any]:
    """How a publication is once the broker does no more for it by itself; each change is a line."""
    said, last = "", {}
    for last in _looks(client, publication):
        line = f"{last['target']}: {last['state']}: {last['message']}"
        if line != said and not quiet:
            note(line)
        said = line
    return last


def _looks(client: Client, publication: str) -> Iterator[dict[str, Any]]:
    while True:
        found = client.json("GET", f"/publications/{quote(publication, safe='')}")
        yield found
        if found["state"] in SETTLED and not found.get("withdrawing"):
            return
        time.sleep(PAUSE)
