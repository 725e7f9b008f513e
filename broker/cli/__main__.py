"""`python -m broker.cli`: the command `broker`."""

from __future__ import annotations

from broker.cli.commands import app

if __name__ == "__main__":
    app(prog_name="broker")
