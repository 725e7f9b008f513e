"""Job rows: insert, read, list; claims and saves with a fence are in `broker.store.claims`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Text,
    TextClause,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from broker.access.principal import Reach
from broker.errors import Forbidden, IdempotencyConflict, NoSuchJob
from broker.jobs.model import TERMINAL, Failure, Job, Needs, Phase, Progress, StageItem
from broker.store import deliveries, quarantine
from broker.store.database import id_at
from broker.store.tables import FAILED_ROW, LIVE_ROW, PUBLIC_ROW, SHARED_ROW, idempotency, job_events, jobs, now
from broker.store.visible import PRIVATE, by, changeable, visible

_EMPTY: Mapping[str, Any] = {}
_NO_NEEDS = Needs()
c = jobs.c
# what a status document or a list needs; the inputs of a job can be megabytes
LIGHT = [
    column
    for column in c
    if column.name
    not in ("request", "job_order", "stage", "needs", "handle", "lease_owner", "lease_until", "outputs", "step_key")
]
# Statements of hot paths are built once: SQLAlchemy takes longer to build one than SQLite to run it
_WHOLE = select(jobs).where(c.id == bindparam("wanted"), visible(jobs))
_LIGHT = select(*LIGHT).where(c.id == bindparam("wanted"), visible(jobs))
_CHANGEABLE = select(c.id).where(c.id == bindparam("wanted"), changeable(jobs))
_SET_LATER = {
    "lease_owner", "lease_until", "handle", "progress_done", "progress_total", "failure", "outputs", "log_cursor",
    "parent", "step_key", "started", "finished", "spent", "swept",
    "reused", "children", "account",
}  # fmt: skip
_INSERT = insert(jobs).values({column.name: bindparam(column.name) for column in c if column.name not in _SET_LATER})
FIRST_MESSAGE = "Waiting to be dispatched."
_CLOCK = select(now())
_RECORD = insert(job_events).values(
    {name: bindparam(name) for name in ("job_id", "attempt", "event", "phase", "data")} | {"at": now()}
)
SKEW = 24 * 3600.0  # seconds that the clock of whoever made a job's id is off the database's, at most
LIVE = [phase.value for phase in Phase if phase not in TERMINAL]


@dataclass(frozen=True, slots=True)
class NewJob:
    """What `execution.accept` decided; times, phase and counters are set by `insert_jobs`."""

    id: str
    owner: str
    project: str
    process_id: str
    process_revision: int
    platform: str
    title: str
    tags: tuple[str, ...]
    request: Mapping[str, Any]
    job_order: Mapping[str, Any]
    stage: tuple[StageItem, ...]
    needs: Needs
    priority: int = 0
    shared: str = PRIVATE
    shared_with: str | None = None
    delegate: str | None = None
    subscriber: Mapping[str, str] | None = None
    placement: Mapping[str, Any] | None = None
    reproduces: str | None = None

    @property
    def tenant(self) -> tuple[str, str, str | None]:
        return self.owner, self.project, self.delegate


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a list shows. `statuses` are OGC status codes; times epoch seconds; durations seconds.

    `project`: shared with it; `public`: those that everybody sees.
    """

    owner: str | None = None
    project: str | None = None
    public: bool = False
    process_ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    created_after: float | None = None
    created_before: float | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    tags: tuple[str, ...] = ()
    extra: tuple[ColumnElement[bool], ...] = field(default=())


def insert_jobs(tx: Connection, new: Sequence[NewJob]) -> list[Job]:
    """The job rows `accepted`, their first events and their dispatch deliveries: all in the caller's transaction."""
    if not new:
        return []
    at: float = tx.execute(_CLOCK).scalar_one()
    accepted = [_accepted(one, at) for one in new]
    tx.execute(_INSERT, [_row(job) for job in accepted])
    first = {"attempt": 1, "event": "accepted", "phase": Phase.ACCEPTED.value}
    tx.execute(_RECORD, [{**first, "job_id": one.id, "data": _placed(one)} for one in new])
    deliveries.add(tx, "dispatch", {one.id: one.platform for one in new})
    return accepted


def _placed(new: NewJob) -> dict[str, Any]:
    """Where it goes, and why not to other platforms."""
    return {"platform": new.platform} | dict(new.placement or {})


def _accepted(new: NewJob, at: float) -> Job:
    return Job(
        id=new.id,
        owner=new.owner,
        project=new.project,
        process_id=new.process_id,
        process_revision=new.process_revision,
        phase=Phase.ACCEPTED,
        platform=new.platform,
        attempt=1,
        fence=0,
        title=new.title,
        tags=new.tags,
        request=new.request,
        job_order=new.job_order,
        stage=new.stage,
        needs=new.needs,
        created=at,
        updated=at,
        message=FIRST_MESSAGE,
        priority=new.priority,
        shared=new.shared,
        shared_with=new.shared_with,
        delegate=new.delegate,
        subscriber=new.subscriber,
        placement=new.placement,
        reproduces=new.reproduces,
    )


