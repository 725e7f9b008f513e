"""The tables of access: people and their sessions, projects, quotas, credentials, and what was done by whom."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from broker.store.tables import Json, Serial, metadata

people = Table(
    "people",
    metadata,
    Column("id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("orcid", Text),
    Column("created", Double, nullable=False),
    Column("seen", Double, nullable=False),
    UniqueConstraint("issuer", "subject", name="uq_people_subject"),
)

logins = Table(  # a browser that was sent to its issuer and has not come back yet
    "logins",
    metadata,
    Column("state", Text, primary_key=True),  # SHA-256 of it
    Column("issuer", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("expires", Double, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("created", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created", Double, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("project", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("part", Text, nullable=False),
    Column("since", Double, nullable=False),
)
Index("ix_members_person", members.c.person)

invitations = Table(
    "invitations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("project", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("invited_by", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("used_by", Text),
    Column("used", Double),
)
Index("ix_invitations_project", invitations.c.project)

quotas = Table(  # kind: person | project | delegate; what it does not name is as in the settings
    "quotas",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("limits", Json, nullable=False),
    Column("changed", Double, nullable=False),
)

usage = Table(  # period: a month of UTC, year * 100 + month
    "usage",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("project", Text, primary_key=True),
    Column("delegate", Text, primary_key=True),
    Column("period", Integer, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("core_seconds", Double, nullable=False),  # cores that jobs asked for, times how long they held them
    Column("cpu_seconds", Double, nullable=False),  # what their steps were measured to use of that
)
Index("ix_usage_project", usage.c.project, usage.c.period)
Index("ix_usage_delegate", usage.c.delegate, usage.c.period)

stored = Table(  # bytes of kept results
    "stored",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("project", Text, primary_key=True),
    Column("delegate", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)
Index("ix_stored_project", stored.c.project)
Index("ix_stored_delegate", stored.c.delegate)

holds = Table(  # results that nobody may delete, and why: a publication that is not done yet
    "holds",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("created", Double, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("shared", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("tested", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Column("used", Double),
    UniqueConstraint("owner", "name", name="uq_credentials_name"),
)
Index("ix_credentials_project", credentials.c.project)

audit = Table(  # append-only: triggers refuse anything else
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("delegate", Text),
    Column("project", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("token", Text),
    Column("address", Text),
    Column("data", Json),
    Column("hash", Text, nullable=False),
)
Index("ix_audit_actor", audit.c.actor, audit.c.id)
