"""Budgets: what a project may spend on a platform in a calendar month (UTC), and whose sponsorship pays for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.platform_tables import accounts, budgets
from broker.store.tables import now

b, a = budgets.c, accounts.c
_OF = b.project == bindparam("of_project")
_USED = (
    select(func.coalesce(func.sum(a.credits), 0.0))
    .where(a.project == b.project, a.platform == b.platform, a.ended >= bindparam("since"))
    .scalar_subquery()
)
# built once: it is part of every submission where something costs something
_SPENT = select(b.platform).where(_OF, b.credits.is_not(None), b.credits <= _USED)
_PAGE = select(b.project, b.platform, b.credits, b.sponsorship, _USED.label("used")).order_by(b.project, b.platform)


@dataclass(frozen=True, slots=True)
class Budget:
    """`credits`: of a month, in the platform's currency (None: unlimited); `used`: of that, this month; `sponsorship`:
    the id of who pays, as the Network of Resources gave it."""

    project: str
    platform: str
    credits: float | None
    sponsorship: str | None
    used: float = 0.0

    def to_json(self) -> dict[str, Any]:
        left = None if self.credits is None else max(0.0, round(self.credits - self.used, 6))
        return {
            "project": self.project,
            "platform": self.platform,
            "credits": self.credits,
            "used": round(self.used, 6),
            "left": left,
            "sponsorship": self.sponsorship,
        }


def spent(tx: Connection, project: str, since: float) -> frozenset[str]:
    """The platforms on which a project has used up what it may since then (epoch seconds)."""
    return frozenset(tx.execute(_SPENT, {"of_project": project, "since": since}).scalars())


def of(tx: Connection, projects: Sequence[str] | None, since: float) -> list[Budget]:
    """The budgets of these projects (None: of all), with what is used of them since then."""
    query = _PAGE if projects is None else _PAGE.where(b.project.in_(projects))
    return [Budget(**row) for row in tx.execute(query, {"since": since}).mappings()]


def put(tx: Connection, budget: Budget) -> None:
    """Set one, in place of what it was."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    values = {"credits": budget.credits, "sponsorship": budget.sponsorship, "changed": now()}
    row = make(budgets).values(project=budget.project, platform=budget.platform, **values)
    tx.execute(row.on_conflict_do_update(index_elements=[b.project, b.platform], set_=values))


def remove(tx: Connection, project: str, platform: str) -> bool:
    """Whether there was one."""
    return bool(tx.execute(delete(budgets).where(b.project == project, b.platform == platform)).rowcount)
