"""Alembic's entry: runs the revisions on the engine that `broker.store.database` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine

from broker.store.tables import metadata

engine: Engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
