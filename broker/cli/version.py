"""`broker version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import typer

from broker.cli.console import AsJson, command, put_json

app = typer.Typer()


@app.command()
@command
def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example:

        broker version
    """
    found = installed("earthcode-broker")
    if as_json:
        put_json({"version": found, "python": platform.python_version()})
    else:
        print(found)
