"""Placing: the rules of `jobs.placement` with what the database knows, and the errors where there is no platform."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from sqlalchemy import Connection

from broker.access.credential import Kind
from broker.access.quota import month_begins
from broker.errors import InputError, InputProblem, NoRoom, PlatformRefused, PlatformUnavailable, QuotaExceeded
from broker.jobs.model import Needs, StageItem
from broker.jobs.placement import Candidate, Placement, Wish, closed, place
from broker.store import budgets, credentials, platforms


def wish(
    tx: Connection,
    candidates: Iterable[Candidate],
    needs: Needs,
    project: str | None,
    *,
    named: str | None = None,
    stage: Iterable[StageItem] = (),
    owner: str | None = None,
) -> Wish:
    """What is to be placed, with the budgets that are spent: looked at only where something costs something. They do
    not count where the `owner` has an account of their own."""
    candidates = [*candidates]
    costs = project is not None and any(one.adapter != "local" or one.terms.priced for one in candidates)
    spent = budgets.spent(tx, str(project), month_begins(time.time())) if costs else frozenset()
    if spent and owner is not None:
        own = credentials.targets(tx, owner, Kind.OPENEO.value)
        spent -= {one.name for one in candidates if one.capabilities.accounts_at in own}
    items = [*stage]
    urls = tuple(item.url for item in items if item.url is not None)
    return Wish(needs, named, project, urls, closed(items), spent)


def placed(
    tx: Connection,
    needs: Needs,
    project: str,
    *,
    named: str | None = None,
    stage: Iterable[StageItem] = (),
    owner: str | None = None,
) -> Placement:
    """Where a job goes. Raises InputError, NoRoom, QuotaExceeded, PlatformRefused or PlatformUnavailable where there is
    no platform for it, with a sentence for each."""
    candidates = platforms.candidates(tx)
    wanted = wish(tx, candidates, needs, project, named=named, stage=stage, owner=owner)
    found = place(wanted, candidates, partial(platforms.loads, tx))
    if found.platform is None:
        raise _nowhere(found, named, [one.name for one in candidates])
    return found


def _nowhere(found: Placement, named: str | None, there: list[str]) -> Exception:
    if not found.reasons:
        if named is not None:
            known = ", ".join(there) or "none yet"
            return InputError(InputProblem("/platform", f"there is no platform {named!r}; there are: {known}"))
        return PlatformUnavailable(
            "No platform has reported yet.", hint="Try again in some seconds, or ask the operator to run: broker doctor"
        )
    why = " ".join(f"{name}: {' '.join(reasons)}" for name, reasons in found.reasons.items())
    if found.by_capacity:
        return NoRoom(f"The package needs more than any platform has. {why}")
    if found.over_budget:
        return QuotaExceeded(f"No platform is left for this package. {why}", hint="See: broker usage budgets")
    return PlatformRefused(f"No platform can run this package. {why}", code="no-platform")
