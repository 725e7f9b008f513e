"""Platforms: added while the broker runs, their pace, budgets, accounts, and why a job is where it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("platforms", sa.Column("terms", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("placement", sa.Text(), nullable=True))
    op.create_table(
        "platform_configs",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "adapter", "options")),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_platform_configs"),
    )
    op.create_table(
        "platform_pace",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("closed_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_platform_pace"),
    )
    op.create_table(
        "budgets",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("credits", sa.Double(), nullable=True),
        sa.Column("sponsorship", sa.Text(), nullable=True),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project", "platform", name="pk_budgets"),
    )
    accounts()


def accounts() -> None:
    amounts = ("ended", "held_seconds", "core_seconds", "mib_seconds", "cpu_seconds")
    op.create_table(
        "accounts",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("job_id", "owner", "project")),
        sa.Column("delegate", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("platform", "process_id")),
        sa.Column("sponsorship", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in amounts),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.Double(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name="pk_accounts"),
    )
    op.create_index("ix_accounts_owner", "accounts", ["owner", "ended"])
    op.create_index("ix_accounts_project", "accounts", ["project", "platform", "ended"])
    op.create_index("ix_accounts_process", "accounts", ["process_id", "platform", "ended"])
    op.create_index("ix_accounts_ended", "accounts", ["ended"])
