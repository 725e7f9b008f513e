"""Deployment in full: where a package came from; callbacks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("processes", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("subscriber", sa.Text(), nullable=True))
    op.create_table(
        "callbacks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_callbacks"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_callbacks_job", "callbacks", ["job_id", "id"])
    next_row = sa.text("state = 'pending'")
    op.create_index("ix_callbacks_due", "callbacks", ["due_at"], sqlite_where=next_row, postgresql_where=next_row)
    op.create_table(
        "callback_secrets",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_callback_secrets"),
    )
    current, listed = sa.text("current"), ["id", "owner", "shared", "shared_with", "current"]
    op.create_index("ix_processes_listed", "processes", listed, sqlite_where=current, postgresql_where=current)
    failed = sa.text("phase = 'failed'")
    op.create_index("ix_jobs_failed", "jobs", ["owner", "id"], sqlite_where=failed, postgresql_where=failed)
