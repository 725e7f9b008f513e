"""Provenance rows: what a platform told of a job, and the record that is made in the transaction that ends the job."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson
from sqlalchemy import BindParameter, Connection, Insert, RowMapping, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.principal import Reach
from broker.jobs import record
from broker.jobs.model import Job, Step
from broker.jobs.record import Context
from broker.store.account_tables import people
from broker.store.result_tables import provenance
from broker.store.tables import Json, job_events, job_files, job_needs, job_steps, jobs, now, platforms, processes
from broker.store.visible import by, visible

MOST_FACTS = 2 * 2**20  # bytes: of larger ones only what is small is kept
MOST_FILES = 100_000
MOST_KNOWN = 256
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError)  # what reading of a damaged row raises
log = logging.getLogger(__name__)
v, p, s, f, e = provenance.c, processes.c, job_steps.c, job_files.c, job_events.c
try:
    VERSION = version("earthcode-broker")
except PackageNotFoundError:  # run from the source
    VERSION = "0"
# statements are built once: SQLAlchemy takes longer to build one than SQLite to run it
_OF: BindParameter[str] = bindparam("job")
_FACTS = select(v.facts).where(v.job_id == _OF)
_FOUND = (
    select(v.record, v.digest, jobs.c.owner)
    .join_from(provenance, jobs, jobs.c.id == v.job_id)
    .where(v.job_id == _OF, visible(jobs))
)
_REVISION = (p.id == bindparam("id"), p.revision == bindparam("number"))
_PROCESS = select(p.version, p.kind, p.digest, p.media_type, p.summary, p.source, p.created).where(*_REVISION)
_BODY = select(p.body).where(*_REVISION)
_PLATFORM = select(platforms.c.adapter).where(platforms.c.name == bindparam("name"))
_PERSON = select(people.c.issuer, people.c.subject, people.c.name, people.c.orcid).where(people.c.id == bindparam("id"))
_STEPS = select(s.step).where(s.job_id == _OF, s.attempt == bindparam("attempt")).order_by(s.number)
_FILES = (
    select(f.path, f.sha256, f.size, f.media_type).where(f.job_id == _OF, f.kept).order_by(f.path).limit(MOST_FILES)
)
_EVENTS = select(e.event, e.at, e.data).where(e.job_id == _OF).order_by(e.id).limit(record.MOST_EVENTS)
_CHILDREN = (
    select(jobs.c.id, job_needs.c.step, jobs.c.platform, jobs.c.phase, v.digest, v.record)
    .join_from(job_needs, jobs, jobs.c.id == job_needs.c.child)
    .outerjoin(provenance, v.job_id == jobs.c.id)
    .where(job_needs.c.job_id == _OF)
    .order_by(job_needs.c.attempt, jobs.c.id)
    .limit(MOST_FILES)
)
_submitted: dict[tuple[str, int, float], str] = {}


def note(tx: Connection, job_id: str, facts: Mapping[str, Any]) -> None:
    """Keep what a platform told of an attempt that has ended, for the record to come."""
    if not facts:
        return
    if len(orjson.dumps(facts, default=str)) > MOST_FACTS:
        facts = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    tx.execute(_put(tx.dialect.name, ("facts",)), {"job_id": job_id, "facts": dict(facts)})


def noted(tx: Connection, job_id: str) -> dict[str, Any]:
    """What was kept by `note`."""
    found: dict[str, Any] | None = tx.execute(_FACTS, {"job": job_id}).scalar()
    return found or {}


def facts_of(tx: Connection, source: str) -> dict[str, Any]:
    """The facts (see `note`) of a job that gets the results of another one: what the record of that one says of them is
    true of them here, too."""
    found = get(tx, source) or {}
    engine = found.get("platform") or {}
    facts = {key: engine[key] for key in ("isolation", "containerEngine", "node") if key in engine}
    entries = [one for value in (found.get("outputs") or {}).values() if isinstance(value, list) for one in value]
    for fact, key in (("stacIds", "stacId"), ("sources", "source")):
        facts[fact] = {one["path"]: one[key] for one in entries if one.get(key)}
    reused = record.known({"job": source, "record": digest(tx, source)})
    return facts | record.known({"engine": found.get("engine")}) | {"reused": reused}


def write(tx: Connection, row: RowMapping, job: Job) -> None:
    """The record of a job that ends with this transaction. `row`: the job's, with `parent`."""
    try:
        found = record.build(job, _context(tx, row, job))
    except _DAMAGED:  # a job must be able to end whatever somebody did to its rows
        log.exception("the provenance of %s cannot be told in full", job.id)
        found = _incomplete(row)
    _keep(tx, job.id, found)


def write_damaged(tx: Connection, row: RowMapping) -> None:
    """The record of a job whose row could not be read, and which ends with that."""
    _keep(tx, row["id"], _incomplete(row))


