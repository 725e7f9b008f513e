"""The tables of what becomes of jobs once they have ended: provenance, publications."""

from __future__ import annotations

from sqlalchemy import Column, Double, Table, Text

from broker.store.tables import Json, metadata

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
