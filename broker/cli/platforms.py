"""`broker platforms`: where jobs can run; operators add, remove, pause and check them while the broker runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.client import Client
from broker.cli.console import AsJson, Server, command, connect, note, put_json, put_table
from broker.cli.outcome import follow
from broker.cli.problems import UsageError
from broker.errors import JobFailed, PlatformUnavailable

app = typer.Typer(name="platforms", no_args_is_help=False)
UNTOLD_CORES, UNTOLD_MIB = 4096, 64 * 2**20  # as much as servers are taken to have that do not tell
MESSAGE = 60  # characters of what a check said that go into the table
Name = Annotated[str, typer.Argument(metavar="NAME", help="The platform's name.", show_default=False)]


@app.callback(invoke_without_command=True)
@command
def platforms(ctx: typer.Context, server: Server = None, as_json: AsJson = False) -> None:
    """List where jobs can run; operators add, remove, pause and check platforms.

    Example:

        broker platforms
    """
    if ctx.invoked_subcommand is None:
        _list(server, as_json)


@app.command("list")
@command
def listing(server: Server = None, as_json: AsJson = False) -> None:
    """List where jobs can run.

    Example:

        broker platforms list
    """
    _list(server, as_json)


def _list(server: str | None, as_json: bool) -> None:
    with connect(server) as client:
        found = client.platforms()
    if as_json:
        put_json(found)
        return
    columns = ("PLATFORM", "KIND", "STATE", "WAITING", "ACTIVE", "CORES", "MEMORY", "ENGINE", "MESSAGE")
    put_table(columns, (_row(one) for one in found))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    offers = one.get("capabilities") or {}
    queue = one.get("queue") or {}
    memory = offers.get("ramMiB")
    return (
        one.get("name"),
        one.get("kind"),
        _state(one),
        queue.get("waiting"),
        queue.get("active"),
        "not told" if (offers.get("cores") or 0) >= UNTOLD_CORES else offers.get("cores"),
        "not told" if (memory or 0) >= UNTOLD_MIB else f"{memory / 1024:.1f} GiB" if memory else "",
        offers.get("containerEngine") or "none",
        _short(one.get("message")),
    )


def _short(text: object) -> str:
    """What its check said, as far as it goes into a table; the whole is in `--json` and what `check` says."""
    words = " ".join(str(text or "").split())
    return words if len(words) <= MESSAGE else f"{words[: MESSAGE - 1]}…"


def _state(one: dict[str, Any]) -> str:
    return "paused" if one.get("paused") else "available" if one.get("available") else "not available"


@app.command()
@command
def fits(
    process: Annotated[str, typer.Argument(metavar="PROCESS-ID", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Say where a process can run, and which requirement fails elsewhere.

    Example:

        broker platforms fits water-bodies
    """
    with connect(server) as client:
        found = client.request("GET", f"/processes/{quote(process, safe='')}/platforms").json()
    if as_json:
        put_json(found)
        return
    put_table(
        ("PLATFORM", "RUNS IT", "WHY NOT"),
        ((one["name"], "yes" if one["fits"] else "no", " ".join(one["reasons"])) for one in found["platforms"]),
    )


@app.command()
@command
def add(
    name: Name,
    adapter: Annotated[str, typer.Option(help="Its kind: openeo, ogcapi, …", show_default=False)],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option as in broker.toml; terms.near=… too."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An option that is asked for, or read from standard input, a line each."),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """As an operator: add a platform while the broker runs, or configure anew one that was added.

    A value is JSON where it is that, else a text. Everything but its terms is kept encrypted.

    Example:

        broker platforms add cdse --adapter openeo --set url=https://openeo.example --secret client_secret
    """
    given = _options(options or ())
    for one in secret or ():
        text = typer.prompt(one, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        _put(given, one, text)
    with connect(server) as client:
        found = client.request("POST", "/platforms", json={"name": name, "adapter": adapter, "options": given}).json()
    if as_json:
        put_json(found)
    else:
        note(f"{name}: {_state(found)}. {found['message']} Try it with: broker platforms check {name}")


def _options(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {one}: write NAME=VALUE.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        _put(found, name, value)
    return found


def _put(options: dict[str, Any], name: str, value: Any) -> None:
    """`a.b` is the member b of the option a."""
    *path, last = name.split(".")
    for part in path:
        options = options.setdefault(part, {})
        if not isinstance(options, dict):
            raise UsageError(f"--set {name}: {part} is a value already.")
    options[last] = value


@app.command()
@command
def remove(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """As an operator: remove a platform that was added, once it has no jobs any more.

    Example:

        broker platforms remove cdse
    """
    with connect(server) as client:
        client.request("DELETE", f"/platforms/{quote(name, safe='')}")
    if as_json:
        put_json({"name": name, "action": "removed"})
    else:
        note(f"Removed {name}.")


@app.command()
@command
def pause(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """As an operator: give a platform no new jobs; what runs there goes on, what waits goes elsewhere if it can.

    Example:

        broker platforms pause cdse
    """
    _set_paused(name, True, server, as_json)


@app.command()
@command
def resume(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """As an operator: give a paused platform jobs again.

    Example:

        broker platforms resume cdse
    """
    _set_paused(name, False, server, as_json)


def _set_paused(name: str, paused: bool, server: str | None, as_json: bool) -> None:
    with connect(server) as client:
        found = client.request("PUT", f"/platforms/{quote(name, safe='')}/paused", json={"paused": paused}).json()
    if as_json:
        put_json(found)
    else:
        note(f"{name}: {_state(found)}.")


@app.command()
@command
def check(
    name: Name,
    trial: Annotated[bool, typer.Option(help="Run a real job there, end to end.")] = True,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """As an operator: ask a platform what it offers, and run a real test job on it, end to end.

    Example:

        broker platforms check cdse
    """
    with connect(server) as client:
        where = f"/platforms/{quote(name, safe='')}/check"
        found = client.request("POST", where, params={"job": "true"} if trial else None).json()
        if not as_json:
            note(f"{name}: {_state(found)}. {found['message']}")
        if not found["available"]:
            raise PlatformUnavailable(f"The platform {name} takes no jobs: {found['message']}")
        if trial:
            found["job"] = _ended(client, name, found["job"])
    if as_json:
        put_json(found)
    elif trial:
        note(f"A test job ran on {name}, from its inputs to its results: {found['job']['jobID']}.")


def _ended(client: Client, name: str, job: str) -> dict[str, Any]:
    """The status of the job that tried it. Raises JobFailed unless all went well."""
    status = follow(client, job, quiet=True)
    if status["status"] != "successful":
        failure = status.get("failure") or {}
        raise JobFailed(
            f"The test job {job} on {name} is {status['status']}: {status.get('message', '')}",
            failed_fault=failure.get("fault", "platform"),
            failed_reason=failure.get("reason", "broker-error"),
        )
    client.results(job)
    return status
