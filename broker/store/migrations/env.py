"""Alembic's entry: runs the revisions on the engine that `broker.store.database` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine, text

from broker.store import account_tables, platform_tables, result_tables  # noqa: F401 - so that all tables are known
from broker.store.tables import metadata

engine: Engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # hosts that start side by side take turns
            connection.execute(text("select pg_advisory_xact_lock(20260915)"))
        context.run_migrations()
    connection.commit()
