"""Budgets as operators set them."""

from __future__ import annotations

from broker.access.principal import Principal, Scope
from broker.errors import Missing
from broker.store import audit, budgets, platforms
from broker.store.budgets import Budget
from broker.store.database import Database


def put(database: Database, principal: Principal, budget: Budget) -> None:
    """Set what a project may spend on a platform. Raises Forbidden, NoSuchPlatform."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        platforms.one(tx, budget.platform)
        budgets.put(tx, budget)
        what = {"credits": budget.credits, "sponsorship": budget.sponsorship, "currency": budget.currency}
        audit.record(tx, audit.entry(principal, "set-budget", f"budget/{budget.project}/{budget.platform}", **what))


def remove(database: Database, principal: Principal, project: str, platform: str) -> None:
    """Raises Forbidden, Missing."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        if not budgets.remove(tx, project, platform):
            raise Missing(f"There is no budget of {project} on {platform}.", hint="See: broker usage budgets")
        audit.record(tx, audit.entry(principal, "unset-budget", f"budget/{project}/{platform}"))
