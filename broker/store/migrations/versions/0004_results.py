"""Results: provenance, publications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provenance",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("record", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_provenance"),
    )
    op.create_table(
        "project_publishing",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("officers", sa.Text(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_project_publishing"),
    )
    publications()
    comparisons()
    call_cache()


def publications() -> None:
    op.create_table(
        "publications",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "owner", "project", "shared")),
        sa.Column("shared_with", sa.Text(), nullable=True),
        sa.Column("delegate", sa.Text(), nullable=True),
        sa.Column("process_id", sa.Text(), nullable=True),
        sa.Column("process_revision", sa.Integer(), nullable=True),
        *(sa.Column(one, sa.Text(), nullable=False) for one in ("target", "kind", "title", "state", "message")),
        sa.Column("request", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("plan", "receipt", "after", "previous", "promotes")),
        sa.Column("withdraw", sa.Boolean(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_publications"),
    )
    op.create_index("ix_publications_owner", "publications", ["owner", "id"])
    op.create_index("ix_publications_after", "publications", ["after"])
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_publications_due", "publications", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "publication_jobs",
        sa.Column("publication_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("publication_id", "number", name="pk_publication_jobs"),
    )
    op.create_index("ix_publication_jobs_job", "publication_jobs", ["job_id"])
    op.create_table(
        "publication_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("publication_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_publication_events"),
    )
    op.create_index("ix_publication_events", "publication_events", ["publication_id", "id"])


def comparisons() -> None:
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("with_job", sa.Text(), nullable=True),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("against", sa.Text(), nullable=False),
        sa.Column("tolerance", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
        sa.UniqueConstraint("job_id", "asked", name="uq_comparisons_asked"),
    )
    still = sa.text("state IN ('waiting', 'comparing')")
    op.create_index("ix_comparisons_due", "comparisons", ["due_at"], sqlite_where=still, postgresql_where=still)


def call_cache() -> None:
    op.add_column("jobs", sa.Column("reused", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("reproduces", sa.Text(), nullable=True))
    op.create_table(
        "call_cache",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("computed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_call_cache"),
    )
    op.create_index("ix_call_cache_key", "call_cache", ["key"])
    op.create_index("ix_call_cache_computed", "call_cache", ["computed"])
