"""A job row that somebody damaged holds up nobody else's work: it fails, and operators hear of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from broker.cli import doctor
from broker.jobs.lifecycle import Change
from broker.jobs.model import Phase
from broker.settings import Settings
from broker.store import audit, callbacks, claims, jobs
from broker.store.audit import Filter
from broker.store.database import Database
from tests.unit.store.rows import PLATFORM, job_row, platform_row

BROKEN = '{"cores": 1'
WRONG = "3"


def damage(database: Database, job_id: str, column: str, value: str) -> None:
    with database.write() as tx:
        tx.execute(text(f"update jobs set {column} = :value where id = :id"), {"value": value, "id": job_id})


def noted(database: Database) -> list[dict[str, Any]]:
    with database.read() as tx:
        assert audit.verify(tx) is None
        return audit.page(tx, wanted=Filter(action="quarantine"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("needs", BROKEN), ("needs", WRONG), ("stage", BROKEN), ("job_order", ""), ("tags", WRONG), ("failure", WRONG)],
)
def test_dispatch_goes_on(database: Database, column: str, value: str) -> None:
    """Of the same person, behind the damaged one, and of others. As found: no job of the platform started any more."""
    offer = platform_row(database)
    damaged, behind, other = job_row(database), job_row(database), job_row(database, "bob")
    damage(database, damaged.id, column, value)
    taken = []
    for _ in range(3):
        with database.write() as tx:
            if job := claims.claim_next(tx, PLATFORM, offer, "w"):
                taken.append(job.id)
                claims.save(tx, job, Change("submitted", Phase.SUBMITTED, handle={"name": job.name}))
    assert sorted(taken) == sorted([behind.id, other.id])
    with database.read() as tx:
        ended = jobs.get(tx, damaged.id)
        assert [one["event"] for one in jobs.events(tx, damaged.id)] == ["accepted", "quarantine"]
    assert (ended.phase, ended.finished is not None) == (Phase.FAILED, True)
    assert ended.failure is not None
    assert "damaged" in ended.failure.message
    [entry] = noted(database)
    assert (entry["actor"], entry["subject"], entry["project"]) == ("broker", f"job/{damaged.id}", "local")
    assert entry["data"]["columns"] == ([column] if value != WRONG else [])
    with database.write() as tx:
        [freed] = claims.claim_due(tx, PLATFORM, [Phase.FAILED], "w", 10)
    assert freed.id == damaged.id, "what it may have on its platform is released"


@pytest.mark.parametrize(
    ("told", "kinds"),
    [('{"base": "http://b", "failed": "http://a/f", "success": "http://a/s"}', ["failed"]), ("3", []), ("[", [])],
)
def test_its_subscriber_is_told_as_of_any_failed_job(database: Database, told: str, kinds: list[str]) -> None:
    damaged = job_row(database)
    damage(database, damaged.id, "subscriber", told)
    damage(database, damaged.id, "stage", BROKEN)
    with database.write() as tx:
        assert claims.claim(tx, [damaged.id], [Phase.ACCEPTED], "w") == []
    with database.read() as tx:
        assert [(one.kind, one.state) for one in callbacks.of_job(tx, damaged.id)] == [
            (one, "pending") for one in kinds
        ]
        assert jobs.get(tx, damaged.id).phase is Phase.FAILED


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.SUCCESSFUL])
def test_what_runs_and_what_has_ended(database: Database, phase: Phase) -> None:
    damaged, other = job_row(database), job_row(database)
    for job in (damaged, other):
        with database.write() as tx:
            tx.execute(text("update jobs set phase = :phase where id = :id"), {"phase": phase.value, "id": job.id})
    damage(database, damaged.id, "handle", BROKEN)
    damage(database, damaged.id, "outputs", '{"said": null}')
    with database.write() as tx:
        taken = claims.claim_due(tx, PLATFORM, [phase], "w", 10)
    assert [job.id for job in taken] == [other.id]
    with database.read() as tx:
        found = jobs.get(tx, damaged.id)
    assert found.phase is (Phase.FAILED if phase is Phase.RUNNING else Phase.SUCCESSFUL)
    assert found.outputs == {"said": None}, "what can be read stays"
    assert len(noted(database)) == 1


@pytest.mark.parametrize(("column", "value"), [("tags", BROKEN), ("tags", WRONG), ("failure", "[")])
def test_a_list_shows_it_and_the_others(database: Database, column: str, value: str) -> None:
    """As found: the lists of its owner were an error."""
    damaged, other = job_row(database), job_row(database)
    damage(database, damaged.id, column, value)
    with database.read() as tx:
        assert [job.id for job in jobs.page(tx, jobs.Filter(), limit=10)] == [other.id, damaged.id]


def test_doctor_warns(database: Database, database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(database_url), state=tmp_path)
    assert doctor.database(settings).state == "ok"
    damaged = job_row(database)
    damage(database, damaged.id, "stage", BROKEN)
    with database.write() as tx:
        assert claims.claim(tx, [damaged.id], [Phase.ACCEPTED], "w") == []
    found = doctor.database(settings)
    assert (found.state, found.mend) == ("warning", "broker audit --action quarantine --since 30d")
    assert "1 jobs failed" in found.detail
