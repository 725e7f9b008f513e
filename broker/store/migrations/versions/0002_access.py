"""Access: people, projects, sharing, quotas, credentials, and the audit that only grows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("phase not in ('successful', 'failed', 'dismissed')")
ACTIVE = sa.text("phase in ('submitting', 'submitted', 'running', 'waiting')")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_actor", "audit", ["actor", "id"], unique=False)

    op.create_table(
        "credentials",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("shared", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("tested", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.Column("used", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("owner", "name", name="uq_credentials_name"),
    )
    op.create_index("ix_credentials_project", "credentials", ["project"], unique=False)

    op.create_table(
        "holds",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "reason", name=op.f("pk_holds")),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.Column("used", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ix_invitations_project", "invitations", ["project"], unique=False)

    op.create_table(
        "logins",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_logins")),
    )
    op.create_table(
        "members",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project", "person", name=op.f("pk_members")),
    )
    op.create_index("ix_members_person", "members", ["person"], unique=False)

    op.create_table(
        "people",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("orcid", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("issuer", "subject", name="uq_people_subject"),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "quotas",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_quotas")),
    )
    op.create_table(
        "sessions",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sessions")),
    )
    op.create_table(
        "usage",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("core_seconds", sa.Double(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "project", "delegate", "period", name=op.f("pk_usage")),
    )
    op.create_index("ix_usage_project", "usage", ["project", "period"], unique=False)
    op.create_index("ix_usage_delegate", "usage", ["delegate", "period"], unique=False)

    op.create_table(
        "stored",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("delegate", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "project", "delegate", name=op.f("pk_stored")),
    )
    op.create_index("ix_stored_project", "stored", ["project"], unique=False)
    op.create_index("ix_stored_delegate", "stored", ["delegate"], unique=False)
    op.execute(
        "insert into stored (owner, project, delegate, bytes) select j.owner, j.project, '', sum(f.size)"
        " from job_files f join jobs j on j.id = f.job_id"
        " where f.kept and f.size is not null and j.phase in ('successful', 'failed', 'dismissed')"
        " group by j.owner, j.project"
    )
    op.create_table(
        "removals",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.create_index("ix_removals_due_at", "removals", ["due_at"], unique=False)
    op.create_index("ix_idempotency_created", "idempotency", ["created"], unique=False)
    op.add_column("jobs", sa.Column("shared", sa.Text(), server_default="private", nullable=False))
    op.add_column("jobs", sa.Column("shared_with", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("delegate", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("swept", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("spent", sa.Double(), server_default="0", nullable=False))
    for tenant in ("owner", "project", "delegate"):
        name = f"ix_jobs_live_{tenant}"
        op.create_index(name, "jobs", [tenant, "phase"], unique=False, sqlite_where=LIVE, postgresql_where=LIVE)
    op.drop_index("ix_jobs_live", "jobs")
    line = ["platform", "phase", "priority", "owner", "project", "id"]
    op.create_index("ix_jobs_live", "jobs", line, unique=False, sqlite_where=LIVE, postgresql_where=LIVE)
    load = ["platform", "owner", "project", "delegate", "cores", "ram_mib"]
    op.create_index("ix_jobs_active", "jobs", load, unique=False, sqlite_where=ACTIVE, postgresql_where=ACTIVE)
    ended = sa.text("finished is not null")
    op.create_index("ix_jobs_finished", "jobs", ["finished"], unique=False, sqlite_where=ended, postgresql_where=ended)
    shared, public = sa.text("shared <> 'private'"), sa.text("shared = 'public'")
    op.create_index(
        "ix_jobs_shared", "jobs", ["shared_with", "id"], unique=False, sqlite_where=shared, postgresql_where=shared
    )
    op.create_index("ix_jobs_public", "jobs", ["id"], unique=False, sqlite_where=public, postgresql_where=public)

    op.add_column("processes", sa.Column("shared", sa.Text(), server_default="private", nullable=False))
    op.add_column("processes", sa.Column("shared_with", sa.Text(), nullable=True))
    op.add_column("processes", sa.Column("delegate", sa.Text(), nullable=True))
    op.add_column("processes", sa.Column("images", sa.Text(), nullable=True))

    op.add_column("tokens", sa.Column("parent", sa.Text(), nullable=True))
    op.create_index("ix_tokens_owner", "tokens", ["owner"], unique=False)
    op.create_index("ix_tokens_parent", "tokens", ["parent"], unique=False)

    op.add_column("uploads", sa.Column("shared", sa.Text(), server_default="private", nullable=False))
    op.add_column("uploads", sa.Column("shared_with", sa.Text(), nullable=True))
    op.add_column("uploads", sa.Column("delegate", sa.Text(), nullable=True))
    op.create_index("ix_uploads_project", "uploads", ["project"], unique=False)
    # until now everybody saw every process
    op.execute("update processes set shared = 'public'")
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"create trigger audit_no_{verb} before {verb} on audit"
                " begin select raise(abort, 'the audit is append-only'); end"
            )
    else:
        op.execute(
            "create function audit_refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'the audit is append-only'; end $$"
        )
        op.execute(
            "create trigger audit_no_change before update or delete or truncate on audit"
            " for each statement execute function audit_refuse()"
        )
