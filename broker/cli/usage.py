"""`broker usage`: what jobs took and cost, and budgets."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from broker.cli.console import AsJson, Server, command, connect, note, put_json, put_table

app = typer.Typer(name="usage", no_args_is_help=False)
COLUMNS = ("jobs", "successful", "cpu_hours", "memory_gib_hours", "result_bytes", "credits", "own_credits", "currency")
Project = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.", show_default=False)]
Platform = Annotated[str, typer.Argument(metavar="PLATFORM", help="The platform's name.", show_default=False)]


@app.callback(invoke_without_command=True)
@command
def usage(
    ctx: typer.Context,
    period: Annotated[
        str | None, typer.Option(help="2026, 2026-11, 2026-11-05, or A/B; default: this month.", show_default=False)
    ] = None,
    by: Annotated[
        str, typer.Option(help="Of: month, project, platform, sponsorship, person, process, job.")
    ] = "month,project,platform,sponsorship",
    project: Annotated[str | None, typer.Option(help="Only this project.", show_default=False)] = None,
    platform: Annotated[str | None, typer.Option(help="Only this platform.", show_default=False)] = None,
    sponsorship: Annotated[str | None, typer.Option(help="Only what this id pays for.", show_default=False)] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As a table for spreadsheets.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """What your jobs, and those of your projects, took and cost; for operators everybody's.

    Example:

        broker usage --period 2026-11 --by project,platform --csv
    """
    if ctx.invoked_subcommand is not None:
        return
    given = {"period": period, "by": by, "project": project, "platform": platform, "sponsorship": sponsorship}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    with connect(server) as client:
        if as_csv:
            print(client.request("GET", f"/usage?{query}&f=csv").text, end="")
            return
        found = client.request("GET", f"/usage?{query}").json()
    if as_json:
        put_json(found)
        return
    groups = found["by"]
    put_table(
        tuple(name.upper() for name in (*groups, *COLUMNS)),
        (tuple(one.get(name) for name in (*groups, *COLUMNS)) for one in found["usage"]),
    )


@app.command()
@command
def budgets(server: Server = None, as_json: AsJson = False) -> None:
    """What your projects may spend on platforms this month, and have spent; for operators all of them.

    Example:

        broker usage budgets
    """
    with connect(server) as client:
        found: list[dict[str, Any]] = client.request("GET", "/budgets").json()["budgets"]
    if as_json:
        put_json(found)
        return
    columns = ("project", "platform", "credits", "used", "left", "currency", "sponsorship")
    # one row for each currency: nothing is added across them
    rows = (one | {"used": used, "currency": name} | _left(one, used) for one in found for name, used in _used(one))
    put_table(tuple(name.upper() for name in columns), (tuple(one[name] for name in columns) for one in rows))


def _used(one: dict[str, Any]) -> list[tuple[str | None, float]]:
    return list(one.get("usedBy", {one["currency"]: one["used"]}).items())


def _left(one: dict[str, Any], used: float) -> dict[str, Any]:
    return {"left": None if one["credits"] is None else max(0.0, round(one["credits"] - used, 6))}


@app.command()
@command
def budget(
    project: Project,
    platform: Platform,
    credits: Annotated[
        float | None, typer.Option(min=0, help="Of a month, in the currency.", show_default=False)
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option(help="Such as EUR. Default: whichever the platform's costs are in, each.", show_default=False),
    ] = None,
    sponsorship: Annotated[
        str | None, typer.Option(help="Id of who pays, from the Network of Resources.", show_default=False)
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="There is no budget any more.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """As an operator: set what a project may spend on a platform in a month, and who pays for it.

    Example:

        broker usage budget ice cdse --credits 5000 --sponsorship NoR-123456
    """
    path = f"/budgets/{quote(project, safe='')}/{quote(platform, safe='')}"
    with connect(server) as client:
        if unset:
            client.request("DELETE", path)
            found = {"project": project, "platform": platform, "credits": None, "sponsorship": None}
        else:
            wanted = {"credits": credits, "currency": currency, "sponsorship": sponsorship}
            given = {name: value for name, value in wanted.items() if value is not None}
            found = client.request("PUT", path, json=given).json()
    if as_json:
        put_json(found)
    else:
        note(f"{project} on {platform}: {'no budget' if credits is None or unset else f'{credits:g} a month'}.")
