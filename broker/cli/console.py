"""What commands share: options, the terminal, and how an error ends a command."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from broker.cli import problems
from broker.cli.client import Client
from broker.cli.credentials import server_address, token_for
from broker.errors import BrokerError, InputError, PackageError, Unauthenticated

P = ParamSpec("P")
HOW_TO_BE_KNOWN = (
    "Log in: broker login   Or set BROKER_TOKEN=… to a token of this broker; "
    "or, where it runs: broker token create NAME --save   "
    "Keep one that you were given: broker token save"
)
GAP, NARROWEST = 2, 12  # characters between columns, and of a column that gives way
# Control characters, and the escape sequences that they begin (ECMA-48: CSI, OSC and the two-character ones).
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Server = Annotated[
    str | None,
    typer.Option(
        help="Address of the broker. Default: the one that runs here, or that of broker.toml.",
        envvar="BROKER_SERVER",
        show_default=False,
        rich_help_panel="Server",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs, and nothing else.", rich_help_panel="Server")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="The broker.toml to use. Default: $BROKER_CONFIG, ./broker.toml, or the one of `broker init`.",
        show_default=False,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="The directory that holds the whole package; nothing above it is read. "
        "Default: the git work tree around the package, or else its own directory.",
        show_default=False,
    ),
]


def connect(server: str | None, *, patience: float = 0.0) -> Client:
    """A client of the server that the command is about, with the token kept for it."""
    address = server_address(server)
    token_for(address)  # what is wrong with it is said before anything begins
    return Client(address, partial(token_for, address), patience=patience)


def console(*, stderr: bool = True) -> Console:
    """The terminal; messages go to stderr, results to stdout."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, emoji=False)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """End a command that meets a BrokerError with its sentence on stderr (JSON with --json) and its exit code."""

    function.__doc__ = _flowing(function.__doc__ or "")

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except BrokerError as error:
            if isinstance(error, Unauthenticated):
                error.hint = HOW_TO_BE_KNOWN  # the server's own is for those who write HTTP
            tell(error, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(problems.exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            sys.stderr.close()  # the reader (head, less) has gone; Python must not complain about it
            raise typer.Exit(0) from None

    return run


def _flowing(text: str) -> str:
    """A docstring for a terminal of any width: one line for each paragraph; examples stay as they are."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(one if one.startswith(" ") else one.replace("\n", " ") for one in paragraphs)


def tell(error: BrokerError, *, as_json: bool) -> None:
    """An error on stderr."""
    if as_json:
        print(json.dumps(problems.write(error)), file=sys.stderr)
        return
    screen = console()
    if isinstance(error, InputError) and any(one.pointer for one in error.problems):
        screen.print("[bold red]Error:[/] The inputs do not fit:")
        for one in error.problems:
            screen.print(f"  [bold]{escape(plain(one.pointer))}[/]  {escape(plain(one.detail))}")
    else:
        place = f"{error.place}: " if isinstance(error, PackageError) and error.place else ""
        screen.print(f"[bold red]Error:[/] {escape(plain(place + error.detail))}")
    if error.hint:
        screen.print(f"[bold]Hint:[/]  {escape(plain(error.hint))}")


def plain(text: object) -> str:
    """A text of others (titles, logs) that cannot steer the terminal: no control characters but line ends and tabs."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n").replace("\r", "\n"))


def note(text: str) -> None:
    """A line for a person, on stderr."""
    console().print(escape(plain(text)))


def put_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def put_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, folds: int = -1) -> None:
    """A table without frames on stdout. In a narrow terminal the column `folds` gives way (default: the last one),
    and no other: ids are there to be copied."""
    screen = console(stderr=False)
    cells = [[plain("" if cell is None else cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    needed = 0
    for number, column in enumerate(columns):
        width = max(cell_len(row[number]) for row in [list(columns), *cells])
        gives_way = number == folds % len(columns) and screen.is_terminal
        table.add_column(column, overflow="fold", no_wrap=not gives_way, width=None if gives_way else width)
        needed += GAP + (min(width, NARROWEST) if gives_way else width)
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    screen.width = max(screen.width, needed) if screen.is_terminal else needed
    screen.print(table)


def moment(text: object) -> str:
    """A time of the API in the time zone of the reader."""
    if not isinstance(text, str) or not text:
        return ""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def amount(count: object) -> str:
    """A number of bytes for a person."""
    if not isinstance(count, (int, float)):
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
