"""The tables. Every row that belongs to somebody has an owner and a project; times are epoch seconds (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class now(FunctionElement[float]):
    """The database's clock in epoch seconds: the only clock that counts for leases and due times."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"


def _plain(value: Any) -> Any:
    """The value with ? for halves of characters, and doubles for whole numbers beyond 64 bits."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(str(value))
    return value


class Unreadable:
    """In the place of a value that somebody damaged in the database: whatever is done with it raises ValueError."""

    def _refuse(self, *_: object) -> Any:
        raise ValueError("a JSON value in the database cannot be read")

    __getitem__ = __iter__ = __len__ = __bool__ = __contains__ = __eq__ = __hash__ = _refuse

    def __getattr__(self, name: str) -> Any:
        return self._refuse()


class Json(TypeDecorator[Any]):
    """A JSON value kept as text: the same bytes on SQLite and PostgreSQL, read by orjson."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # a tool's words may be what no JSON holds, and must not stop us from saving the rest
            return orjson.dumps(_plain(value)).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        try:
            return None if value is None else orjson.loads(value)
        except orjson.JSONDecodeError:  # said by who uses it: other rows, and the rest of this one, can be read
            return Unreadable()


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)
Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself only for INTEGER

packages = Table(
    "packages",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("bundle", Json, nullable=False),
    Column("inspection", Json, nullable=False),
    Column("created", Double, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("shared", Text, nullable=False, server_default="private"),
    Column("shared_with", Text),  # a project
    Column("delegate", Text),
    Column("images", Json),
    Column("source", Json),  # where the package came from: see `packages.source`
    Column("current", Boolean, nullable=False),
    Column("mutable", Boolean, nullable=False),
    Column("version", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("digest", Text, ForeignKey("packages.digest"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("summary", Json, nullable=False),
    Column("description", Json, nullable=False),
    Column("needs", Json, nullable=False),
    Column("created", Double, nullable=False),
)
CURRENT_ROW = text("processes.current")  # `processes.c.current` is compared with 1: SQLite then overlooks this index
Index(
    "ix_processes_current", processes.c.id, unique=True, sqlite_where=text("current"), postgresql_where=text("current")
)
_CURRENT = "current"
Index(
    "ix_processes_listed",
    processes.c.id,
    processes.c.owner,
    processes.c.shared,
    processes.c.shared_with,
    processes.c.current,  # SQLite takes an index for covering only if this is in it
    sqlite_where=text(_CURRENT),
    postgresql_where=text(_CURRENT),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("shared", Text, nullable=False, server_default="private"),
    Column("shared_with", Text),
    Column("delegate", Text),
    Column("process_id", Text, nullable=False),
    Column("process_revision", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Column("due_at", Double),
    Column("retries", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("tags", Json, nullable=False),
    Column("request", Json, nullable=False),
    Column("job_order", Json, nullable=False),
    Column("stage", Json, nullable=False),
    Column("needs", Json, nullable=False),
    Column("cores", Double, nullable=False),
    Column("ram_mib", Integer, nullable=False),
    Column("handle", Json),
    Column("progress_done", Integer),
    Column("progress_total", Integer),
    Column("message", Text, nullable=False),
    Column("dismiss_requested", Boolean, nullable=False),
    Column("failure", Json),
    Column("outputs", Json),
    Column("log_cursor", Text),
    Column("parent", Text),
    Column("step_key", Text),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("spent", Double, nullable=False, server_default="0"),  # core-seconds of its attempts so far
    Column("swept", Double),  # when its results were deleted (retention)
    Column("reused", Text),  # the job whose results it has, instead of having run
    Column("reproduces", Text),  # the experiment (its address) or job (its id) that it does again
    Column("subscriber", Json),  # who is told: see `jobs.model.Job`
    Column("placement", Json),  # why it is on its platform: see `jobs.placement.Placement`
    Column("children", Integer),  # how many jobs run steps of it; None: it has no such steps
    Column("account", Text),  # the owner's credential whose account on the platform it was submitted with
)
_FAILED = "phase = 'failed'"
FAILED_ROW = text(_FAILED)  # spelled as in its index, like LIVE_ROW
Index("ix_jobs_failed", jobs.c.owner, jobs.c.id, sqlite_where=text(_FAILED), postgresql_where=text(_FAILED))
_LIVE = "phase not in ('successful', 'failed', 'dismissed')"
Index("ix_jobs_owner", jobs.c.owner, jobs.c.id)
_SHARED, _PUBLIC = "shared <> 'private'", "shared = 'public'"
SHARED_ROW, PUBLIC_ROW = text(_SHARED), text(_PUBLIC)  # few of all jobs; spelled as in these indexes, like LIVE_ROW
Index("ix_jobs_shared", jobs.c.shared_with, jobs.c.id, sqlite_where=text(_SHARED), postgresql_where=text(_SHARED))
Index("ix_jobs_public", jobs.c.id, sqlite_where=text(_PUBLIC), postgresql_where=text(_PUBLIC))
Index("ix_jobs_process", jobs.c.owner, jobs.c.process_id, jobs.c.id)
LIVE_ROW = text(_LIVE)  # spelled as in the partial indexes: without it SQLite scans all jobs that ever were
_DUE = "due_at is not null"
Index("ix_jobs_due", jobs.c.platform, jobs.c.phase, jobs.c.due_at, sqlite_where=text(_DUE), postgresql_where=text(_DUE))
_DISMISS = f"dismiss_requested and {_LIVE}"
Index("ix_jobs_dismiss", jobs.c.platform, sqlite_where=text(_DISMISS), postgresql_where=text(_DISMISS))
for _tenant in ("owner", "project", "delegate"):  # counted when a quota of waiting jobs is set
    Index(
        f"ix_jobs_live_{_tenant}", jobs.c[_tenant], jobs.c.phase, sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)
    )
_ACTIVE = "phase in ('submitting', 'submitted', 'running')"
ACTIVE_ROW = text(_ACTIVE)  # what holds room on a platform
Index(
    "ix_jobs_active",
    jobs.c.platform,
    jobs.c.owner,
    jobs.c.project,
    jobs.c.delegate,
    jobs.c.cores,
    jobs.c.ram_mib,
    sqlite_where=text(_ACTIVE),
    postgresql_where=text(_ACTIVE),
)
_CHILD = "parent is not null"
Index(
    "ix_jobs_parent",
    jobs.c.parent,
    jobs.c.step_key,
    unique=True,
    sqlite_where=text(_CHILD),
    postgresql_where=text(_CHILD),
)
_FINISHED = "finished is not null"
Index("ix_jobs_finished", jobs.c.finished, sqlite_where=text(_FINISHED), postgresql_where=text(_FINISHED))
Index(
    "ix_jobs_live",
    jobs.c.platform,
    jobs.c.phase,
    jobs.c.priority,
    jobs.c.owner,
    jobs.c.project,
    jobs.c.id,
    sqlite_where=text(_LIVE),
    postgresql_where=text(_LIVE),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("created", Double, nullable=False),
)
Index("ix_idempotency_created", idempotency.c.created)

job_events = Table(
    "job_events",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("data", Json),
)
Index("ix_job_events_job", job_events.c.job_id, job_events.c.id)

job_logs = Table(
    "job_logs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stream", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Double, nullable=False),
)
Index("ix_job_logs_job", job_logs.c.job_id, job_logs.c.id)

job_steps = Table(
    "job_steps",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", Json, nullable=False),
)

job_files = Table(
    "job_files",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("ref", Text, nullable=False),
    Column("kept", Boolean, nullable=False),
    Column("size", BigInteger),
    Column("media_type", Text),
    Column("sha256", Text),
)

job_needs = Table(  # steps of a job that other platforms run: see `broker.store.children`
    "job_needs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("tool", Json, nullable=False),
    Column("job_order", Json, nullable=False),
    Column("child", Text),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("created", Double, nullable=False),
    sqlite_autoincrement=True,  # an id is never used again, so that relays may remember it
)

callbacks = Table(  # what subscribers are told, in order; see `broker.store.callbacks`
    "callbacks",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("seen", Json),  # how the job was; None: as it ended
    Column("tries", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("lease_until", Double),
    Column("status", Integer),  # of the last answer
    Column("message", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    sqlite_autoincrement=True,  # an id is what receivers tell deliveries apart by
)
Index("ix_callbacks_job", callbacks.c.job_id, callbacks.c.id)
_NEXT = "state = 'pending'"
NEXT_ROW = text(_NEXT)  # those whose turn it is; spelled as in this index, like LIVE_ROW
Index("ix_callbacks_due", callbacks.c.due_at, sqlite_where=text(_NEXT), postgresql_where=text(_NEXT))

callback_secrets = Table(  # what a person's callbacks are signed with, sealed
    "callback_secrets",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("before", LargeBinary),  # the one before it, which signs as well for a while
    Column("changed", Double, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("shared", Text, nullable=False, server_default="private"),
    Column("shared_with", Text),
    Column("delegate", Text),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger),  # announced; None until complete when the client did not say
    Column("received", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("complete", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
)
Index("ix_uploads_owner", uploads.c.owner, uploads.c.id)
Index("ix_uploads_project", uploads.c.project)
Index("ix_uploads_expires", uploads.c.expires)

removals = Table(  # bytes in storage whose rows are gone, until they are gone as well
    "removals",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("prefix", Text, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("tries", Integer, nullable=False),
)
Index("ix_removals_due_at", removals.c.due_at)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("last_used", Double),
    Column("parent", Text),  # the token that made it, and takes it along when it is revoked
)
Index("ix_tokens_owner", tokens.c.owner)
Index("ix_tokens_parent", tokens.c.parent)

platforms = Table(
    "platforms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("available", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("capabilities", Json, nullable=False),
    Column("message", Text, nullable=False),
    Column("checked", Double, nullable=False),
    Column("terms", Json),  # what its operator says of it: see `jobs.terms`
    Column("since", Double),  # from when on its checks found the same of `available`; None: nobody knows
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
)
