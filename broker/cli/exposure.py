"""Who may reach a broker: without tokens it serves this machine only."""

from __future__ import annotations

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from broker.errors import BrokerError, SetupError
from broker.settings import Settings
from broker.store import tokens
from broker.store.database import Database


def is_loopback(host: str) -> bool:
    """Whether an address to serve is of this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def tokens_exist(settings: Settings) -> bool:
    """Whether there is a valid token. Raises what the database raises when it does not answer."""
    if settings.database_url is None and not (settings.state / "broker.db").exists():
        return False
    found = Database(settings.database, pool_size=1)
    try:
        with found.read() as tx:
            return inspect(tx).has_table("tokens") and tokens.any_valid(tx)
    finally:
        found.close()


def check(settings: Settings) -> None:
    """Raise SetupError when everybody on the network could use the broker.

    The API refuses it too (`Gate.check_setup`), but of a process that the supervisor starts one sees a traceback.
    """
    if is_loopback(settings.api.host) or settings.access.issuers:
        return
    try:
        fine = tokens_exist(settings)
    except (BrokerError, SQLAlchemyError):
        return  # no database, no answer: what starts with the broker says more of it, and refuses as well
    if not fine:
        raise SetupError(
            "The broker does not serve other machines without tokens: everybody could run programs here.",
            hint="Make a token first: broker token create NAME --save   Or serve 127.0.0.1.",
        )
