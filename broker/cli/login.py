"""`broker login`, `logout` and `whoami`: to be known to a broker by the account one has elsewhere."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from broker.cli import credentials
from broker.cli.client import Client
from broker.cli.console import AsJson, Server, command, connect, note, put_json
from broker.cli.oauth import Grant, Issuer
from broker.cli.problems import Unreachable, UsageError

app = typer.Typer()


@app.command()
@command
def login(
    issuer: Annotated[
        str | None, typer.Option(help="Where you are known, if the broker knows several.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Log in with an account that you have.

    The broker says where its people are known; you confirm a code there, in a browser on any machine. What you get
    is kept for your commands to this server, and renewed by them.

    Example:

        broker login --server https://broker.example.org
    """
    address = credentials.server_address(server)
    with Client(address) as client:
        chosen = _chosen(client.issuers(), issuer)
    at = Issuer(chosen["issuer"], chosen["clientId"], chosen["parameters"])
    device = at.begin(list(chosen["scopes"]))
    note(f"Open {device.complete or device.address}")
    note(f"and confirm the code {device.code}. Waiting …")
    grant = at.wait(device)
    with Client(address, grant.access_token) as client:
        me = client.me()  # the broker may know the account, and have no role for it
    file = credentials.keep(address, grant)
    if as_json:
        put_json({"server": address, "issuer": chosen["name"], "file": str(file), **me})
    else:
        note(f"You are {me['name']} ({', '.join(me['scopes'])}). Kept in {file} for {address}.")
        if os.environ.get("BROKER_TOKEN"):
            note("BROKER_TOKEN is set, and goes before this login.")


def _chosen(issuers: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """The issuer to log in at. Raises UsageError where that is not clear."""
    fitting = [one for one in issuers if one.get("clientId") and wanted in (None, one["name"])]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(str(one["name"]) for one in issuers if one.get("clientId"))
    if not names:
        raise UsageError("Nobody logs in at this broker.", hint="Keep a token that you were given: broker token save")
    if fitting:
        raise UsageError("This broker knows people of several issuers.", hint=f"Say which: --issuer, one of {names}")
    raise UsageError(f"People of {wanted} do not log in here.", hint=f"It is one of {names}")


@app.command()
@command
def logout(server: Server = None, as_json: AsJson = False) -> None:
    """Forget the login, or the token, that is kept for a server.

    Example:

        broker logout
    """
    address = credentials.server_address(server)
    kept = credentials.kept_for(address)
    file = credentials.keep(address, None)
    if isinstance(kept, Grant):
        try:
            Issuer(kept.issuer, kept.client_id, kept.parameters).revoke(kept)
        except Unreachable:
            note("The issuer does not answer: what it gave ends by itself.")
    if as_json:
        put_json({"server": address, "forgotten": kept is not None, "file": str(file)})
    else:
        note(f"Forgotten in {file}: {address}." if kept else f"Nothing was kept for {address}.")


@app.command()
@command
def whoami(server: Server = None, as_json: AsJson = False) -> None:
    """Say who you are to a broker, and what you may do there.

    Example:

        broker whoami
    """
    with connect(server) as client:
        me = client.me()
    if as_json:
        put_json(me)
        return
    if not me["authenticated"]:
        note("Nobody is asked who they are: this broker is open to everybody on its machine.")
    print(me["id"])
    more = [me["name"], me.get("email"), me.get("orcid")]
    print(" · ".join(str(one) for one in more if one))
    if me["project"] != me["id"]:
        print(f"in the project {me['project']}")
    print(f"may: {', '.join(me['scopes'])}")
