"""The command `broker`: `app` is the typer application (loaded when it is asked for: the client needs none of it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.cli.commands import app as app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name == "app":
        from broker.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
