"""`broker token`: tokens of your own broker (straight in its database) or of a server, and those that others gave
you."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.access.principal import SCOPES_OF, Role, Scope
from broker.cli import credentials
from broker.cli.console import AsJson, ConfigFile, Server, command, connect, moment, note, put_json, put_table
from broker.cli.problems import UsageError
from broker.cli.tokenplaces import Local, Remote, TokenPlace, Wanted
from broker.settings import Settings, load

State = Annotated[
    Path | None, typer.Option(help="The broker's state directory, as for `broker up`.", show_default=False)
]
app = typer.Typer(name="token", no_args_is_help=True)
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


@app.callback()
def token() -> None:
    """Make, list and revoke the tokens of your broker; keep those you were given.

    With --server, `create`, `list` and `revoke` are about your own tokens there. Else they work on the database that
    broker.toml names: whoever may write it is the operator. Until the first token is made, a broker on a loopback
    address without issuers is open to everybody on this machine.
    """


@app.command()
@command
def create(
    name: Annotated[str, typer.Argument(help="Whose or what for: a word to find it by.", show_default=False)],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may do; repeatable. Default: read, run and deploy.", show_default=False),
    ] = None,
    role: Annotated[
        Role | None, typer.Option(help="All scopes of a role, in the place of --scope.", show_default=False)
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who owns the jobs made with it. Default: local.", show_default=False)
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The project they belong to. Default: the owner's own.", show_default=False)
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="30d, 12h, 1y … Default: never; on a server 90 days.", show_default=False),
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Use it for your own commands from now on.")] = False,
    server: Server = None,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print its secret once.

    read: one's own jobs. run: execute and dismiss. deploy: deploy, replace, undeploy. publish: send results to
    catalogs. admin: everybody's jobs.

    Example:

        broker token create portal --scope read --scope run --expires 90d
    """
    if scope and role:
        raise UsageError("--scope and --role say the same.", hint="Give one of them.")
    scopes = sorted({one.value for one in scope or (SCOPES_OF[role] if role else ())}) or None
    with _place(server, config, state) as place:
        made = place.make(Wanted(name, scopes, owner, project, _seconds(expires)))
    first = made.pop("first", False)
    if as_json:
        put_json(made)
    else:
        print(made["secret"])
        note("This is shown once: only its hash is kept. Use it as BROKER_TOKEN, or Authorization: Bearer …")
    if first and not as_json:
        note("This was the first token: within seconds the broker asks everybody for one, also on this machine.")
    if save:
        address = credentials.server_address(server, None if server else _settings(config, state))
        file = credentials.keep(address, str(made["secret"]))
        note(f"Kept in {file} for {address}: your commands to this server use it from now on.")


@app.command("list")
@command
def list_(server: Server = None, config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets.

    Example:

        broker token list
    """
    with _place(server, config, state) as place:
        found = place.every()
        is_open = place.open()
    if as_json:
        put_json(found)
        return
    if is_open:
        note("No token is valid: the broker is open to everybody on this machine, and serves no other machine.")
    put_table(("TOKEN", "NAME", "OWNER", "SCOPES", "STATE", "EXPIRES", "LAST USED"), (_row(one) for one in found))


@app.command()
@command
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or its name, from `broker token list`.")],
    server: Server = None,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token: within seconds it is worth nothing, nor are those that were made with it.

    Example:

        broker token revoke portal
    """
    with _place(server, config, state) as place:
        token_id = _meant(place.every(), token_id)
        place.revoke(token_id)
        is_open = place.open()
    if as_json:
        put_json({"id": token_id, "revoked": True, "open": is_open})
        return
    note(f"Revoked {token_id}.")
    if is_open:
        note("No token is left: the broker is open to everybody on this machine again, and serves no other machine.")


@app.command()
@command
def save(
    server: Server = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the token of this server.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a token that you were given, for a server; it is read from the standard input.

    Example:

        broker token save --server https://broker.example.org
    """
    address = credentials.server_address(server)
    secret = None if forget else _asked()
    file = credentials.keep(address, secret)
    if as_json:
        put_json({"server": address, "file": str(file)})
    else:
        note(f"{'Forgotten' if forget else 'Kept'} in {file} for {address}.")


def _asked() -> str:
    given = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    secret = str(given).strip()
    if not secret.isprintable() or not secret or " " in secret:
        raise UsageError("That is not a token.", hint="Give it on the standard input.")
    return secret


def _settings(config: Path | None, state: Path | None) -> Settings:
    settings = load(config)
    return settings if state is None else settings.model_copy(update={"state": state.absolute()})


@contextmanager
def _place(server: str | None, config: Path | None, state: Path | None) -> Iterator[TokenPlace]:
    """The API of a named server, unless a configuration or state directory is named too; else the database here."""
    if server is None or config is not None or state is not None:
        yield Local(_settings(config, state))
        return
    with connect(server) as client:
        yield Remote(client)


def _meant(known: list[dict[str, Any]], wanted: str) -> str:
    """The id of the token that is called so, by id or by name. Raises UsageError where several have the name."""
    named = [str(one["id"]) for one in known if one["name"] == wanted and one["revoked"] is None]
    if any(one["id"] == wanted for one in known) or not named:
        return wanted
    if len(named) > 1:
        raise UsageError(f"{len(named)} tokens are called {wanted}.", hint=f"Give the id of one: {', '.join(named)}")
    return named[0]


def _seconds(text: str | None) -> float | None:
    """`30d` in seconds. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdwy])", text.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{text!r} is not a time.", hint="Write it as 12h, 30d, 8w or 1y.")
    return float(int(found[1]) * _UNITS[found[2]])


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    expired = isinstance(one["expires"], str) and datetime.fromisoformat(one["expires"]) < datetime.now(UTC)
    state = "revoked" if one["revoked"] else "expired" if expired else "valid"
    return (
        one["id"],
        one["name"],
        one["owner"],
        ", ".join(one["scopes"]),
        state,
        moment(one["expires"]),
        moment(one["lastUsed"]),
    )