def _incomplete(row: RowMapping) -> dict[str, Any]:
    """What can be told in any case."""
    job = {name: row[name] for name in ("id", "phase")} | {"attempts": row["attempt"]}
    times = {name: record.moment(row[name]) for name in ("created", "started", "finished")}
    return {
        "type": record.TYPE,
        "incomplete": True,
        "job": record.known(job | times),
        "process": {"id": row["process_id"], "revision": row["process_revision"]},
        "platform": {"name": row["platform"]},
        "broker": {"version": VERSION},
        "agent": {"person": row["owner"], "project": row["project"]},
        **{name: {} for name in ("package", "inputs", "outputs", "jobOrder")},
        "steps": [],
        "events": [],
    }


def _keep(tx: Connection, job_id: str, found: Mapping[str, Any]) -> None:
    text = Json().process_bind_param(found, tx.dialect) or "{}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    values = {"job_id": job_id, "record": text, "digest": digest, "facts": None}
    tx.execute(_put(tx.dialect.name, ("record", "digest", "facts")), values)


def get(tx: Connection, job_id: str, reach: Reach | None = None) -> dict[str, Any] | None:
    """The record of a job that the reach sees (None: whichever); None where there is none: the job has not ended, or is
    older than these records. Whom it is shared with sees less of the person."""
    row = tx.execute(_FOUND, {"job": job_id, **by(reach)}).first()
    if row is None or row.record is None:
        return None
    found: dict[str, Any] = orjson.loads(row.record)
    mine = reach is None or reach.everything or reach.owner == row.owner
    return found if mine else record.for_others(found)


def digest(tx: Connection, job_id: str) -> str | None:
    """The sha256 of a record as it was written."""
    return tx.execute(select(v.digest).where(v.job_id == job_id)).scalar()


@cache
def _put(dialect: str, names: tuple[str, ...]) -> Insert:
    make = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(provenance)
    columns = {name: bindparam(name, type_=v[name].type) for name in ("job_id", *names)}
    changed = {name: make.excluded[name] for name in names}
    return make.values(columns | {"created": now()}).on_conflict_do_update(index_elements=[v.job_id], set_=changed)


def _context(tx: Connection, row: RowMapping, job: Job) -> Context:
    of = {"job": job.id}
    happened = tx.execute(_EVENTS, of).all()
    files = tx.execute(_FILES, of).all() if job.outputs else ()
    return Context(
        process=process_of(tx, job.process_id, job.process_revision),
        platform=_platform(tx, job),
        agent=_agent(tx, job),
        steps=[Step.from_json(step) for step in tx.execute(_STEPS, of | {"attempt": job.attempt}).scalars()],
        files={
            one.path: record.known({"sha256": one.sha256, "size": one.size, "mediaType": one.media_type})
            for one in files
        },
        events=[(one.event, one.at) for one in happened],
        facts=tx.execute(_FACTS, of).scalar() or {},
        parent=row["parent"],
        children=_children(tx, job.id) if row["children"] is not None else (),
        version=VERSION,
    )


def _children(tx: Connection, job_id: str) -> list[dict[str, Any]]:
    """What the jobs that ran steps of a job did, and the digests of their own records."""
    found = []
    for row in tx.execute(_CHILDREN, {"job": job_id}):
        own = orjson.loads(row.record) if row.record else {"platform": {"name": row.platform}}
        told = {name: own.get(name) for name in ("package", "platform", "engine")}
        there = own.get("delegated") or {}  # the other server's own record is in that of the child
        told["delegated"] = {k: record.kept_small(v) for k, v in there.items() if k != "provenance"} or None
        one = {"step": row.step, "job": row.id, "phase": row.phase, "record": row.digest}
        found.append(record.known(one | told))
    return found


def process_of(tx: Connection, process_id: str, revision: int) -> dict[str, Any]:
    """A process as records have it."""
    which = {"id": process_id, "number": revision}
    row = tx.execute(_PROCESS, which).first()
    found: dict[str, Any] = {"id": process_id, "revision": revision}
    if row is None:
        return found
    key = (process_id, revision, row.created)
    if key not in _submitted:  # a revision never changes: what was submitted is read once
        if len(_submitted) >= MOST_KNOWN:
            _submitted.clear()
        _submitted[key] = hashlib.sha256(tx.execute(_BODY, which).scalar_one()).hexdigest()
    return found | record.known(
        {
            "title": row.summary.get("title"),
            "version": row.version,
            "kind": row.kind,
            "digest": row.digest,
            "submitted_digest": _submitted[key],
            "mediaType": row.media_type,
            "source": row.source,
        }
    )


def _platform(tx: Connection, job: Job) -> dict[str, Any]:
    adapter = tx.execute(_PLATFORM, {"name": job.platform}).scalar()
    placed = job.placement or {}
    return record.known(
        {
            "name": job.platform,
            "adapter": adapter,
            "adapterVersion": VERSION if adapter else None,
            **{name: placed.get(name) for name in ("rule", "why", "others", "reasons")},
        }
    )


def _agent(tx: Connection, job: Job) -> dict[str, Any]:
    row = tx.execute(_PERSON, {"id": job.owner}).first()
    told = dict(row._mapping) if row is not None else {}
    return record.known({"person": job.owner, **told, "delegate": job.delegate, "project": job.project})
