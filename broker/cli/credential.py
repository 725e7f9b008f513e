"""`broker credential`: what the broker may use in your name: buckets, data behind a login, image registries, PRR,
GitHub, accounts on platforms."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.access.credential import Kind
from broker.cli.client import Client
from broker.cli.console import AsJson, ConfigFile, Server, command, connect, moment, note, put_json, put_table
from broker.cli.problems import UsageError
from broker.errors import SetupError

app = typer.Typer(name="credential", no_args_is_help=True)
NAMED = {
    Kind.S3: "bucket",
    Kind.HTTP: "origin",
    Kind.REGISTRY: "host",
    Kind.PRR: "origin",
    Kind.GITHUB: "repository",
    Kind.OPENEO: "origin",
}
SECRET = {Kind.S3: "Secret key", Kind.REGISTRY: "Password or token"}
Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.", show_default=False)]


@app.callback()
def credential() -> None:
    """Credentials that the broker uses in your name.

    It fetches inputs and images with them, and publishes. They are encrypted, nobody reads them back, and no package
    ever sees them.
    """


@app.command()
@command
def add(
    name: Name,
    kind: Annotated[Kind, typer.Argument(help="What it is for.", show_default=False)],
    target: Annotated[
        str,
        typer.Argument(
            help="s3: the bucket. http, prr, openeo: https://host. registry: its host. github: owner/repository.",
            show_default=False,
        ),
    ],
    endpoint: Annotated[
        str | None, typer.Option(help="s3: https://host of the service. Default: AWS.", show_default=False)
    ] = None,
    region: Annotated[str | None, typer.Option(help="s3: the region.", show_default=False)] = None,
    access_key: Annotated[str | None, typer.Option(help="s3: the access key (its id).", show_default=False)] = None,
    username: Annotated[
        str | None,
        typer.Option(help="http, prr, registry, openeo: log in with this name and a password.", show_default=False),
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="openeo: the client that a refresh token was given to.", show_default=False)
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="openeo: id of the identity provider there.", show_default=False)
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="Read the secret from this file. Default: a prompt, or the standard input."),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Share it with this project (its id): its members use it.", show_default=False)
    ] = None,
    test_at: Annotated[
        str | None, typer.Option(metavar="URL", help="http: try it at this address.", show_default=False)
    ] = None,
    no_test: Annotated[bool, typer.Option("--no-test", help="Keep it without trying it.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Keep a credential, once the other side has taken it. The secret is asked for: it is no argument.

    Example:

        broker credential add scenes s3 my-bucket --endpoint https://s3.example.org --access-key AKIA...

        broker credential add ghcr registry ghcr.io --username me < token.txt

        broker credential add mine openeo https://openeo.example.org

    The last one is your own account on an openEO platform: you log in there in a browser, and your jobs run there in
    it. With --username it asks for a password; with --secret-file it takes a refresh token.
    """
    body: dict[str, Any] = {"kind": kind.value, NAMED[kind]: target}
    more = {"endpoint": endpoint, "region": region, "accessKey": access_key, "username": username, "test": test_at}
    more |= {"clientId": client_id, "provider": provider}
    body |= {key: value for key, value in more.items() if value is not None}
    if project is not None:
        body["shared"] = "project"
    token = ("refreshToken", "Refresh token") if kind is Kind.OPENEO else ("token", "Token")
    field, words = ("password", "Password") if username is not None else token
    if kind is Kind.OPENEO and (username, secret_file) == (None, None):
        given = "" if sys.stdin.isatty() else sys.stdin.readline().strip()  # none: a login in a browser
        body |= {field: given} if given else {}
    else:
        body["secretKey" if kind is Kind.S3 else field] = _asked(SECRET.get(kind, words), secret_file)
    options: dict[str, Any] = {"params": {"test": "false"}} if no_test else {}
    if project is not None:
        options["headers"] = {"Acting-Project": project}
    with connect(server) as client:
        made = _logged_in(client, name, client.json("PUT", _path(name), json=body, **options))
    if as_json:
        put_json(made)
        return
    note(made.get("answered") or "Kept, and not tried.")
    instead = f", and not {', '.join(made['insteadOf'])}" if made.get("insteadOf") else ""
    note(f"{made['name']} is used for {made['target']} from now on{instead}.")


