"""Accounts: what each job took and cost, a row written in the transaction that ends it; reports are sums of those.

The row outlives the job, so that a report of last year says today what it said then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from broker.jobs.model import Phase
from broker.jobs.terms import NO_TERMS, Terms
from broker.store.platform_tables import accounts, budgets
from broker.store.result_tables import provenance
from broker.store.tables import platforms

a = accounts.c
_SPONSORSHIP = select(budgets.c.sponsorship).where(
    budgets.c.project == bindparam("of_project"), budgets.c.platform == bindparam("where")
)
# statements are built once: SQLAlchemy takes longer to build one than SQLite to run it
_AROUND = select(platforms.c.adapter, platforms.c.terms, _SPONSORSHIP.scalar_subquery().label("sponsorship")).where(
    platforms.c.name == bindparam("where")
)
_FACTS = select(provenance.c.facts).where(provenance.c.job_id == bindparam("job"))
_INSERT = {  # a job ends once, whoever says so again
    name: make(accounts).values({column.name: bindparam(column.name) for column in a}).on_conflict_do_nothing()
    for name, make in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_HISTORY = (
    select(a.held_seconds, a.credits, a.currency, a.bytes)
    .where(
        a.process_id == bindparam("process"),
        a.platform == bindparam("where"),
        a.owner == bindparam("of_owner"),
        a.phase == Phase.SUCCESSFUL.value,
        a.held_seconds > 0,
    )
    .order_by(a.ended.desc())
    .limit(bindparam("most"))
)
GROUPS = ("month", "project", "platform", "sponsorship", "person", "process", "job")
MOST_ROWS = 10_000


def write(tx: Connection, job: RowMapping, cpu_seconds: float, kept: int) -> None:
    """The account of a job (its row) that ends with this transaction: what it held, what its steps used, the bytes of
    its results that are kept, and what it cost."""
    around = tx.execute(_AROUND, {"where": job["platform"], "of_project": job["project"]}).first()
    terms = Terms.from_json(around.terms) if around is not None and around.terms else NO_TERMS
    seconds = job["spent"] / job["cores"] if job["cores"] else 0.0
    credits, currency = None, None
    if around is not None and around.adapter != "local":  # which costs what its operator says, and has no bills
        credits, currency = told(tx.execute(_FACTS, {"job": job["id"]}).scalar())
    if credits is None and terms.priced and job["account"] is None:  # its owner has the bill of the platform
        credits = terms.costs(job["cores"], job["ram_mib"], seconds) if seconds else 0.0
        currency = terms.currency
    values = {name: job[name] for name in ("owner", "project", "delegate", "platform", "process_id", "phase")}
    own = job["account"] is not None
    values |= {
        "job_id": job["id"],
        "own": own,
        "sponsorship": None if around is None or own else around.sponsorship,
        "ended": job["updated"],  # by the database's clock: platforms may say anything of when it finished
        "held_seconds": seconds,
        "core_seconds": job["spent"],
        "mib_seconds": job["ram_mib"] * seconds,
        "cpu_seconds": cpu_seconds,
        "bytes": kept,
        "credits": credits,
        "currency": currency,
    }
    tx.execute(_INSERT[tx.dialect.name], values)


def told(facts: Any) -> tuple[float | None, str | None]:
    """(amount, currency) of the costs that a platform told: `{"costs": {"amount": 3, "currency": "EUR"}}`, or
    `{"costs": {"credits": 3}}`; (None, None) where it told none, or something else."""
    costs = facts.get("costs") if isinstance(facts, Mapping) else None
    if isinstance(costs, Mapping):
        amount = costs.get("amount", costs.get("credits"))
        if isinstance(amount, int | float) and not isinstance(amount, bool) and 0 <= amount < float("inf"):
            return float(amount), str(costs.get("currency") or "credits")
    return None, None


def history(tx: Connection, process_id: str, platform: str, owner: str, most: int = 20) -> Sequence[RowMapping]:
    """The last successful jobs of a process on a platform, of one person: held_seconds, credits, currency, bytes."""
    given = {"process": process_id, "where": platform, "of_owner": owner, "most": most}
    return tx.execute(_HISTORY, given).mappings().all()


@dataclass(frozen=True, slots=True)
class Span:
    """Which accounts a report is of: jobs that ended from `begin` to before `end` (epoch seconds).

    `owner`: of this person; `projects`: of these projects, also of others in them; both: either. Both None: of
    everybody. The others narrow that.
    """

    begin: float
    end: float
    owner: str | None = None
    projects: tuple[str, ...] | None = None
    platform: str | None = None
    sponsorship: str | None = None


def report(tx: Connection, span: Span, by: Sequence[str]) -> list[dict[str, Any]]:
    """Sums for each group (of GROUPS) and currency, at most MOST_ROWS, ordered by the groups. `own_credits`: what
    people paid in accounts of their own, which is not in `credits`."""
    columns = [_group(tx, name).label(name) for name in by]
    sums = [
        func.count().label("jobs"),
        func.sum(case((a.phase == Phase.SUCCESSFUL.value, 1), else_=0)).label("successful"),
        *(
            func.sum(a[name]).label(name)
            for name in ("held_seconds", "core_seconds", "mib_seconds", "cpu_seconds", "bytes")
        ),
        func.sum(case((a.own.is_not(True), a.credits))).label("credits"),
        func.sum(case((a.own.is_(True), a.credits))).label("own_credits"),
    ]
    query = select(*columns, a.currency, *sums).where(*_of(span))
    query = query.group_by(*columns, a.currency).order_by(*columns, a.currency).limit(MOST_ROWS)
    return [dict(row) for row in tx.execute(query).mappings()]


def _of(span: Span) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [a.ended >= span.begin, a.ended < span.end]
    whose = [] if span.owner is None else [a.owner == span.owner]
    if span.projects is not None:
        whose.append(a.project.in_(span.projects))
    if whose:
        found.append(or_(*whose))
    if span.platform is not None:
        found.append(a.platform == span.platform)
    if span.sponsorship is not None:
        found.append(a.sponsorship == span.sponsorship)
    return found


_MONTHS = {  # spelled out: PostgreSQL takes two parameters of the same value for two things
    "sqlite": literal_column("strftime('%Y-%m', ended, 'unixepoch')", Text),
    "postgresql": literal_column("to_char(to_timestamp(ended) at time zone 'UTC', 'YYYY-MM')", Text),
}
_NAMES = {"person": "owner", "process": "process_id", "job": "job_id"}


def _group(tx: Connection, name: str) -> ColumnElement[Any]:
    return _MONTHS[tx.dialect.name] if name == "month" else a[_NAMES.get(name, name)]
