"""Migration of the schema (Alembic); apart from `database`, so that a running broker need not import it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from broker.store.database import Database


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`. Migrations expand, then contract: the previous release runs on it."""
    command.upgrade(configuration(database), revision)


def configuration(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = database.engine
    return config
