"""What a job leaves: kept output files, logs and step records, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from broker.errors import NoSuchFile
from broker.jobs.model import Step
from broker.platform import LogChunk, OutputFile
from broker.store.tables import job_files, job_logs, job_steps, now

f = job_files.c
FIELDS = [f.path, f.attempt, f.ref, f.kept, f.size, f.media_type, f.sha256]
# statements are built once: SQLAlchemy takes longer to build one than SQLite to run it
_OF_JOB = f.job_id == bindparam("job")
_FORGET = delete(job_files).where(_OF_JOB)
_ADD = insert(job_files)
_KEPT = (
    update(job_files)
    .where(_OF_JOB, f.path == bindparam("of"))
    .values(kept=True, size=bindparam("n"), sha256=bindparam("sha"), media_type=bindparam("kind"))
)
_NOT_KEPT = select(*FIELDS).where(_OF_JOB, ~f.kept).order_by(f.path).limit(bindparam("most"))
_LOGGED = select(func.coalesce(func.sum(func.length(job_logs.c.text)), 0)).where(
    job_logs.c.job_id == bindparam("job"), job_logs.c.attempt == bindparam("of")
)
_ADD_LOG = insert(job_logs).values(
    {name: bindparam(name) for name in ("job_id", "attempt", "stream", "text")} | {"at": now()}
)
_FORGET_STEPS = delete(job_steps).where(job_steps.c.job_id == bindparam("job"), job_steps.c.attempt == bindparam("of"))
_ADD_STEP = insert(job_steps)
LOG_BYTES = 20 * 2**20  # of one attempt; what comes after is cut, with a line that says so


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An output file. The bytes exist in storage when `kept`; size in bytes, sha256 hex."""

    path: str
    attempt: int
    ref: str
    kept: bool
    size: int | None
    media_type: str | None
    sha256: str | None


def announce(tx: Connection, job_id: str, attempt: int, files: Sequence[OutputFile]) -> None:
    """One row per output file of the attempt, before any byte moves; those of earlier attempts go."""
    tx.execute(_FORGET, {"job": job_id})
    if files:
        rows = [
            {
                "job_id": job_id,
                "path": file.path,
                "attempt": attempt,
                "ref": file.ref,
                "kept": False,
                "size": file.size,
                "media_type": file.media_type,
                "sha256": file.sha256,
            }
            for file in files
        ]
        tx.execute(_ADD, rows)


def kept(tx: Connection, job_id: str, moved: Sequence[KeptFile]) -> None:
    """The bytes of these are in storage now: size, sha256 and media type as found there."""
    if moved:
        rows = [{"job": job_id, "of": m.path, "n": m.size, "sha": m.sha256, "kind": m.media_type} for m in moved]
        tx.execute(_KEPT, rows)


def of_job(tx: Connection, job_id: str, *, kept_only: bool = True) -> list[KeptFile]:
    """The output files, by path."""
    query = select(*FIELDS).where(f.job_id == job_id)
    if kept_only:
        query = query.where(f.kept)
    return [KeptFile(*row) for row in tx.execute(query.order_by(f.path))]


def not_kept(tx: Connection, job_id: str, limit: int) -> list[KeptFile]:
    return [KeptFile(*row) for row in tx.execute(_NOT_KEPT, {"job": job_id, "most": limit})]


def one(tx: Connection, job_id: str, path: str) -> KeptFile:
    """One kept output file. Raises NoSuchFile."""
    query = select(*FIELDS)
    row = tx.execute(query.where(f.job_id == job_id, f.path == path, f.kept)).first()
    if row is None:
        raise NoSuchFile(f"The job {job_id} has no output file {path!r}.")
    return KeptFile(*row)


def add_logs(tx: Connection, job_id: str, attempt: int, chunks: Sequence[LogChunk]) -> None:
    """Append log text; NUL bytes (which PostgreSQL refuses) become a replacement character."""
    if not chunks:
        return
    room = LOG_BYTES - tx.execute(_LOGGED, {"job": job_id, "of": attempt}).scalar_one()
    rows = []
    for chunk in chunks:
        if room <= 0:
            break
        text = chunk.text.replace("\x00", "\ufffd")
        if len(text) > room:
            text = text[:room] + f"\n[the log was cut here: a job may keep {LOG_BYTES // 2**20} MiB]\n"
        room -= len(text)
        rows.append({"job_id": job_id, "attempt": attempt, "stream": chunk.stream, "text": text})
    if rows:
        tx.execute(_ADD_LOG, rows)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A stored chunk; `id` is the cursor to read on after."""

    id: int
    attempt: int
    stream: str
    text: str
    at: float


def logs(
    tx: Connection,
    job_id: str,
    *,
    after: int = 0,
    stream: str | None = None,
    attempt: int | None = None,
    limit: int = 500,
) -> list[LogRow]:
    """Stored log chunks in the order they came, after the cursor `after`."""
    g = job_logs.c
    query = select(g.id, g.attempt, g.stream, g.text, g.at).where(g.job_id == job_id, g.id > after)
    if stream is not None:
        query = query.where(g.stream == stream)
    if attempt is not None:
        query = query.where(g.attempt == attempt)
    return [LogRow(*row) for row in tx.execute(query.order_by(g.id).limit(limit))]


def log_end(tx: Connection, job_id: str, limit: int) -> list[LogRow]:
    """The last stored chunks, in the order they came."""
    g = job_logs.c
    query = select(g.id, g.attempt, g.stream, g.text, g.at).where(g.job_id == job_id).order_by(g.id.desc())
    return [LogRow(*row) for row in tx.execute(query.limit(limit))][::-1]


def streams(tx: Connection, job_id: str, limit: int = 500) -> list[str]:
    """The names of what wrote to the log, in alphabetical order."""
    g = job_logs.c
    query = select(g.stream).distinct().where(g.job_id == job_id).order_by(g.stream).limit(limit)
    return list(tx.execute(query).scalars())


def put_steps(tx: Connection, job_id: str, attempt: int, steps: Sequence[Step]) -> None:
    """The steps known of an attempt, in order; replaces what was known before."""
    tx.execute(_FORGET_STEPS, {"job": job_id, "of": attempt})
    if steps:
        rows = [
            {"job_id": job_id, "attempt": attempt, "number": number, "step": step.to_json()}
            for number, step in enumerate(steps)
        ]
        tx.execute(_ADD_STEP, rows)


def steps(tx: Connection, job_id: str, attempt: int) -> list[Step]:
    s = job_steps.c
    query = select(s.step).where(s.job_id == job_id, s.attempt == attempt).order_by(s.number)
    return [Step.from_json(value) for value in tx.execute(query).scalars()]
