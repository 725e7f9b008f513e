"""`broker token`: tokens of your own broker (straight in its database), and the ones that others gave you."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from broker.access import tokens as secrets_of
from broker.access.principal import LOCAL, Scope
from broker.cli import credentials
from broker.cli.console import AsJson, ConfigFile, Server, command, moment, note, put_json, put_table
from broker.cli.problems import UsageError
from broker.errors import Missing
from broker.settings import Settings, load
from broker.store import tokens
from broker.store.database import Database, new_id
from broker.store.schema import migrate

State = Annotated[
    Path | None, typer.Option(help="The broker's state directory, as for `broker up`.", show_default=False)
]
app = typer.Typer(name="token", no_args_is_help=True)
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


@app.callback()
def token() -> None:
    """Make, list and revoke the tokens of your broker; keep those you were given.

    Until the first token is made, a broker on a loopback address is open to everybody on this machine. `create`,
    `list` and `revoke` work on the database that broker.toml names: whoever may write it is the operator.
    """


@app.command()
@command
def create(
    name: Annotated[str, typer.Argument(help="Whose or what for: a word to find it by.", show_default=False)],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may do; repeatable. Default: read, run and deploy.", show_default=False),
    ] = None,
    owner: Annotated[str, typer.Option(help="Who owns the jobs made with it.")] = LOCAL.owner,
    project: Annotated[str, typer.Option(help="The project they belong to.")] = LOCAL.project,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="30d, 12h, 1y … Default: never.", show_default=False)
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Use it for your own commands from now on.")] = False,
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print its secret once.

    read: one's own jobs. run: execute and dismiss. deploy: deploy, replace, undeploy. admin: everybody's jobs.

    Example:

        broker token create portal --scope read --scope run --expires 90d
    """
    settings = _settings(config, state)
    scopes = sorted({one.value for one in scope or [Scope.READ, Scope.RUN, Scope.DEPLOY]})
    secret, digest = secrets_of.generate()
    with _database(settings) as database, database.write() as tx:
        first = not tokens.any_valid(tx)
        made = tokens.add(tx, new_id(), digest, owner, project, name, scopes, _seconds(expires))
    if as_json:
        put_json(_shown(made) | {"secret": secret})
    else:
        print(secret)
        note("This is shown once: only its hash is kept. Use it as BROKER_TOKEN, or Authorization: Bearer …")
    if first and not as_json:
        note("This was the first token: within seconds the broker asks everybody for one, also on this machine.")
    if save:
        address = credentials.server_address(None, settings)
        file = credentials.keep(address, secret)
        note(f"Kept in {file} for {address}: your commands to this server use it from now on.")


@app.command("list")
@command
def list_(config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets.

    Example:

        broker token list
    """
    with _database(_settings(config, state)) as database, database.read() as tx:
        found = tokens.every(tx)
        is_open = not tokens.any_valid(tx)
    if as_json:
        put_json([_shown(one) for one in found])
        return
    if is_open:
        note("No token is valid: the broker is open to everybody on this machine, and serves no other machine.")
    rows = (_row(_shown(one)) for one in found)
    put_table(("TOKEN", "NAME", "OWNER", "SCOPES", "STATE", "EXPIRES", "LAST USED"), rows)


@app.command()
@command
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or its name, from `broker token list`.")],
    config: ConfigFile = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token: within seconds it is worth nothing.

    Example:

        broker token revoke portal
    """
    with _database(_settings(config, state)) as database, database.write() as tx:
        token_id = _meant(tokens.every(tx), token_id)
        if not tokens.revoke(tx, token_id):
            raise Missing(f"There is no valid token {token_id}.", hint="See: broker token list")
        is_open = not tokens.any_valid(tx)
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


def _meant(known: list[tokens.Token], wanted: str) -> str:
    """The id of the token that is called so, by id or by name. Raises UsageError where several have the name."""
    named = [one.id for one in known if one.name == wanted and one.revoked is None]
    if any(one.id == wanted for one in known) or not named:
        return wanted
    if len(named) > 1:
        raise UsageError(f"{len(named)} tokens are called {wanted}.", hint=f"Give the id of one: {', '.join(named)}")
    return named[0]


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database, pool_size=1)
    try:
        migrate(database)
        yield database
    finally:
        database.close()


def _seconds(text: str | None) -> float | None:
    """`30d` in seconds. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdwy])", text.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{text!r} is not a time.", hint="Write it as 12h, 30d, 8w or 1y.")
    return float(int(found[1]) * _UNITS[found[2]])


def _shown(one: tokens.Token) -> dict[str, object]:
    return {
        "id": one.id,
        "name": one.name,
        "owner": one.owner,
        "project": one.project,
        "scopes": list(one.scopes),
        "created": _time(one.created),
        "expires": _time(one.expires),
        "revoked": _time(one.revoked),
        "lastUsed": _time(one.last_used),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _row(one: dict[str, object]) -> tuple[object, ...]:
    expired = isinstance(one["expires"], str) and datetime.fromisoformat(one["expires"]) < datetime.now(UTC)
    state = "revoked" if one["revoked"] else "expired" if expired else "valid"
    scopes = one["scopes"]
    words = ", ".join(scopes) if isinstance(scopes, list) else ""
    return one["id"], one["name"], one["owner"], words, state, moment(one["expires"]), moment(one["lastUsed"])