def _row(job: Job) -> dict[str, Any]:
    """The columns of a new job, without those that are set later."""
    return {
        "id": job.id,
        "owner": job.owner,
        "project": job.project,
        "shared": job.shared,
        "shared_with": job.shared_with,
        "delegate": job.delegate,
        "process_id": job.process_id,
        "process_revision": job.process_revision,
        "phase": job.phase.value,
        "platform": job.platform,
        "attempt": job.attempt,
        "fence": job.fence,
        "retries": job.retries,
        "losses": job.losses,
        "priority": job.priority,
        "title": job.title,
        "tags": list(job.tags),
        "request": dict(job.request),
        "job_order": dict(job.job_order),
        "stage": [item.to_json() for item in job.stage],
        "needs": job.needs.to_json(),
        "cores": job.needs.cores,
        "ram_mib": job.needs.ram_mib,
        "message": job.message,
        "dismiss_requested": job.dismiss_requested,
        "created": job.created,
        "updated": job.updated,
        "due_at": job.created,
        "subscriber": job.subscriber,
        "placement": job.placement,
        "reproduces": job.reproduces,
    }


def record(tx: Connection, job_id: str, attempt: int, event: str, phase: Phase, data: Mapping[str, Any] | None) -> None:
    """Append a job event: the job's history, the operator's log and the timeline of the provenance."""
    values = {"job_id": job_id, "attempt": attempt, "event": event, "phase": phase.value, "data": data or None}
    tx.execute(_RECORD, values)


def get(tx: Connection, job_id: str, reach: Reach | None = None) -> Job:
    """The whole row. With a reach: what it does not see does not exist. Raises NoSuchJob."""
    return _one(tx, _WHOLE, job_id, reach)


def get_to_change(tx: Connection, job_id: str, reach: Reach) -> Job:
    """The whole row. Raises NoSuchJob, and Forbidden for a job that one sees but may not change."""
    job = get(tx, job_id, reach)
    if not may_change(tx, job_id, reach):
        raise Forbidden(f"The job {job_id} is shared with you; it is not yours to change.")
    return job


def may_change(tx: Connection, job_id: str, reach: Reach) -> bool:
    return tx.execute(_CHANGEABLE, {"wanted": job_id, **by(reach)}).first() is not None


def get_light(tx: Connection, job_id: str, reach: Reach | None = None) -> Job:
    """The row without request, inputs, needs, handle and outputs (they are empty in the value). Raises NoSuchJob."""
    return _one(tx, _LIGHT, job_id, reach)


def _one(tx: Connection, query: Select[Any], job_id: str, reach: Reach | None) -> Job:
    row = tx.execute(query, {"wanted": job_id, **by(reach)}).mappings().first()
    if row is None:
        raise NoSuchJob(f"There is no job {job_id!r}.", hint="List your jobs with: broker jobs")
    return as_job(row)


