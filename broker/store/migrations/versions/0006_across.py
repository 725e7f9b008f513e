"""Jobs whose steps run on other platforms: what they need there, and the jobs that bring it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ACTIVE = sa.text("phase in ('submitting', 'submitted', 'running')")  # one that waits holds no room
CHILD = sa.text("parent is not null")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("children", sa.Integer(), nullable=True))
    op.drop_index("ix_jobs_active", table_name="jobs")
    load = ["platform", "owner", "project", "delegate", "cores", "ram_mib"]
    op.create_index("ix_jobs_active", "jobs", load, unique=False, sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    op.create_index(
        "ix_jobs_parent", "jobs", ["parent", "step_key"], unique=True, sqlite_where=CHILD, postgresql_where=CHILD
    )
    op.create_table(
        "job_needs",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("job_id", "key")),
        sa.Column("attempt", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("step", "platform", "tool", "job_order")),
        sa.Column("child", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "key", name="pk_job_needs"),
    )
