"""Accounts and budgets: reports add up with the rows of the jobs, and say the same when those are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from broker.jobs.model import Fault, Job, Needs
from broker.jobs.observation import State
from broker.jobs.terms import Terms
from broker.platform import Health
from broker.store import accounts, budgets, platforms, provenance
from broker.store.accounts import GROUPS, Span, told
from broker.store.budgets import Budget
from broker.store.database import Database
from broker.store.platform_tables import accounts as table
from broker.store.tables import jobs
from tests.unit.execution.test_life import World
from tests.unit.store.rows import PLATFORM, job_row

EVER = Span(0.0, 4e9)
PRICES = Terms(core_hour=2.0, gib_hour=1.0, job=0.5, currency="EUR")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def done(
    world: World,
    owner: str,
    project: str,
    seconds: float,
    state: State = State.SUCCEEDED,
    account: str | None = None,
    **facts: Any,
) -> Job:
    """A job with 2 cores and 512 MiB that has ended after so long. `account`: of its owner, at the platform."""
    job = job_row(world.database, owner, project=project, needs=Needs(cores=2.0, ram_mib=512))
    world.later()
    world.dispatch()
    if account is not None:
        with world.database.write() as tx:
            tx.execute(update(jobs).where(jobs.c.id == job.id).values(account=account))
    world.platform.says(job.name, state, started=100.0, finished=100.0 + seconds, facts=facts)
    world.later()
    world.observe()
    world.later()
    world.collect()
    found = world.get(job)
    assert found.terminal, found
    return found


def test_reports_add_up_with_the_jobs(world: World) -> None:
    priced(world, PRICES)
    with world.database.write() as tx:
        budgets.put(tx, Budget("ice", PLATFORM, None, "NoR-7"))
    done(world, "ann", "ice", 3600)
    done(world, "ann", "water", 1800)
    done(world, "bob", "ice", 60, State.FAILED)
    done(world, "bob", "ice", 30, costs={"amount": 7, "currency": "credits"})
    with world.database.read() as tx:
        rows = tx.execute(select(func.count(), func.sum(jobs.c.spent))).one()
        for by in GROUPS:
            found = accounts.report(tx, EVER, (by,))
            assert sum(one["jobs"] for one in found) == rows[0] == 4, by
            assert sum(one["core_seconds"] for one in found) == pytest.approx(float(rows[1])), by
        (ann, *others) = accounts.report(tx, EVER, ("person", "project", "sponsorship"))
    assert (ann["person"], ann["project"], ann["sponsorship"], ann["jobs"]) == ("ann", "ice", "NoR-7", 1)
    assert (ann["core_seconds"], ann["mib_seconds"], ann["bytes"]) == (7200.0, 512 * 3600.0, 5)
    assert (ann["credits"], ann["currency"]) == (pytest.approx(0.5 + 2 * 2.0 + 0.5), "EUR")
    bobs = {one["currency"]: one for one in others if one["person"] == "bob"}
    assert bobs["credits"]["credits"] == 7.0  # what the platform says counts, not what its operator says
    assert (bobs["EUR"]["jobs"], bobs["EUR"]["successful"]) == (1, 0)
    with world.database.write() as tx:
        before = accounts.report(tx, EVER, GROUPS)
        tx.execute(delete(jobs))
        assert accounts.report(tx, EVER, GROUPS) == before


def test_what_people_pay_in_their_own_accounts_is_none_of_the_project(world: World) -> None:
    priced(world, PRICES)  # which the operator asks for the platform's account
    with world.database.write() as tx:
        budgets.put(tx, Budget("ice", PLATFORM, 5.0, "NoR-7"))
    hers = done(world, "ann", "ice", 3600, account="credential-1", costs={"credits": 9})
    done(world, "ann", "ice", 3600, account="credential-1")  # what it cost nobody said
    theirs = done(world, "ann", "ice", 60, costs={"credits": 2})
    with world.database.read() as tx:
        assert budgets.spent(tx, "ice", 0.0) == frozenset()
        [budget] = budgets.of(tx, ["ice"], 0.0)
        assert dict(budget.used) == {"credits": 2.0}
        rows = {(one["sponsorship"], one["currency"]): one for one in accounts.report(tx, EVER, ("sponsorship",))}
        records = [provenance.get(tx, job.id) for job in (hers, theirs)]
    assert {key: (one["jobs"], one["credits"], one["own_credits"]) for key, one in rows.items()} == {
        (None, "credits"): (1, None, 9.0),
        (None, None): (1, None, None),
        ("NoR-7", "credits"): (1, 2.0, None),
    }
    assert [one["platform"].get("account") for one in records if one] == ["ann", None]
    assert "credential-1" not in str(records)


def priced(world: World, terms: Terms) -> None:
    with world.database.write() as tx:
        platforms.checked(tx, PLATFORM, "scripted", 0, Health(True, world.offer), terms)


def test_reports_are_of_a_span_and_of_whom_they_may_be(world: World) -> None:
    row = {"phase": "successful", "held_seconds": 1.0, "core_seconds": 1.0, "mib_seconds": 1.0, "cpu_seconds": 0.0}
    at = {"oct": 1793491199.0, "nov": 1793491200.0}  # the last second of October 2026, and the next
    with world.database.write() as tx:
        for number, (name, who, project) in enumerate([("oct", "a", "p"), ("nov", "b", "p"), ("nov", "c", "q")]):
            names = {"job_id": str(number), "owner": who, "project": project, "platform": "x", "process_id": "p"}
            tx.execute(insert(table).values(**names, **row, ended=at[name], bytes=0))
        months = accounts.report(tx, EVER, ("month",))
        assert [(one["month"], one["jobs"]) for one in months] == [("2026-10", 1), ("2026-11", 2)]

        def jobs_of(**given: Any) -> list[str]:
            return [one["job"] for one in accounts.report(tx, Span(**({"begin": 0.0, "end": 4e9} | given)), ("job",))]

        assert jobs_of(end=at["nov"]) == ["0"]
        assert jobs_of(begin=at["nov"]) == ["1", "2"]
        assert jobs_of(owner="a") == ["0"]
        assert jobs_of(owner="c", projects=("p",)) == ["0", "1", "2"]
        assert jobs_of(projects=()) == []
        assert jobs_of(platform="y") == []


@pytest.mark.parametrize("costs", [None, 3, {}, {"amount": "3"}, {"amount": -1}, {"amount": True}, {"amount": 1e999}])
def test_costs_of_a_wrong_form_are_none(costs: Any) -> None:
    assert told({"costs": costs}) == (None, None)
    assert told({"costs": {"credits": 2}}) == (2.0, "credits")


def test_a_budget_is_spent_when_the_jobs_of_its_month_cost_as_much(world: World) -> None:
    priced(world, Terms(job=3.0))
    with world.database.write() as tx:
        budgets.put(tx, Budget("ice", PLATFORM, 5.0, None))
        budgets.put(tx, Budget("ice", "other", None, "NoR-7"))
    for expected in (frozenset(), frozenset({PLATFORM})):
        job = done(world, "ann", "ice", 1)
        with world.database.read() as tx:
            assert budgets.spent(tx, "ice", 0.0) == expected
            assert budgets.spent(tx, "water", 0.0) == frozenset()
            assert budgets.spent(tx, "ice", job.updated + 1.0) == frozenset()  # the next month
    with world.database.write() as tx:
        found = {one.platform: one.to_json() for one in budgets.of(tx, ("ice",), 0.0)}
        assert {name: (one["used"], one["left"]) for name, one in found.items()} == {
            PLATFORM: (6.0, 0.0),
            "other": (0.0, None),
        }
        assert budgets.of(tx, ("water",), 0.0) == []
        assert budgets.remove(tx, "ice", PLATFORM)
        assert not budgets.remove(tx, "ice", PLATFORM)


def test_euros_and_credits_are_not_added(world: World) -> None:
    """What the platform's costs are in is its own affair: each is held against the budget by itself, or the one that
    the budget is in."""
    priced(world, Terms(job=3.0, currency="EUR"))
    done(world, "ann", "ice", 1)
    done(world, "ann", "ice", 1, costs={"credits": 4.0})
    for currency, credits, expected, shown in (
        (None, 4.5, False, {"used": 4.0, "left": 0.5, "currency": "credits", "usedBy": {"credits": 4.0, "EUR": 3.0}}),
        (None, 4.0, True, {"used": 4.0, "left": 0.0, "currency": "credits"}),
        ("EUR", 4.0, False, {"used": 3.0, "left": 1.0, "currency": "EUR"}),
        ("EUR", 3.0, True, {"used": 3.0, "left": 0.0, "currency": "EUR"}),
        ("CHF", 0.5, False, {"used": 0.0, "left": 0.5, "currency": "CHF"}),
        ("CHF", 0.0, True, {"used": 0.0, "left": 0.0, "currency": "CHF"}),
    ):
        with world.database.write() as tx:
            budgets.put(tx, Budget("ice", PLATFORM, credits, None, currency))
            assert budgets.spent(tx, "ice", 0.0) == (frozenset({PLATFORM}) if expected else frozenset()), shown
            [one] = budgets.of(tx, None, 0.0)
            assert one.to_json().items() >= shown.items(), shown


def test_what_waits_while_others_spend_the_budget_does_not_run(world: World) -> None:
    priced(world, Terms(job=3.0))
    with world.database.write() as tx:
        budgets.put(tx, Budget("ice", PLATFORM, 3.0, None))
    done(world, "ann", "ice", 1)
    late, other = job_row(world.database, "ann", project="ice"), job_row(world.database, "ann", project="water")
    for _ in range(2):
        world.later()
        world.dispatch()
    failure = world.get(late).failure
    assert failure is not None
    assert (failure.fault, "spent its budget" in failure.message) == (Fault.LIMIT, True)
    assert late.name not in world.platform.executions
    assert other.name in world.platform.executions
