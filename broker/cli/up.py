"""`broker up`: the whole broker on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from broker.cli import exposure
from broker.cli.console import ConfigFile, command, note
from broker.cli.supervisor import supervise
from broker.settings import load

app = typer.Typer()


@app.command()
@command
def up(
    host: Annotated[
        str | None, typer.Option(help="Address to serve; needs a token if it is not loopback.", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: 8080.", show_default=False)] = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory for database, jobs and files.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    keep_jobs: Annotated[bool, typer.Option("--keep-jobs", help="Local jobs go on when the broker stops.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what happens as JSON, one object a line.")] = False,
) -> None:
    """Start the broker here, until Ctrl-C.

    API, workers, the queue and the programs that run packages: one command, nothing to install beside. Whatever ends
    is started again; jobs survive it all.

    Example:

        broker up --port 8081 --state /data/broker
    """
    # by the environment: every process of the broker that reads the settings then reads the same
    os.environ.update(variables(host=host, port=port, state=state, config=config))
    settings = load(config)
    exposure.check(settings)
    say = (lambda text: print(json.dumps({"message": text}), flush=True)) if as_json else note
    raise typer.Exit(supervise(settings, say, keep_jobs=keep_jobs))


def variables(*, host: str | None, port: int | None, state: Path | None, config: Path | None) -> dict[str, str]:
    """The environment that says what the command line said."""
    given = {
        "BROKER_API__HOST": host,
        "BROKER_API__PORT": port,
        "BROKER_STATE": state and state.absolute(),
        "BROKER_CONFIG": config and config.absolute(),
    }
    return {name: str(value) for name, value in given.items() if value is not None}
