"""The tables of what becomes of jobs once they have ended: provenance, publications."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, Integer, Table, Text, UniqueConstraint, text

from broker.store.tables import Json, Serial, metadata

provenance = Table(  # `facts`: what the platform told, until the record is made of it when the job ends
    "provenance",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("facts", Json),
    Column("record", Text),  # JSON, as it was digested
    Column("digest", Text),  # sha256 (hex) of the record
    Column("created", Double, nullable=False),
)

project_publishing = Table(  # what a project publishes with when nobody says otherwise, and who has to agree
    "project_publishing",
    metadata,
    Column("project", Text, primary_key=True),
    Column("request", Json, nullable=False),
    Column("officers", Json, nullable=False),
    Column("changed", Double, nullable=False),
)

publications = Table(  # one for each target; see `broker.store.publications`
    "publications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("shared", Text, nullable=False),
    Column("shared_with", Text),
    Column("delegate", Text),
    Column("process_id", Text),  # of a process alone
    Column("process_revision", Integer),
    Column("target", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("request", Json, nullable=False),
    Column("plan", Json),  # of a repository: what is sent; made once
    Column("receipt", Json),
    Column("after", Text),  # the publication that it builds on
    Column("previous", Text),  # the publication that it corrects
    Column("promotes", Text),  # the publication in the test catalog that it repeats
    Column("withdraw", Boolean, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("tries", Integer, nullable=False),  # fruitless ones in a row
    Column("due_at", Double),
    Column("lease_until", Double),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("agreed", Text),  # digest of what somebody agreed to
)
Index("ix_publications_owner", publications.c.owner, publications.c.id)
Index("ix_publications_after", publications.c.after)
_DUE = text("due_at IS NOT NULL")
Index("ix_publications_due", publications.c.due_at, sqlite_where=_DUE, postgresql_where=_DUE)

publication_jobs = Table(
    "publication_jobs",
    metadata,
    Column("publication_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("job_id", Text, nullable=False),
)
Index("ix_publication_jobs_job", publication_jobs.c.job_id)

publication_events = Table(
    "publication_events",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("publication_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("actor", Text),  # the person who did it, if anybody
)
Index("ix_publication_events", publication_events.c.publication_id, publication_events.c.id)

comparisons = Table(  # the outputs of a job against others: see `broker.store.comparisons`
    "comparisons",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("with_job", Text),  # where the others are those of a job
    Column("asked", Text, nullable=False),  # sha256 (hex) of what and how: the same is asked once
    Column("against", Json, nullable=False),
    Column("tolerance", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("verdict", Text),
    Column("report", Json),
    Column("attempts", Integer, nullable=False),  # also the fence: who saves names the attempt
    Column("due_at", Double, nullable=False),
    Column("lease_until", Double),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    UniqueConstraint("job_id", "asked", name="uq_comparisons_asked"),
)
_OPEN = "state IN ('waiting', 'comparing')"
OPEN_COMPARISON = text(_OPEN)  # spelled as in this index, like tables.LIVE_ROW
Index("ix_comparisons_due", comparisons.c.due_at, sqlite_where=text(_OPEN), postgresql_where=text(_OPEN))

call_cache = Table(  # jobs that ended and left something to use again; see `broker.store.callcache`
    "call_cache",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("key", Text),  # of what it computed; None: only results of its steps may be used again
    Column("computed", Double, nullable=False),
)
Index("ix_call_cache_key", call_cache.c.key)
Index("ix_call_cache_computed", call_cache.c.computed)