def page(tx: Connection, wanted: Filter, *, limit: int, before: str | None = None) -> Sequence[Job]:
    """Newest first, at most `limit`, older than the job `before` (its id): keyset paging on the time-sorted id."""
    query = select(*LIGHT).where(*conditions(wanted)).order_by(c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(c.id < before)
    return [_shown(row) for row in tx.execute(query).mappings()]


def _shown(row: RowMapping) -> Job:
    """A job to list; one that cannot be read hides no others."""
    try:
        return as_job(row)
    except quarantine.READING:
        return as_job(quarantine.mended(row))


def conditions(wanted: Filter) -> list[ColumnElement[bool] | TextClause]:
    found: list[ColumnElement[bool] | TextClause] = list(wanted.extra)
    if wanted.owner is not None:
        found.append(c.owner == wanted.owner)
    if wanted.project is not None:
        found += [c.shared_with == wanted.project, SHARED_ROW]
    if wanted.public:
        found.append(PUBLIC_ROW)
    if wanted.process_ids:
        found.append(c.process_id.in_(wanted.process_ids))
    if wanted.statuses:
        one = wanted.statuses == ("failed",)  # of many jobs mostly few: they have an index
        found.append(FAILED_ROW if one else or_(*(_status(status) for status in wanted.statuses)))
    if wanted.created_after is not None:
        found += [c.created >= wanted.created_after, c.id >= id_at(wanted.created_after - SKEW)]
    if wanted.created_before is not None:
        found += [c.created <= wanted.created_before, c.id <= id_at(wanted.created_before + SKEW)]
    elapsed = func.coalesce(c.finished, now()) - c.started
    if wanted.min_duration is not None:
        found.append(elapsed >= wanted.min_duration)
    if wanted.max_duration is not None:
        found.append(elapsed <= wanted.max_duration)
    # tags are kept as a JSON array of strings without quotes or backslashes (checked at accept)
    found += [type_coerce(c.tags, Text).contains(f'"{tag}"', autoescape=True) for tag in wanted.tags]
    return found


def _status(status: str) -> ColumnElement[bool]:
    """The rows that `lifecycle.status` shows with this OGC status."""
    match status:
        case "accepted":
            return and_(c.phase.in_(["accepted", "submitting", "submitted"]), ~c.dismiss_requested)
        case "running":
            return and_(c.phase.in_(["running", "waiting", "collecting"]), ~c.dismiss_requested)
        case "dismissed":
            return or_(c.phase == "dismissed", and_(c.dismiss_requested, c.phase.in_(LIVE)))
        case _:
            return c.phase == status


def live_ids(tx: Connection, platform: str, phases: Sequence[Phase]) -> list[str]:
    """The jobs of a platform that are in one of the phases."""
    query = select(c.id).where(LIVE_ROW, c.platform == platform, c.phase.in_([phase.value for phase in phases]))
    return list(tx.execute(query).scalars())


def line(tx: Connection, platform: str, at_most: int) -> list[str]:
    """The first accepted jobs of a platform, by priority and age."""
    query = select(c.id).where(LIVE_ROW, c.platform == platform, c.phase == Phase.ACCEPTED.value)
    return list(tx.execute(query.order_by(c.priority.desc(), c.id).limit(at_most)).scalars())


def events(tx: Connection, job_id: str) -> Sequence[Mapping[str, Any]]:
    """All events, oldest first: {at, attempt, event, phase, data}."""
    e = job_events.c
    query = select(e.at, e.attempt, e.event, e.phase, e.data).where(e.job_id == job_id).order_by(e.id)
    return [dict(row) for row in tx.execute(query).mappings()]


def count_events(tx: Connection, job_id: str, attempt: int, event: str) -> int:
    """How often something happened in one attempt."""
    e = job_events.c
    count = select(func.count()).where(e.job_id == job_id, e.attempt == attempt, e.event == event)
    return tx.execute(count).scalar_one()


def remember_key(tx: Connection, owner: str, key: str, body_sha256: str, job_id: str) -> bool:
    """Bind an Idempotency-Key to the job, in the transaction that makes the job; False when it is bound already.

    A transaction that binds the same key at the same time is waited for.
    """
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    i = {"owner": owner, "key": key, "body_sha256": body_sha256, "job_id": job_id, "created": now()}
    bound = make(idempotency).values(**i).on_conflict_do_nothing().returning(idempotency.c.key)
    return tx.execute(bound).first() is not None


def key_is_known(tx: Connection, owner: str, key: str) -> bool:
    """Whether an Idempotency-Key is bound to a job."""
    k = idempotency.c
    return tx.execute(select(k.job_id).where(k.owner == owner, k.key == key)).first() is not None


def by_key(tx: Connection, owner: str, key: str, body_sha256: str) -> Job | None:
    """The job an Idempotency-Key already made, or None. Raises IdempotencyConflict for another body."""
    k = idempotency.c
    row = tx.execute(select(k.job_id, k.body_sha256).where(k.owner == owner, k.key == key)).first()
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise IdempotencyConflict(
            f"The Idempotency-Key {key!r} was used with another request.", hint="Use a new key for a new request."
        )
    return get(tx, row.job_id)


def request_dismiss(tx: Connection, job: Job) -> bool:
    """Record the wish to dismiss, once, with a delivery that carries it out. False when the job has ended."""
    touched = tx.execute(
        update(jobs)
        .where(c.id == job.id, c.phase.in_(LIVE))
        .values(dismiss_requested=True, updated=now(), due_at=now())
    ).rowcount
    if touched and not job.dismiss_requested:
        record(tx, job.id, job.attempt, "dismiss-requested", job.phase, None)
        deliveries.add(tx, "dismiss", {job.id: job.platform})
    return bool(touched)


def as_job(row: RowMapping | Mapping[str, Any]) -> Job:
    """A whole row, or one of LIGHT columns."""
    done = row["progress_done"]
    failure = row["failure"]
    light = Job(
        id=row["id"],
        owner=row["owner"],
        project=row["project"],
        process_id=row["process_id"],
        process_revision=row["process_revision"],
        phase=Phase(row["phase"]),
        platform=row["platform"],
        attempt=row["attempt"],
        fence=row["fence"],
        title=row["title"],
        tags=tuple(row["tags"]),
        request=_EMPTY,
        job_order=_EMPTY,
        stage=(),
        needs=_NO_NEEDS,
        created=row["created"],
        updated=row["updated"],
        started=row["started"],
        finished=row["finished"],
        progress=None if done is None else Progress(done, row["progress_total"]),
        message=row["message"],
        dismiss_requested=row["dismiss_requested"],
        failure=Failure.from_json(failure) if failure else None,
        log_cursor=row["log_cursor"],
        retries=row["retries"],
        losses=row["losses"],
        priority=row["priority"],
        shared=row["shared"],
        shared_with=row["shared_with"],
        delegate=row["delegate"],
        swept=row["swept"],
        reused=row["reused"],
        subscriber=row["subscriber"],
        placement=row["placement"],
        reproduces=row["reproduces"],
        parent=row["parent"],
        children=row["children"],
        account=row["account"],
    )
    if "request" not in row:
        return light
    return replace(
        light,
        request=row["request"],
        job_order=row["job_order"],
        stage=tuple(StageItem.from_json(item) for item in row["stage"]),
        needs=Needs.from_json(row["needs"]),
        handle=row["handle"],
        outputs=row["outputs"],
    )
