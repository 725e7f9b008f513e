"""Records of provenance as rows: written with the end of a job, whatever happened to its rows; seen as the job is."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text

from broker.access.principal import Reach
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Failure, Fault, Job, Phase, Reason, Step
from broker.store import claims, ended, files, people, provenance
from broker.store.database import Database
from broker.store.result_tables import provenance as table
from tests.unit.store.rows import job_row, platform_row, process_row


def finish(database: Database, job: Job, *changes: Change) -> Job:
    for change in changes:
        with database.write() as tx:
            (held,) = claims.claim(tx, [job.id], list(Phase), "w")
            job = claims.save(tx, held, change)
    return job


def get(database: Database, job: Job, reach: Reach | None = None) -> dict[str, Any]:
    with database.read() as tx:
        found = provenance.get(tx, job.id, reach)
    assert found is not None
    return found


FAILED = lifecycle.failed(Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "No."))


def test_what_the_rows_say(database: Database) -> None:
    platform_row(database)
    process_row(database, source={"repository": "https://git.example/p", "commit": "0" * 40})
    with database.write() as tx:
        person = people.meet(tx, "https://login.example", "ada", name="Ada", orcid="0000-0002-1825-0097")
    why = "It is cheaper than near: 1 EUR an hour."
    placed = {"rule": "cost", "why": why, "others": ["near"], "reasons": {"far": ["it has no GPU."]}}
    job = job_row(database, person.id, delegate="portal", placement=placed, job_order={"n": 1})
    with database.write() as tx:
        files.put_steps(tx, job.id, 1, [Step("one", "failed", 1.0, 2.0, 3)])
        provenance.note(tx, job.id, {"engine": {"name": "cwltool"}, "node": "n1", "delegated": {"a": 1}})
    finish(database, job, FAILED)
    found = get(database, job)
    assert found["process"]["submitted_digest"] == hashlib.sha256(b"cwlVersion: v1.2").hexdigest()
    assert (found["process"]["digest"], found["process"]["source"]["commit"]) == ("d1", "0" * 40)
    assert found["platform"].items() >= placed.items()
    assert (found["platform"]["node"], found["engine"]) == ("n1", {"name": "cwltool"})
    assert found["agent"] == {
        "person": person.id,
        "issuer": "https://login.example",
        "subject": "ada",
        "name": "Ada",
        "orcid": "0000-0002-1825-0097",
        "delegate": "portal",
        "project": person.id,
    }
    assert found["steps"][0]["exitCode"] == 3
    assert (found["inputs"], found["delegated"]) == ({"n": {"value": 1}}, {"a": 1})
    assert [one["event"] for one in found["events"]] == ["accepted", "failed"]


def test_who_sees_it(database: Database) -> None:
    job = job_row(database, "ada")
    finish(database, job, FAILED)
    assert get(database, job, Reach("ada"))["job"]["id"] == job.id
    with database.read() as tx:
        assert provenance.get(tx, job.id, Reach("bob")) is None


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"name": "Ada", "orcid": "0000-0002-1825-0097"}, {"name": "Ada", "orcid": "0000-0002-1825-0097"}),
        ({}, {}),  # her subject is no name
    ],
    ids=["named", "nameless"],
)
def test_others_see_no_account_of_the_person(database: Database, said: dict[str, str], seen: dict[str, str]) -> None:
    with database.write() as tx:
        ada = people.meet(tx, "https://login.example", "ada@login", **said)
    job = job_row(database, ada.id, shared="public", delegate="portal")
    finish(database, job, FAILED)
    assert get(database, job, Reach("bob"))["agent"] == {"person": ada.id, "project": ada.id, **seen}
    for reach in (Reach(ada.id), Reach("operator", everything=True)):
        assert get(database, job, reach)["agent"]["subject"] == "ada@login"


def test_the_digest_is_of_what_was_written(database: Database) -> None:
    job = job_row(database, job_order={"odd": "\ud800 é\0"})
    finish(database, job, FAILED)
    with database.read() as tx:
        row = tx.execute(select(table.c.record, table.c.digest, table.c.facts)).one()
        assert row.digest == provenance.digest(tx, job.id) == hashlib.sha256(row.record.encode()).hexdigest()
    assert row.facts is None
    assert orjson.loads(row.record) == get(database, job)


def test_it_is_there_with_the_end_or_not_at_all(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        provenance.note(tx, job.id, {"node": "n1"})
    with pytest.raises(RuntimeError), database.write() as tx:
        (held,) = claims.claim(tx, [job.id], list(Phase), "w")
        claims.save(tx, held, FAILED)
        raise RuntimeError
    with database.read() as tx:
        assert provenance.get(tx, job.id) is None
    finish(database, job, lifecycle.dismissed())
    assert get(database, job)["job"]["phase"] == "dismissed"


@pytest.mark.parametrize("step", ["3", "{", "", '{"cpuSeconds":"much"}', '{"cpuSeconds":{}}', '{"cpuSeconds":1e999}'])
def test_damaged_rows_do_not_stop_the_end(database: Database, step: str) -> None:
    job, damaged = job_row(database), job_row(database)
    with database.write() as tx:
        files.put_steps(tx, job.id, 1, [Step("one", "failed")])
        tx.execute(text("update job_steps set step = :step"), {"step": step})
    assert finish(database, job, FAILED).phase is Phase.FAILED
    assert get(database, job)["incomplete"] is True
    with database.write() as tx:
        tx.execute(text("update jobs set needs = '{' where id = :id"), {"id": damaged.id})
        assert claims.claim(tx, [damaged.id], list(Phase), "w") == []
    assert get(database, damaged)["job"]["phase"] == "failed"


def test_facts_beyond_measure_are_cut(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        provenance.note(tx, job.id, {"node": "n1", "sources": {str(n): "x" * 100 for n in range(40_000)}})
    finish(database, job, FAILED)
    assert get(database, job)["platform"]["node"] == "n1"


def test_a_job_that_is_forgotten_takes_it_along(database: Database) -> None:
    job = job_row(database)
    finish(database, job, FAILED)
    with database.write() as tx:
        (held,) = claims.claim(tx, [job.id], list(Phase), "w")
        claims.released(tx, held)
        assert ended.forget(tx, job.id)
        assert tx.execute(select(table)).first() is None
