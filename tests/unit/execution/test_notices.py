"""Notices of platforms: they make the broker look, at once, and only who was given the address can send one."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.access.vault import KeyFile, Vault
from broker.execution import notices
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase
from broker.store import claims, deliveries, jobs
from broker.store.database import Database
from tests.unit.store.rows import PLATFORM, job_row

BASE = "https://here"
RUNNING = (
    Change("submitting", Phase.SUBMITTING),
    Change("submitted", Phase.SUBMITTED),
    Change("running", Phase.RUNNING, due_in=30.0),
)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(KeyFile(tmp_path / "keys"))


def job_in(database: Database, *changes: Change) -> Job:
    job = job_row(database)
    with database.write() as tx:
        deliveries.sent(tx, [one.id for one in deliveries.pending(tx)])
        if changes:
            (held,) = claims.claim(tx, [job.id], list(Phase), "test")
            for change in changes:
                held = claims.save(tx, held, change, hold=change is not changes[-1])
    return job


def told(database: Database, vault: Vault, job: Job) -> bool:
    base, word, job_id, token = notices.addresses(BASE, lambda: vault)(job.id).rsplit("/", 3)
    assert (base, word, job_id) == (BASE, "notices", job.id)
    return notices.heard(database, vault, job_id, token)


def due(database: Database) -> list[str]:
    with database.write() as tx:
        return [job.id for job in claims.claim_due(tx, PLATFORM, [Phase.RUNNING], "looker", 10)]


def test_a_job_is_looked_at_at_once(database: Database, vault: Vault) -> None:
    job = job_in(database, *RUNNING)
    assert due(database) == []
    assert told(database, vault, job)
    with database.read() as tx:
        assert [(one.verb, one.platform) for one in deliveries.pending(tx)] == [("observe", PLATFORM)]
    assert not told(database, vault, job)  # it is due anyway: no end of nudges
    assert due(database) == [job.id]


@pytest.mark.parametrize("changes", [(), RUNNING[:1]])
def test_a_job_that_does_not_run_is_left_alone(database: Database, vault: Vault, changes: tuple[Change, ...]) -> None:
    job = job_in(database, *changes)
    with database.read() as tx:
        before = jobs.get(tx, job.id)
    assert not told(database, vault, job)
    with database.read() as tx:
        assert jobs.get(tx, job.id) == before
        assert deliveries.pending(tx) == []


def test_nobody_else_can_send_one(database: Database, vault: Vault, tmp_path: Path) -> None:
    job, other = job_in(database, *RUNNING), job_in(database, *RUNNING)
    of_other = vault.token(("notice", other.id))
    strange = Vault(KeyFile(tmp_path / "others")).token(("notice", job.id))
    for token in ("", "0" * 64, of_other, strange, "ü"):
        assert not notices.heard(database, vault, job.id, token)
    assert due(database) == []


def test_an_address_outlives_a_new_key(database: Database, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys")
    vault = Vault(keys)
    job = job_in(database, *RUNNING)
    token = vault.token(("notice", job.id))
    keys.add()
    assert vault.token(("notice", job.id)) != token
    assert notices.heard(database, vault, job.id, token)
