"""Publications of people, and answers of targets, that mean harm."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from broker.api.publications import addresses, document
from broker.errors import TargetUnavailable
from broker.execution import publish
from broker.execution.publishplan import _not_an_item
from broker.execution.publishrequest import Asked
from broker.execution.publishstep import LONGEST_PAUSE, _later
from broker.jobs.publication import State
from broker.store import publications
from broker.store.publications import Publication
from broker.store.result_tables import publications as table
from tests.unit.execution.press import ADA, OUTPUTS, REQUEST, ROOT
from tests.unit.execution.test_publish import ELSEWHERE, NOTHING_SENT, Made, press, remote

__all__ = ["press", "remote"]
PLACE = {"bbox": [10, 50, 11, 51]}
TIME = {"start_datetime": "2026-05-01T00:00:00Z", "end_datetime": "2026-05-02T00:00:00Z"}


def item(name: Any = "points", href: str = "https://data.example/a", **members: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "properties": TIME, "assets": {"a": {"href": href}}, **members}


def publication(**members: Any) -> Publication:
    fields = {field.name: None for field in dataclasses.fields(Publication)}
    numbers = {"created": 0.0, "updated": 0.0, "tries": 0, "fence": 0, "request": {}, "jobs": ()}
    return Publication(**{**fields, **numbers, "id": "p", "state": State.PROPOSED, **members})


@pytest.mark.parametrize("name", ["../../etc/cron", "/etc/x", "..", ".", "a\\b", "a\x1b[2J", "a\nb", "", "x" * 300])
def test_an_item_is_not_named_by_a_path_or_by_what_steers_a_terminal(name: str) -> None:
    assert _not_an_item(item(name)) is not None


@pytest.mark.parametrize("href", ["javascript://%0aalert(1)", "file:///etc/passwd", "ext::sh -c id ://", "FILE:///etc"])
def test_assets_lie_where_others_read_them(href: str) -> None:
    assert _not_an_item(item(href=href)) is not None


@pytest.mark.parametrize(
    "members",
    [
        {"bbox": ["a", "b", "c", "d"]},
        {"bbox": {}},
        {"properties": {**TIME, "end_datetime": 1}},
        {"properties": {"start_datetime": "2026-05-01T00:00:00Z"}},
    ],
)
def test_place_and_time_of_an_item_are_such(members: dict[str, Any]) -> None:
    assert _not_an_item(item(**members)) is not None


@pytest.mark.parametrize("href", ["https://data.example/a", "s3://bucket/a"])
def test_others_are_taken(href: str) -> None:
    assert _not_an_item(item("S2A_MSIL2A:1.0-x", href, **PLACE)) is None


@pytest.mark.parametrize("seconds", [1e20, float("inf"), 1e12])
def test_no_target_puts_a_publication_off_for_ever(seconds: float) -> None:
    became = _later(publication(), TargetUnavailable("Later.", retry_after=seconds))
    assert became.due_in is not None
    assert became.due_in <= LONGEST_PAUSE


@pytest.mark.parametrize("href", ["javascript:alert(document.cookie)", "data:text/html,x", 7])
def test_links_of_a_target_run_nothing(href: Any) -> None:
    receipt = {"href": href, "items": {"a": {"href": href}}, "live": [href]}
    found = publication(receipt=receipt)
    assert addresses(found) == []
    assert all(one["rel"] != "item" for one in document(found, "https://broker.example")["links"])


def test_what_builds_on_one_that_is_lost_fails_when_it_is_agreed_to(press: Made, remote: Path) -> None:
    target = {"kind": "git", "remote": str(remote), "approval": True}
    world = press({"first": target, "second": target})
    job = world.job(**NOTHING_SENT)
    (first,) = world.ask(job, target="first", **ELSEWHERE)
    (second,) = world.ask(job, target="second", **ELSEWHERE)
    with world.database.write() as tx:
        tx.execute(table.update().where(table.c.id == second.id).values(after=first.id))
    publish.withdraw(world.desk, ADA, first.id)
    found = publish.approve(world.desk, ROOT, second.id)
    assert found.state is State.FAILED
    assert first.id in found.message
    assert world.held(job) == []


def test_what_was_agreed_to_is_not_changed_by_settings_afterwards(press: Made, remote: Path) -> None:
    targets = {"osc": {"kind": "git", "remote": str(remote), "approval": True}}
    world = press(targets)
    wish = publish.promised(world.desk, ADA, Asked.of({"target": "osc", **REQUEST, **ELSEWHERE}))
    job = world.succeed(world.waiting(request={"publish": wish}, **NOTHING_SENT), OUTPUTS)
    with world.database.read() as tx:
        (made,) = publications.page(tx, ADA.reach, limit=5, job_id=job.id)
    publish.approve(world.desk, ROOT, made.id)
    world.offering(targets, defaults={"browser": "https://smuggled.example"})
    assert "smuggled" not in str(world.until(made, State.PROPOSED).request)
