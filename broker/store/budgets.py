"""Budgets: what a project may spend on a platform in a calendar month (UTC), and whose sponsorship pays for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, and_, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.platform_tables import accounts, budgets
from broker.store.tables import now

b, a = budgets.c, accounts.c
_OF = b.project == bindparam("of_project")
_SINCE = a.ended >= bindparam("since")


def _used(*where: ColumnElement[bool]) -> Subquery:
    """Sums by project, platform and currency: euros and credits are not added. What people pay in accounts of their own
    is none of the project's."""
    query = select(a.project, a.platform, a.currency, func.sum(a.credits).label("used"))
    paid = (a.credits.is_not(None), a.own.is_not(True))
    return query.where(*paid, _SINCE, *where).group_by(a.project, a.platform, a.currency).subquery()


def _with(used: Subquery) -> ColumnElement[bool]:
    same = and_(used.c.project == b.project, used.c.platform == b.platform)
    return and_(same, or_(b.currency.is_(None), b.currency == used.c.currency))


# built once: it is part of every submission where something costs something
_OF_ONE = _used(a.project == bindparam("of_project"))
_SPENT = (
    select(b.platform)
    .select_from(budgets.outerjoin(_OF_ONE, _with(_OF_ONE)))
    .where(_OF, b.credits.is_not(None), b.credits <= func.coalesce(_OF_ONE.c.used, 0.0))
)
_ALL = _used()
_PAGE = (
    select(b.project, b.platform, b.credits, b.sponsorship, b.currency, _ALL.c.currency.label("in_"), _ALL.c.used)
    .select_from(budgets.outerjoin(_ALL, _with(_ALL)))
    .order_by(b.project, b.platform, _ALL.c.used.desc(), _ALL.c.currency)
)


@dataclass(frozen=True, slots=True)
class Budget:
    """`credits`: of a month, in `currency` (None: unlimited); `currency` None: whichever the platform's costs are in,
    each for itself; `used`: of that, this month, by currency; `sponsorship`: the id of who pays, as the Network of
    Resources gave it."""

    project: str
    platform: str
    credits: float | None
    sponsorship: str | None
    currency: str | None = None
    used: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`used` and `left` are of the currency in which most is used; `usedBy` is there where there are several."""
        which = max(self.used, key=lambda one: self.used[one], default=self.currency)
        used = self.used.get(which, 0.0) if which is not None else 0.0
        found: dict[str, Any] = {
            "project": self.project,
            "platform": self.platform,
            "credits": self.credits,
            "used": round(used, 6),
            "left": None if self.credits is None else max(0.0, round(self.credits - used, 6)),
            "currency": which,
            "sponsorship": self.sponsorship,
        }
        if len(self.used) > 1:
            found["usedBy"] = {name: round(amount, 6) for name, amount in self.used.items()}
        return found


def spent(tx: Connection, project: str, since: float) -> frozenset[str]:
    """The platforms on which a project has used up what it may since then (epoch seconds), in one currency."""
    return frozenset(tx.execute(_SPENT, {"of_project": project, "since": since}).scalars())


def of(tx: Connection, projects: Sequence[str] | None, since: float) -> list[Budget]:
    """The budgets of these projects (None: of all), with what is used of them since then."""
    query = _PAGE if projects is None else _PAGE.where(b.project.in_(projects))
    found: dict[tuple[str, str], Budget] = {}
    for row in tx.execute(query, {"since": since}):
        one = Budget(row.project, row.platform, row.credits, row.sponsorship, row.currency)
        one = found.setdefault((row.project, row.platform), one)
        if row.used is not None:
            found[row.project, row.platform] = replace(one, used={**one.used, str(row.in_): float(row.used)})
    return list(found.values())


def put(tx: Connection, budget: Budget) -> None:
    """Set one, in place of what it was."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    what = {"credits": budget.credits, "sponsorship": budget.sponsorship, "currency": budget.currency}
    values = what | {"changed": now()}
    row = make(budgets).values(project=budget.project, platform=budget.platform, **values)
    tx.execute(row.on_conflict_do_update(index_elements=[b.project, b.platform], set_=values))


def remove(tx: Connection, project: str, platform: str) -> bool:
    """Whether there was one."""
    return bool(tx.execute(delete(budgets).where(b.project == project, b.platform == platform)).rowcount)