@app.command("list")
@command
def list_(server: Server = None, as_json: AsJson = False) -> None:
    """List yours, and those that your projects share: what they are for, never what is secret.

    Example:

        broker credential list
    """
    with connect(server) as client:
        found = client.json("GET", "/credentials")["credentials"]
    if as_json:
        put_json(found)
        return
    rows = (
        (
            one["name"],
            one["kind"],
            one["target"],
            one["project"] if one["shared"] == "project" else "",
            "yes" if one["tested"] else "no",
            moment(one["created"]),
            moment(one["lastUsed"]),
        )
        for one in found
    )
    put_table(("NAME", "KIND", "FOR", "PROJECT", "TESTED", "CREATED", "LAST USED"), rows)


@app.command()
@command
def remove(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Remove a credential: jobs that start from now on do without it.

    Example:

        broker credential remove scenes
    """
    with connect(server) as client:
        client.request("DELETE", _path(name))
    if as_json:
        put_json({"name": name, "removed": True})
    else:
        note(f"Removed {name}.")


@app.command("test")
@command
def try_(
    name: Name,
    at: Annotated[str | None, typer.Option(metavar="URL", help="http: at this address.", show_default=False)] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Try a credential as it is kept.

    Example:

        broker credential test scenes
    """
    with connect(server) as client:
        found = _logged_in(client, name, client.json("POST", f"{_path(name)}/test", json={"test": at} if at else {}))
    if as_json:
        put_json(found)
    else:
        note(found["answered"])


@app.command()
@command
def rotate(
    new_key: Annotated[bool, typer.Option("--new-key", help="Make a new key first; old ones still open.")] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove the old keys from the file after that.")] = False,
    config: ConfigFile = None,
    state: Annotated[
        Path | None, typer.Option(help="The broker's state directory, as for `broker up`.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt all credentials of your own broker with the newest key. Running jobs and servers go on.

    Works on the database that broker.toml names: whoever may write it is the operator.

    Example:

        broker credential rotate --new-key
    """
    from broker.access.vault import KeyFile
    from broker.bootstrap import SYSTEM, open_broker
    from broker.execution.credentials import rotate as again
    from broker.settings import load
    from broker.store.schema import migrate

    settings = load(config)
    settings = settings if state is None else settings.model_copy(update={"state": state.absolute()})
    if settings.secrets.key is not None and (new_key or drop_old):
        raise SetupError("The keys are in BROKER_SECRETS__KEY.", hint="Put the new one first there, and run it again.")
    file = KeyFile(settings.key_file)
    if new_key:
        file.add()
    broker = open_broker(settings)
    with closing(broker.database):
        migrate(broker.database)
        count = again(broker.database, broker.vault, SYSTEM)
    if drop_old:
        file.drop_old()
    if as_json:
        put_json({"resealed": count})
    else:
        note(f"{count} credentials were encrypted again with the newest key.")


def _path(name: str) -> str:
    return f"/credentials/{quote(name, safe='')}"


def _logged_in(client: Client, name: str, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """The credential, once somebody has confirmed the login that it waits for. Raises what the broker refuses."""
    shown = None
    while (login := made.get("login")) is not None:
        if login["code"] != shown:
            note(f"Open {login['address']} and confirm the code {login['code']}. Waiting; Ctrl-C goes on without:")
            note(f"    broker credential test {name}")
            shown = login["code"]
        time.sleep(max(1.0, float(login["interval"])))
        made = client.json("POST", f"{_path(name)}/test", json={})
    return made


def _asked(what: str, file: Path | None) -> str:
    """The secret, from a file, a prompt or the standard input. Raises UsageError."""
    if file is not None:
        try:
            given = file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} cannot be read.") from error
    else:
        given = typer.prompt(what, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    secret = given.strip()
    if not secret or not secret.isprintable():
        raise UsageError("That is no secret.", hint="Give one line on the standard input, or with --secret-file.")
    return secret
