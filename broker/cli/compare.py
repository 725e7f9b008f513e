"""`broker compare`: whether two runs gave the same, output by output."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.client import Client
from broker.cli.console import AsJson, Server, command, connect, note, put_json, put_table
from broker.cli.downloads import Downloader
from broker.cli.jobids import meant
from broker.cli.problems import UsageError
from broker.errors import NoSuchComparison
from broker.results.verdict import Tolerance

app = typer.Typer()
FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0  # seconds between two looks
DIFFERENT = 1  # exit code
Tolerances = Annotated[
    list[str] | None,
    typer.Option(
        "--tolerance",
        metavar="NAME=VALUE",
        help="How far values may be apart: relative=1e-6, absolute=1e-9, coordinates=1e-7 (of geometries), "
        "share=0 (of values that may be further apart). May be given several times.",
        show_default=False,
    ),
]


@app.command()
@command
def compare(
    first: Annotated[str, typer.Argument(help="A job, or a file or directory here.", metavar="JOB|DIR")],
    second: Annotated[str, typer.Argument(help="The job or directory to hold against it.", metavar="JOB|DIR")],
    tolerance: Tolerances = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Compare the outputs of two runs: identical, equivalent within the tolerance, or different, and where.

    Two jobs are compared by the broker, which keeps the report. With a directory the comparison is made here; that
    needs `pip install 'earthcode-broker\\[compare]'`. The exit code is 1 where an output differs.

    Example:

        broker compare results/ last --tolerance absolute=0.01
    """
    wanted = tolerance_of(tolerance or ())
    if not Path(first).exists() and not Path(second).exists():
        with connect(server) as client:
            job, other = meant(client, second), meant(client, first)
            body = {"with": other, "tolerance": wanted.to_json()}
            asked = client.json("POST", f"/jobs/{quote(job, safe='')}/comparisons", json=body)
            found = awaited(client, job, asked["id"])
    else:
        found = _here(first, second, wanted, server)
    if as_json:
        put_json(found)
    else:
        tell(found)
    if found["verdict"] == "different":
        raise typer.Exit(DIFFERENT)


def tolerance_of(words: Sequence[str]) -> Tolerance:
    """Of options such as `relative=1e-3`. Raises UsageError."""
    try:
        return Tolerance(**{name: float(value) for name, _, value in (word.partition("=") for word in words)})
    except (TypeError, ValueError):
        names = ", ".join(Tolerance().to_json())
        raise UsageError(
            f"This is no tolerance: {', '.join(words)}", hint=f"Write NAME=VALUE; the names are {names}."
        ) from None


def awaited(client: Client, job: str, comparison_id: str) -> dict[str, Any]:
    """The report of a comparison, once it is made. Raises NoSuchComparison where it never will be."""
    pause, told = FIRST_PAUSE, ""
    while True:
        path = f"/jobs/{quote(job, safe='')}/comparison"
        found: dict[str, Any] = client.json("GET", path, params={"id": comparison_id})
        if found["state"] == "failed":
            raise NoSuchComparison(f"They cannot be compared: {found['message']}")
        if found["state"] == "done":
            return dict(found["report"])
        if found["message"] != told and pause >= LAST_PAUSE:  # not what is over in a moment
            told = found["message"]
            note(told)
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_PAUSE)


def tell(report: Mapping[str, Any]) -> None:
    """A report for a person."""
    rows = [
        (one["path"], one["verdict"], one["by"], " ".join((one["sentence"], *(f"({n})" for n in one.get("notes", ())))))
        for one in report["outputs"]
    ]
    if rows:
        put_table(("OUTPUT", "VERDICT", "BY", "IN WORDS"), rows)
    note(report["sentence"])


def _here(first: str, second: str, tolerance: Tolerance, server: str | None) -> dict[str, Any]:
    from broker.results.compare import compare as held_against
    from broker.results.compare import outputs, report
    from broker.results.confined import confinement

    judge = confinement(own=True).judge
    with tempfile.TemporaryDirectory(prefix="broker-compare-") as scratch:
        sides = [_brought(one, Path(scratch) / str(number), server) for number, one in enumerate((first, second))]
        try:
            left, right = (outputs(side) for side in sides)
        except (OSError, ValueError) as error:
            raise UsageError(f"The files cannot be read: {error}") from None
        return report(held_against(left, right, tolerance, judge), first, second, tolerance)


def _brought(text: str, scratch: Path, server: str | None) -> Path:
    """Where the files are: at this path, or those of a job, brought here."""
    if Path(text).exists():
        return Path(text)
    scratch.mkdir()
    with connect(server) as client:
        downloader = Downloader(client, meant(client, text), scratch)
        for path in downloader.learn():
            downloader.file(path)
    return scratch
