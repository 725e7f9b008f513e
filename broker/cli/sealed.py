"""Whether the keys are here that encrypt credentials and what signs callbacks, for `broker doctor`."""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from broker.access.vault import KeyFile, Vault
from broker.cli.finding import Finding
from broker.errors import BrokerError, SetupError
from broker.settings import Settings
from broker.store import callbacksecrets, credentials
from broker.store.database import Database


def secrets(settings: Settings) -> Finding:
    """Whether what encrypts credentials is there, closed to others, and opens all that is kept."""
    try:
        if settings.secrets.key is not None:
            vault, detail = Vault.of_text(settings.secrets.key.get_secret_value()), "the key is in the environment"
        else:
            file = KeyFile(settings.key_file)
            vault, found = Vault(file), file()
            detail = f"{len(found)} keys in {file.path}" if found else "the key is made with the first credential"
    except SetupError as error:
        return Finding("secrets", "error", error.detail, (error.hint or "").removeprefix("Run: "))
    lost = _lost(settings, vault)
    if not any(lost):
        return Finding("secrets", "ok", detail)
    told = f"the key is not here that opens {lost[0]} credentials and the secrets of {lost[1]} people's callbacks"
    return Finding("secrets", "error", told, "put the key file back that was in use; see deploy/README.md")


def _lost(settings: Settings, vault: Vault) -> tuple[int, int]:
    """How many (credentials, people's secrets of callbacks) no key opens; none where the database does not answer,
    which is another finding's."""
    if settings.database_url is None and not (settings.state / "broker.db").exists():
        return 0, 0
    try:
        with closing(Database(settings.database, pool_size=1)) as database, database.read() as tx:
            there = inspect(tx)
            kept = credentials.every(tx) if there.has_table("credentials") else []
            signing = callbacksecrets.every(tx) if there.has_table("callback_secrets") else []
    except (BrokerError, SQLAlchemyError, ArgumentError, ModuleNotFoundError):
        return 0, 0
    return (
        sum(not vault.knows(one.sealed) for one in kept),
        sum(not vault.knows(one.sealed) for one in signing),
    )
